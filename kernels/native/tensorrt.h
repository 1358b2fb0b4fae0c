// What the shells for TensorRT's C++ interface share: a plugin of the generation V3 and its creator, for any operator.
//
// An operator Op says what is its own: kName, kInputs, kOutputs; set(field), serialised() and reason_against() of its
// attributes; takes(index, type) of an input that is not of the first one's type; shapes(...), reason_against(inputs),
// workspace_bytes(inputs) and launch(...). All tensors are dense; their sizes may change from call to call.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

#include "native/cuda.h"
// After CUDA's types, which TensorRT's header would otherwise bring.
#include <NvInferRuntime.h>

namespace trt {

using nvinfer1::DataType;
using nvinfer1::DimsExprs;
using nvinfer1::PluginField;
using nvinfer1::PluginFieldCollection;
using nvinfer1::PluginTensorDesc;
using Fields = std::vector<PluginField>;

inline constexpr const char* kVersion = "1";

// To TensorRT's own log, where it gave one.
void tell(const std::string& problem);

// The launchers' code for a type; -1 if there is no kernel for it.
inline int dtype_of(DataType type) {
  if (type == DataType::kFLOAT) return kFloat32;
  if (type == DataType::kHALF) return kFloat16;
  return type == DataType::kBF16 ? kBfloat16 : -1;
}

inline PluginFieldCollection collection(const Fields& fields) {
  return {static_cast<std::int32_t>(fields.size()), fields.data()};
}

// The whole numbers of an attribute. Answers whether they are that, and neither too many nor beyond int.
inline bool read(const PluginField& field, std::size_t most, std::vector<int>* numbers) {
  const bool is_long = field.type == nvinfer1::PluginFieldType::kINT64;
  if ((!is_long && field.type != nvinfer1::PluginFieldType::kINT32) || field.length < 0) return false;
  if (static_cast<std::size_t>(field.length) > most) return false;
  numbers->clear();
  for (std::int32_t i = 0; i < field.length; ++i) {
    const std::int64_t number =
        is_long ? static_cast<const std::int64_t*>(field.data)[i] : static_cast<const std::int32_t*>(field.data)[i];
    if (number != static_cast<int>(number)) return false;
    numbers->push_back(static_cast<int>(number));
  }
  return true;
}

template <class Op>
class Plugin final : public nvinfer1::IPluginV3,
                     public nvinfer1::IPluginV3OneCore,
                     public nvinfer1::IPluginV3OneBuild,
                     public nvinfer1::IPluginV3OneRuntime {
 public:
  Plugin(const Op& op, const char* space) : op_(op), space_(space) {}

  nvinfer1::IPluginCapability* getCapabilityInterface(nvinfer1::PluginCapabilityType type) noexcept override {
    if (type == nvinfer1::PluginCapabilityType::kCORE) return static_cast<nvinfer1::IPluginV3OneCore*>(this);
    if (type == nvinfer1::PluginCapabilityType::kBUILD) return static_cast<nvinfer1::IPluginV3OneBuild*>(this);
    if (type == nvinfer1::PluginCapabilityType::kRUNTIME) return static_cast<nvinfer1::IPluginV3OneRuntime*>(this);
    return nullptr;
  }
  nvinfer1::IPluginV3* clone() noexcept override { return new (std::nothrow) Plugin(op_, space_); }

  const char* getPluginName() const noexcept override { return Op::kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return space_; }

  // ---- while an engine is built ----

  std::int32_t getNbOutputs() const noexcept override { return Op::kOutputs; }

  std::int32_t getOutputDataTypes(DataType* outputs, std::int32_t count, const DataType* inputs,
                                  std::int32_t) const noexcept override {
    for (std::int32_t i = 0; i < count; ++i) outputs[i] = inputs[0];
    return 0;
  }

  std::int32_t getOutputShapes(const DimsExprs* inputs, std::int32_t count, const DimsExprs*, std::int32_t,
                               DimsExprs* outputs, std::int32_t, nvinfer1::IExprBuilder& builder) noexcept override {
    return count == Op::kInputs && op_.shapes(inputs, outputs, builder) ? 0 : 1;
  }

  // Asked for one tensor after the other: what comes behind `index` is not known yet.
  bool supportsFormatCombination(std::int32_t index, const nvinfer1::DynamicPluginTensorDesc* tensors, std::int32_t,
                                 std::int32_t) noexcept override {
    const nvinfer1::PluginTensorDesc& asked = tensors[index].desc;
    if (asked.format != nvinfer1::TensorFormat::kLINEAR || dtype_of(asked.type) < 0) return false;
    return index == 0 || asked.type == tensors[0].desc.type || (index < Op::kInputs && Op::takes(index, asked.type));
  }

  std::int32_t configurePlugin(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t count,
                               const nvinfer1::DynamicPluginTensorDesc*, std::int32_t) noexcept override {
    return count == Op::kInputs ? refused(op_.reason_against(largest(inputs))) : 1;
  }

  std::size_t getWorkspaceSize(const nvinfer1::DynamicPluginTensorDesc* inputs, std::int32_t,
                               const nvinfer1::DynamicPluginTensorDesc*, std::int32_t) const noexcept override {
    return op_.workspace_bytes(largest(inputs));
  }

  // ---- while it runs ----

  std::int32_t onShapeChange(const PluginTensorDesc* inputs, std::int32_t count, const PluginTensorDesc*,
                             std::int32_t) noexcept override {
    return count == Op::kInputs ? refused(op_.reason_against(listed(inputs))) : 1;
  }

  std::int32_t enqueue(const PluginTensorDesc* inputs, const PluginTensorDesc*, const void* const* from,
                       void* const* to, void* workspace, cudaStream_t stream) noexcept override {
    const int error = op_.launch(listed(inputs), from, to, workspace, stream);
    if (error) tell(std::string(Op::kName) + " was not launched: CUDA error " + std::to_string(error));
    return error;
  }

  nvinfer1::IPluginV3* attachToContext(nvinfer1::IPluginResourceContext*) noexcept override { return clone(); }

  // The addresses are this object's own, and hold for as long as it lives.
  const PluginFieldCollection* getFieldsToSerialize() noexcept override {
    fields_ = op_.serialised();
    collected_ = collection(fields_);
    return &collected_;
  }

 private:
  using Tensors = std::array<PluginTensorDesc, Op::kInputs>;

  static Tensors listed(const PluginTensorDesc* inputs) {
    Tensors result;
    std::copy_n(inputs, Op::kInputs, result.begin());
    return result;
  }
  // With the largest sizes of an optimisation profile.
  static Tensors largest(const nvinfer1::DynamicPluginTensorDesc* inputs) {
    Tensors result;
    for (int i = 0; i < Op::kInputs; ++i) {
      result[i] = inputs[i].desc;
      result[i].dims = inputs[i].max;
    }
    return result;
  }
  static std::int32_t refused(const char* reason) {
    if (reason) tell(std::string(Op::kName) + " has no kernel for this: " + reason);
    return reason ? 1 : 0;
  }

  Op op_;
  const char* space_;
  Fields fields_;
  PluginFieldCollection collected_{};
};

template <class Op>
class Creator final : public nvinfer1::IPluginCreatorV3One {
 public:
  explicit Creator(const char* space) : space_(space) {}

  const char* getPluginName() const noexcept override { return Op::kName; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return space_; }
  const PluginFieldCollection* getFieldNames() noexcept override { return &collected_; }

  // From a node's attributes, or from what an engine kept; null where they are no operator's of ours.
  nvinfer1::IPluginV3* createPlugin(const char*, const PluginFieldCollection* given,
                                    nvinfer1::TensorRTPhase) noexcept override {
    Op op;
    for (std::int32_t i = 0; given && i < given->nbFields; ++i) {
      if (!op.set(given->fields[i])) {
        tell(std::string(Op::kName) + " has an attribute that it cannot have: " + given->fields[i].name);
        return nullptr;
      }
    }
    if (const char* reason = op.reason_against()) {
      tell(std::string(Op::kName) + " has no kernel for this: " + reason);
      return nullptr;
    }
    return new (std::nothrow) Plugin<Op>(op, space_);
  }

 private:
  const char* space_;
  const Op plain_{};
  Fields fields_ = plain_.serialised();
  PluginFieldCollection collected_ = collection(fields_);
};

}  // namespace trt
