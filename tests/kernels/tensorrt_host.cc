// What TensorRT does with a plugin from the node to the answer, one step after the other, in main memory.
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "native/tensorrt.h"

using namespace nvinfer1;

extern "C" void setLoggerFinder(ILoggerFinder* given);
extern "C" IPluginCreatorInterface* const* getCreators(std::int32_t& count);

namespace {

std::string told;  // the step that failed, and what the plugin said

struct Log : ILogger, ILoggerFinder {
  void log(Severity, const char* message) noexcept override { told += std::string(message) + "\n"; }
  ILogger* findLogger() override { return this; }
};

struct Number : IDimensionExpr {
  explicit Number(std::int64_t value) : value(value) {}
  ~Number() noexcept override = default;
  bool isConstant() const noexcept override { return true; }
  std::int64_t getConstantValue() const noexcept override { return value; }
  std::int64_t value;
};
struct Numbers : IExprBuilder {
  ~Numbers() noexcept override = default;
  const IDimensionExpr* constant(std::int64_t value) noexcept override { return &all.emplace_back(value); }
  std::deque<Number> all;
};

// An engine keeps names, types and numbers, and none of the plugin's addresses.
struct Kept {
  explicit Kept(const PluginFieldCollection& fields) {
    for (std::int32_t i = 0; i < fields.nbFields; ++i) {
      const PluginField& field = fields.fields[i];
      const auto* bytes = static_cast<const char*>(field.data);
      names.emplace_back(field.name);
      data.emplace_back(bytes, bytes + field.length * (field.type == PluginFieldType::kINT64 ? 8 : 4));
      list.push_back({nullptr, nullptr, field.type, field.length});
    }
    for (std::size_t i = 0; i < list.size(); ++i) list[i].name = names[i].c_str(), list[i].data = data[i].data();
  }
  PluginFieldCollection collection() const { return {std::int32_t(list.size()), list.data()}; }
  std::deque<std::string> names;
  std::deque<std::vector<char>> data;
  std::vector<PluginField> list;
};

IPluginCreatorV3One* creator(const std::string& name, const std::string& space) {
  std::int32_t count = 0;
  auto* const* all = getCreators(count);
  for (std::int32_t i = 0; i < count; ++i) {
    auto* const one = static_cast<IPluginCreatorV3One*>(all[i]);
    const bool is_first = std::string(one->getPluginVersion()) == "1";
    if (is_first && one->getPluginName() == name && one->getPluginNamespace() == space) return one;
  }
  return nullptr;
}

template <class Capability>
Capability* as(IPluginV3& plugin, PluginCapabilityType type) {
  return static_cast<Capability*>(plugin.getCapabilityInterface(type));
}

int failed(const std::string& step) {
  told = step + "\n" + told;
  return 1;
}

}  // namespace

extern "C" {

struct Tensor {
  std::int32_t type, rank;
  std::int64_t sizes[8], largest[8];  // of an input; an output's sizes are answered
  void* data;
};

const char* tensorrt_told() { return told.c_str(); }

// From the attributes `given` of a node to outputs in `tensors`, inputs first, whose memory is `room` bytes each.
int tensorrt_runs(const char* name, const char* space, const PluginFieldCollection* given, Tensor* tensors,
                  std::int32_t inputs, std::int32_t outputs, std::size_t room) {
  static Log log;
  setLoggerFinder(&log);
  told.clear();
  auto* const maker = creator(name, space);
  if (!maker) return failed("no creator");
  std::unique_ptr<IPluginV3> first;
  {
    const Kept node(*given);
    const auto fields = node.collection();
    first.reset(maker->createPlugin("node", &fields, TensorRTPhase::kBUILD));
  }
  if (!first) return failed("createPlugin");
  std::unique_ptr<IPluginV3> plugin(first->clone());
  first.reset();

  auto* const build = as<IPluginV3OneBuild>(*plugin, PluginCapabilityType::kBUILD);
  auto* const core = as<IPluginV3OneCore>(*plugin, PluginCapabilityType::kCORE);
  if (core->getPluginName() != std::string(name) || core->getPluginNamespace() != std::string(space))
    return failed("getPluginName");
  if (build->getNbOutputs() != outputs) return failed("getNbOutputs");

  std::vector<DynamicPluginTensorDesc> all(std::size_t(inputs + outputs));
  for (std::int32_t i = 0; i < inputs; ++i) {
    auto& one = all[i];
    one.desc.type = DataType(tensors[i].type);
    one.desc.dims.nbDims = one.min.nbDims = one.max.nbDims = one.opt.nbDims = tensors[i].rank;
    for (int axis = 0; axis < tensors[i].rank; ++axis) {
      one.desc.dims.d[axis] = -1;  // as they are while an engine for several sizes is built
      one.min.d[axis] = 1;
      one.max.d[axis] = one.opt.d[axis] = tensors[i].largest[axis];
    }
  }
  std::vector<DataType> types_in, types_out(outputs);
  for (std::int32_t i = 0; i < inputs; ++i) types_in.push_back(all[i].desc.type);
  if (build->getOutputDataTypes(types_out.data(), outputs, types_in.data(), inputs))
    return failed("getOutputDataTypes");
  for (std::int32_t i = 0; i < outputs; ++i) all[inputs + i].desc.type = types_out[i];
  for (std::int32_t i = 0; i < inputs + outputs; ++i) {
    all[i].desc.format = TensorFormat::kHWC8;
    if (build->supportsFormatCombination(i, all.data(), inputs, outputs)) return failed("takes what is not dense");
    all[i].desc.format = TensorFormat::kLINEAR;
    if (!build->supportsFormatCombination(i, all.data(), inputs, outputs)) return failed("supportsFormatCombination");
  }
  if (build->configurePlugin(all.data(), inputs, &all[inputs], outputs)) return failed("configurePlugin");
  const std::size_t bytes = build->getWorkspaceSize(all.data(), inputs, &all[inputs], outputs);

  Numbers numbers;
  std::vector<DimsExprs> sizes_in(inputs), sizes_out(outputs);
  for (std::int32_t i = 0; i < inputs; ++i) {
    sizes_in[i].nbDims = tensors[i].rank;
    for (int axis = 0; axis < tensors[i].rank; ++axis) sizes_in[i].d[axis] = numbers.constant(tensors[i].sizes[axis]);
  }
  if (build->getOutputShapes(sizes_in.data(), inputs, nullptr, 0, sizes_out.data(), outputs, numbers))
    return failed("getOutputShapes");

  // The engine is written, and read by another process.
  auto* const builds = as<IPluginV3OneRuntime>(*plugin, PluginCapabilityType::kRUNTIME);
  const Kept engine(*builds->getFieldsToSerialize());
  plugin.reset();
  const auto fields = engine.collection();
  const std::unique_ptr<IPluginV3> restored(maker->createPlugin("node", &fields, TensorRTPhase::kRUNTIME));
  if (!restored) return failed("createPlugin from an engine");
  const std::unique_ptr<IPluginV3> attached(
      as<IPluginV3OneRuntime>(*restored, PluginCapabilityType::kRUNTIME)->attachToContext(nullptr));
  auto* const runtime = as<IPluginV3OneRuntime>(*attached, PluginCapabilityType::kRUNTIME);

  std::vector<PluginTensorDesc> now;
  std::vector<const void*> from;
  std::vector<void*> to;
  for (std::int32_t i = 0; i < inputs + outputs; ++i) {
    PluginTensorDesc one = all[i].desc;
    if (i >= inputs) tensors[i].rank = sizes_out[i - inputs].nbDims;
    one.dims.nbDims = tensors[i].rank;
    std::size_t elements = 1;
    for (int axis = 0; axis < tensors[i].rank; ++axis) {
      if (i >= inputs) tensors[i].sizes[axis] = sizes_out[i - inputs].d[axis]->getConstantValue();
      elements *= std::size_t(one.dims.d[axis] = tensors[i].sizes[axis]);
    }
    if (i >= inputs && elements * (one.type == DataType::kFLOAT ? 4 : 2) > room)
      return failed("an output is too large");
    tensors[i].type = std::int32_t(one.type);
    now.push_back(one);
    if (i < inputs) {
      from.push_back(tensors[i].data);
    } else {
      to.push_back(tensors[i].data);
    }
  }
  if (runtime->setTactic(0) || runtime->onShapeChange(now.data(), inputs, &now[inputs], outputs))
    return failed("onShapeChange");
  struct alignas(256) Line {
    unsigned char bytes[256];
  };
  // As much as was asked for, to a line of memory: a kernel that writes beyond it is seen by AddressSanitizer.
  const std::unique_ptr<Line[]> workspace(new Line[(bytes + 255) / 256]);
  std::memset(workspace.get(), 0xff, (bytes + 255) / 256 * 256);
  if (runtime->enqueue(now.data(), &now[inputs], from.data(), to.data(), workspace.get(), nullptr))
    return failed("enqueue");
  return 0;
}
}
