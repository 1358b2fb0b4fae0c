// SCCM attention for TensorRT's C++ interface: any batch and number of positions, all arrays of one type.
#include "native/tensorrt.h"
#include "sccm_attention/sccm_attention_cuda.h"

namespace sccm_attention {
namespace {

struct Op {
  static constexpr const char* kName = "SCCMAttention";
  static constexpr int kInputs = 3, kOutputs = 2;
  using Tensors = std::array<trt::PluginTensorDesc, kInputs>;

  bool set(const trt::PluginField&) { return true; }  // it has no attributes
  trt::Fields serialised() const { return {}; }
  const char* reason_against() const { return nullptr; }
  static bool takes(std::int32_t, trt::DataType) { return false; }

  const char* reason_against(const Tensors& inputs) const {
    for (const auto& each : inputs) {
      if (each.dims.nbDims != 3) return "theta, phi and g are not all [b, d, n]";
      for (int i = 0; i < 3; ++i)
        if (each.dims.d[i] != inputs[0].dims.d[i]) return "theta, phi and g are not all [b, d, n]";
    }
    const SCCMAttentionCuda p = described(inputs);
    return sccm_attention_reason_against(&p);
  }

  // [b, d, n] makes two of [b, n, d].
  bool shapes(const trt::DimsExprs* inputs, trt::DimsExprs* outputs, nvinfer1::IExprBuilder&) const {
    if (inputs[0].nbDims != 3) return false;
    for (int i = 0; i < kOutputs; ++i) {
      outputs[i].nbDims = 3;
      outputs[i].d[0] = inputs[0].d[0];
      outputs[i].d[1] = inputs[0].d[2];
      outputs[i].d[2] = inputs[0].d[1];
    }
    return true;
  }

  std::size_t workspace_bytes(const Tensors& inputs) const {
    const SCCMAttentionCuda p = described(inputs);
    return sccm_attention_workspace_bytes_up_to(&p);
  }

  int launch(const Tensors& inputs, const void* const* from, void* const* to, void* workspace,
             cudaStream_t stream) const {
    SCCMAttentionCuda p = described(inputs);
    p.theta = from[0], p.phi = from[1], p.g = from[2];
    p.spatial = to[0], p.channel = to[1];
    return sccm_attention_launch(&p, workspace, stream);
  }

 private:
  static SCCMAttentionCuda described(const Tensors& inputs) {
    const auto& sizes = inputs[0].dims.d;
    SCCMAttentionCuda p{};
    p.b = sizes[0], p.d = sizes[1], p.n = sizes[2];
    p.dtype = trt::dtype_of(inputs[0].type);
    return p;
  }
};

}  // namespace

nvinfer1::IPluginCreatorInterface* tensorrt_creator(const char* space) { return new trt::Creator<Op>(space); }

}  // namespace sccm_attention
