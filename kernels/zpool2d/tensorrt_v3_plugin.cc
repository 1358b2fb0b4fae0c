// ZPool2D for TensorRT's C++ interface: any h and w, x and z in float32, float16 or bfloat16, the floor in their type
// or in float32.
#include "native/tensorrt.h"
#include "zpool2d/floor.cuh"
#include "zpool2d/zpool2d_cuda.h"

namespace zpool2d {
namespace {

struct Op {
  static constexpr const char* kName = "ZPool2D";
  static constexpr int kInputs = 2, kOutputs = 1;
  using Tensors = std::array<trt::PluginTensorDesc, kInputs>;

  std::vector<int> windows;  // px
  std::vector<int> magnitude = {0};

  bool set(const trt::PluginField& field) {
    const std::string name = field.name;
    if (name == "windows") return trt::read(field, kZPool2DMaxWindows, &windows);
    return name != "magnitude" || (trt::read(field, 1, &magnitude) && magnitude.size() == 1);
  }

  trt::Fields serialised() const {
    constexpr auto kType = nvinfer1::PluginFieldType::kINT32;
    return {{"windows", windows.data(), kType, static_cast<std::int32_t>(windows.size())},
            {"magnitude", magnitude.data(), kType, 1}};
  }

  // The floor may stay in float32.
  static bool takes(std::int32_t, trt::DataType type) { return type == trt::DataType::kFLOAT; }

  const char* reason_against() const {
    const ZPool2DCuda p = described(1, 1, 1, 1);
    return zpool2d_reason_against(&p);
  }

  const char* reason_against(const Tensors& inputs) const {
    if (inputs[0].dims.nbDims != 4 || inputs[1].dims.nbDims != 1) return "x is not [n, c, h, w], or min_std not [c]";
    if (inputs[0].dims.d[1] != inputs[1].dims.d[0]) return "min_std is not [c]";
    const ZPool2DCuda p = described(inputs);
    return zpool2d_reason_against(&p);
  }

  // [n, c, h, w] and [c] make [n, windows + 1, c, h, w].
  bool shapes(const trt::DimsExprs* inputs, trt::DimsExprs* outputs, nvinfer1::IExprBuilder& builder) const {
    const trt::DimsExprs& x = inputs[0];
    if (x.nbDims != 4 || inputs[1].nbDims != 1) return false;
    outputs[0].nbDims = 5;
    outputs[0].d[0] = x.d[0];
    outputs[0].d[1] = builder.constant(static_cast<std::int64_t>(windows.size()) + 1);
    for (int i = 1; i < 4; ++i) outputs[0].d[i + 1] = x.d[i];
    return true;
  }

  // Of the launcher, and behind it the floor in float32.
  std::size_t workspace_bytes(const Tensors& inputs) const {
    const ZPool2DCuda p = described(inputs);
    return zpool2d_workspace_bytes(&p) + static_cast<std::size_t>(p.c) * sizeof(float);
  }

  int launch(const Tensors& inputs, const void* const* from, void* const* to, void* workspace,
             cudaStream_t stream) const {
    ZPool2DCuda p = described(inputs);
    p.x = from[0];
    p.z = to[0];
    p.min_std = static_cast<const float*>(from[1]);
    if (inputs[1].type != trt::DataType::kFLOAT) {
      float* const wide = reinterpret_cast<float*>(static_cast<char*>(workspace) + zpool2d_workspace_bytes(&p));
      const int error = widened(from[1], Dtype(trt::dtype_of(inputs[1].type)), wide, int(p.c), stream);
      if (error) return error;
      p.min_std = wide;
    }
    return zpool2d_launch(&p, workspace, stream);
  }

 private:
  ZPool2DCuda described(std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w) const {
    ZPool2DCuda p{};
    p.n = n, p.c = c, p.h = h, p.w = w;
    for (int window : windows) p.windows[p.window_count++] = window;
    p.magnitude = magnitude[0] != 0;
    return p;
  }

  ZPool2DCuda described(const Tensors& inputs) const {
    const auto& sizes = inputs[0].dims.d;
    ZPool2DCuda p = described(sizes[0], sizes[1], sizes[2], sizes[3]);
    p.dtype = trt::dtype_of(inputs[0].type);
    return p;
  }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* tensorrt_creator(const char* space) { return new trt::Creator<Op>(space); }

}  // namespace zpool2d
