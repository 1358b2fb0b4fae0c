// ZPool2D for ONNX Runtime's CUDA provider, on the stream of its session.
#include <initializer_list>

#include "native/onnxruntime_cuda.h"
#include "zpool2d/floor.cuh"
#include "zpool2d/zpool2d_cuda.h"

namespace zpool2d {
namespace {

// For one type of x and z; min_std has it, too, or is float32.
template <ONNXTensorElementDataType kType, ONNXTensorElementDataType kFloor>
struct CudaOp {
  static constexpr const char* kName = "ZPool2D";
  static constexpr size_t kInputs = 2, kOutputs = 1;

  const OrtApi* api = nullptr;
  ZPool2DCuda attributes{};

  static ONNXTensorElementDataType input(size_t index) { return index == 0 ? kType : kFloor; }
  static ONNXTensorElementDataType output() { return kType; }

  // Attributes windows (px) and magnitude (0 or 1).
  static OrtStatus* create(const OrtApi* api, const OrtKernelInfo* info, CudaOp* op) {
    op->api = api;
    ZPool2DCuda& p = op->attributes;
    std::int64_t windows[kZPool2DMaxWindows] = {}, magnitude = 0;
    size_t count = 0;
    if (OrtStatus* status = api->KernelInfoGetAttributeArray_int64(info, "windows", nullptr, &count)) return status;
    if (count > kZPool2DMaxWindows) return ort::failed(api, kName, "there are not 0 to 8 windows");
    if (OrtStatus* status = api->KernelInfoGetAttributeArray_int64(info, "windows", windows, &count)) return status;
    if (OrtStatus* status = api->KernelInfoGetAttribute_int64(info, "magnitude", &magnitude)) return status;
    p.n = p.c = p.h = p.w = 1;
    p.dtype = ort::dtype_of(kType);
    p.window_count = int(count);
    p.magnitude = magnitude != 0;
    for (size_t k = 0; k < count; ++k)
      p.windows[k] = windows[k] < 0 || windows[k] > std::numeric_limits<int>::max() ? 0 : int(windows[k]);
    const char* const reason = zpool2d_reason_against(&p);
    return reason ? ort::failed(api, kName, reason) : nullptr;
  }

  OrtStatus* compute(OrtKernelContext* context) const {
    ort::Input x, floor;
    if (OrtStatus* status = ort::read_input(api, context, 0, &x)) return status;
    if (OrtStatus* status = ort::read_input(api, context, 1, &floor)) return status;
    if (x.shape.size() != 4 || floor.shape.size() != 1 || floor.shape[0] != x.shape[1])
      return ort::failed(api, kName, "x is not [n, c, h, w], or min_std not [c]");
    ZPool2DCuda p = attributes;
    p.x = x.data;
    p.n = x.shape[0], p.c = x.shape[1], p.h = x.shape[2], p.w = x.shape[3];
    if (const char* reason = zpool2d_reason_against(&p)) return ort::failed(api, kName, reason);
    const std::vector<std::int64_t> shape = {p.n, p.window_count + 1, p.c, p.h, p.w};
    if (OrtStatus* status = ort::make_output(api, context, 0, shape, &p.z)) return status;
    void* handle = nullptr;
    if (OrtStatus* status = api->KernelContext_GetGPUComputeStream(context, &handle)) return status;
    const auto stream = static_cast<cudaStream_t>(handle);
    const bool is_wide = kFloor == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    const ort::Workspace wide(is_wide ? 0 : size_t(p.c) * sizeof(float), stream);
    const ort::Workspace own(zpool2d_workspace_bytes(&p), stream);
    int error = wide.error() != cudaSuccess ? wide.error() : own.error();
    p.min_std = is_wide ? static_cast<const float*>(floor.data) : static_cast<const float*>(wide.data());
    if (!error && wide.data())
      error = widened(floor.data, ort::dtype_of(kFloor), static_cast<float*>(wide.data()), int(p.c), stream);
    if (!error) error = zpool2d_launch(&p, own.data(), handle);
    return error ? ort::failed(api, kName, error) : nullptr;
  }
};

}  // namespace

std::initializer_list<const OrtCustomOp*> onnxruntime_cuda_ops() {
  constexpr auto kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, kHalf = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
                 kBfloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16;
  static const OrtCustomOp float32 = ort::make_cuda_op<CudaOp<kFloat, kFloat>>(),
                           float16 = ort::make_cuda_op<CudaOp<kHalf, kHalf>>(),
                           bfloat16 = ort::make_cuda_op<CudaOp<kBfloat, kBfloat>>(),
                           float16_floor32 = ort::make_cuda_op<CudaOp<kHalf, kFloat>>(),
                           bfloat16_floor32 = ort::make_cuda_op<CudaOp<kBfloat, kFloat>>();
  static const std::initializer_list<const OrtCustomOp*> all{&float32, &float16, &bfloat16, &float16_floor32,
                                                             &bfloat16_floor32};
  return all;
}

}  // namespace zpool2d
