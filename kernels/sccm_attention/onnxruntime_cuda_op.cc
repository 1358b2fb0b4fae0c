// SCCM attention for ONNX Runtime's CUDA provider, on the stream of its session. There is none for the CPU, where the
// standard operators' matrix products are faster.
#include <initializer_list>

#include "native/onnxruntime_cuda.h"
#include "sccm_attention/sccm_attention_cuda.h"

namespace sccm_attention {
namespace {

// For one type of all five arrays.
template <ONNXTensorElementDataType kType>
struct CudaOp {
  static constexpr const char* kName = "SCCMAttention";
  static constexpr size_t kInputs = 3, kOutputs = 2;

  const OrtApi* api = nullptr;

  static ONNXTensorElementDataType input(size_t) { return kType; }
  static ONNXTensorElementDataType output() { return kType; }

  static OrtStatus* create(const OrtApi* api, const OrtKernelInfo*, CudaOp* op) {
    op->api = api;
    return nullptr;
  }

  OrtStatus* compute(OrtKernelContext* context) const {
    ort::Input inputs[kInputs];
    for (size_t i = 0; i < kInputs; ++i)
      if (OrtStatus* status = ort::read_input(api, context, i, &inputs[i])) return status;
    const std::vector<std::int64_t>& shape = inputs[0].shape;
    if (shape.size() != 3 || inputs[1].shape != shape || inputs[2].shape != shape)
      return ort::failed(api, kName, "theta, phi and g are not all [b, d, n]");
    SCCMAttentionCuda p{};
    p.theta = inputs[0].data, p.phi = inputs[1].data, p.g = inputs[2].data;
    p.b = shape[0], p.d = shape[1], p.n = shape[2];
    p.dtype = ort::dtype_of(kType);
    if (const char* reason = sccm_attention_reason_against(&p)) return ort::failed(api, kName, reason);
    const std::vector<std::int64_t> turned = {p.b, p.n, p.d};
    if (OrtStatus* status = ort::make_output(api, context, 0, turned, &p.spatial)) return status;
    if (OrtStatus* status = ort::make_output(api, context, 1, turned, &p.channel)) return status;
    void* stream = nullptr;
    if (OrtStatus* status = api->KernelContext_GetGPUComputeStream(context, &stream)) return status;
    const ort::Workspace own(sccm_attention_workspace_bytes(&p), static_cast<cudaStream_t>(stream));
    const int error = own.error() != cudaSuccess ? own.error() : sccm_attention_launch(&p, own.data(), stream);
    return error ? ort::failed(api, kName, error) : nullptr;
  }
};

}  // namespace

std::initializer_list<const OrtCustomOp*> onnxruntime_cuda_ops() {
  static const OrtCustomOp float32 = ort::make_cuda_op<CudaOp<ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT>>(),
                           float16 = ort::make_cuda_op<CudaOp<ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16>>(),
                           bfloat16 = ort::make_cuda_op<CudaOp<ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16>>();
  static const std::initializer_list<const OrtCustomOp*> all{&float32, &float16, &bfloat16};
  return all;
}

}  // namespace sccm_attention
