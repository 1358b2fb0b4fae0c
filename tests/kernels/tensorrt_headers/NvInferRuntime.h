// What our plugins see of TensorRT's C++ interface, by the signatures of 10.x and 11.x: enough to compile them and to
// run them on the CPU where TensorRT's own headers are not. Written for the tests; an engine needs the real ones.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nvinfer1 {

using AsciiChar = char;

struct Dims {
  std::int32_t nbDims;
  std::int64_t d[8];
};
enum class DataType : std::int32_t {
  kFLOAT = 0,
  kHALF = 1,
  kINT8 = 2,
  kINT32 = 3,
  kBOOL = 4,
  kUINT8 = 5,
  kFP8 = 6,
  kBF16 = 7,
  kINT64 = 8
};
enum class TensorFormat : std::int32_t { kLINEAR = 0, kCHW2 = 1, kHWC8 = 2 };
struct PluginTensorDesc {
  Dims dims;
  DataType type;
  TensorFormat format;
  float scale;
};
struct DynamicPluginTensorDesc {
  PluginTensorDesc desc;
  Dims min, max, opt;
};

class IDimensionExpr {
 public:
  virtual bool isConstant() const noexcept = 0;
  virtual std::int64_t getConstantValue() const noexcept = 0;

 protected:
  virtual ~IDimensionExpr() noexcept = default;
};
struct DimsExprs {
  std::int32_t nbDims;
  const IDimensionExpr* d[8];
};
class IExprBuilder {
 public:
  virtual const IDimensionExpr* constant(std::int64_t value) noexcept = 0;

 protected:
  virtual ~IExprBuilder() noexcept = default;
};

enum class PluginFieldType : std::int32_t { kFLOAT32 = 1, kINT32 = 5, kINT64 = 10 };
struct PluginField {
  const AsciiChar* name;
  const void* data;
  PluginFieldType type;
  std::int32_t length;
};
struct PluginFieldCollection {
  std::int32_t nbFields{};
  const PluginField* fields{};
};
enum class TensorRTPhase : std::int32_t { kBUILD = 0, kRUNTIME = 1 };
enum class PluginCapabilityType : std::int32_t { kCORE = 0, kBUILD = 1, kRUNTIME = 2 };

struct InterfaceInfo {
  const AsciiChar* kind;
  std::int32_t major, minor;
};
class IVersionedInterface {
 public:
  virtual InterfaceInfo getInterfaceInfo() const noexcept = 0;
  virtual ~IVersionedInterface() noexcept = default;
};
class IPluginCapability : public IVersionedInterface {};
class IPluginResourceContext;

class IPluginV3 : public IVersionedInterface {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"PLUGIN", 1, 0}; }
  virtual IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept = 0;
  virtual IPluginV3* clone() noexcept = 0;
};

class IPluginV3OneCore : public IPluginCapability {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"PLUGIN_V3ONE_CORE", 1, 0}; }
  virtual const AsciiChar* getPluginName() const noexcept = 0;
  virtual const AsciiChar* getPluginVersion() const noexcept = 0;
  virtual const AsciiChar* getPluginNamespace() const noexcept = 0;
};

class IPluginV3OneBuild : public IPluginCapability {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"PLUGIN_V3ONE_BUILD", 1, 0}; }
  virtual std::int32_t configurePlugin(const DynamicPluginTensorDesc* in, std::int32_t nbInputs,
                                       const DynamicPluginTensorDesc* out, std::int32_t nbOutputs) noexcept = 0;
  virtual std::int32_t getOutputDataTypes(DataType* outputTypes, std::int32_t nbOutputs, const DataType* inputTypes,
                                          std::int32_t nbInputs) const noexcept = 0;
  virtual std::int32_t getOutputShapes(const DimsExprs* inputs, std::int32_t nbInputs, const DimsExprs* shapeInputs,
                                       std::int32_t nbShapeInputs, DimsExprs* outputs, std::int32_t nbOutputs,
                                       IExprBuilder& exprBuilder) noexcept = 0;
  virtual bool supportsFormatCombination(std::int32_t pos, const DynamicPluginTensorDesc* inOut, std::int32_t nbInputs,
                                         std::int32_t nbOutputs) noexcept = 0;
  virtual std::int32_t getNbOutputs() const noexcept = 0;
  virtual std::size_t getWorkspaceSize(const DynamicPluginTensorDesc*, std::int32_t, const DynamicPluginTensorDesc*,
                                       std::int32_t) const noexcept {
    return 0;
  }
};

class IPluginV3OneRuntime : public IPluginCapability {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"PLUGIN_V3ONE_RUNTIME", 1, 0}; }
  virtual std::int32_t setTactic(std::int32_t) noexcept { return 0; }
  virtual std::int32_t onShapeChange(const PluginTensorDesc* in, std::int32_t nbInputs, const PluginTensorDesc* out,
                                     std::int32_t nbOutputs) noexcept = 0;
  virtual std::int32_t enqueue(const PluginTensorDesc* inputDesc, const PluginTensorDesc* outputDesc,
                               const void* const* inputs, void* const* outputs, void* workspace,
                               cudaStream_t stream) noexcept = 0;
  virtual IPluginV3* attachToContext(IPluginResourceContext* context) noexcept = 0;
  virtual const PluginFieldCollection* getFieldsToSerialize() noexcept = 0;
};

class IPluginCreatorInterface : public IVersionedInterface {};
class IPluginCreatorV3One : public IPluginCreatorInterface {
 public:
  InterfaceInfo getInterfaceInfo() const noexcept override { return {"PLUGIN CREATOR_V3ONE", 1, 0}; }
  virtual IPluginV3* createPlugin(const AsciiChar* name, const PluginFieldCollection* fc,
                                  TensorRTPhase phase) noexcept = 0;
  virtual const PluginFieldCollection* getFieldNames() noexcept = 0;
  virtual const AsciiChar* getPluginName() const noexcept = 0;
  virtual const AsciiChar* getPluginVersion() const noexcept = 0;
  virtual const AsciiChar* getPluginNamespace() const noexcept = 0;
};

class ILogger {
 public:
  enum class Severity : std::int32_t { kINTERNAL_ERROR = 0, kERROR = 1, kWARNING = 2 };
  virtual void log(Severity severity, const AsciiChar* msg) noexcept = 0;
  virtual ~ILogger() = default;
};
class ILoggerFinder {
 public:
  virtual ILogger* findLogger() = 0;

 protected:
  virtual ~ILoggerFinder() = default;
};

}  // namespace nvinfer1
