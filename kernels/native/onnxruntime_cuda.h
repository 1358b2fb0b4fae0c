// What the shells of CUDA kernels for ONNX Runtime share: tensors in, memory that belongs to a stream, a table per
// type.
//
// Compiled by nvcc they are for the CUDA provider. Compiled for the CPU they are for the CPU provider, so that tests
// run the very same code in ONNX Runtime without a GPU.
#pragma once

#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

#include "native/cuda.h"
#include "native/onnxruntime.h"

#if !defined(__CUDACC__)
inline cudaError_t cudaMallocAsync(void** memory, size_t bytes, cudaStream_t) {
  *memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  return *memory ? cudaSuccess : cudaErrorInvalidValue;
}
inline cudaError_t cudaFreeAsync(void* memory, cudaStream_t) {
  std::free(memory);
  return cudaSuccess;
}
#endif

namespace ort {

#if defined(__CUDACC__)
inline constexpr const char* kCudaProvider = "CUDAExecutionProvider";
#else
inline constexpr const char* kCudaProvider = nullptr;  // the CPU's
#endif

// A tensor on the device.
struct Input {
  const void* data = nullptr;
  std::vector<std::int64_t> shape;
};

inline OrtStatus* failed(const OrtApi* api, const std::string& op, const std::string& why) {
  return api->CreateStatus(ORT_INVALID_ARGUMENT, (op + " was not launched: " + why).c_str());
}

inline OrtStatus* failed(const OrtApi* api, const std::string& op, int error) {
  return failed(api, op, "CUDA error " + std::to_string(error) + "\n  -> cudaError_t says what it is");
}

inline OrtStatus* read_input(const OrtApi* api, const OrtKernelContext* context, size_t index, Input* input) {
  const OrtValue* value = nullptr;
  if (OrtStatus* status = api->KernelContext_GetInput(context, index, &value)) return status;
  OrtTensorTypeAndShapeInfo* info = nullptr;
  if (OrtStatus* status = api->GetTensorTypeAndShape(value, &info)) return status;
  size_t rank = 0;
  OrtStatus* status = api->GetDimensionsCount(info, &rank);
  if (!status) {
    input->shape.resize(rank);
    status = api->GetDimensions(info, input->shape.data(), rank);
  }
  api->ReleaseTensorTypeAndShapeInfo(info);
  if (status) return status;
  void* memory = nullptr;
  status = api->GetTensorMutableData(const_cast<OrtValue*>(value), &memory);
  input->data = memory;
  return status;
}

inline OrtStatus* make_output(const OrtApi* api, OrtKernelContext* context, size_t index,
                              const std::vector<std::int64_t>& shape, void** data) {
  OrtValue* value = nullptr;
  if (OrtStatus* status = api->KernelContext_GetOutput(context, index, shape.data(), shape.size(), &value))
    return status;
  return api->GetTensorMutableData(value, data);
}

// Memory of the current device, given back on its stream: after everything that was put there before.
class Workspace {
 public:
  Workspace(size_t bytes, cudaStream_t stream) : stream_(stream) {
    if (bytes) error_ = cudaMallocAsync(&data_, bytes, stream);
  }
  ~Workspace() {
    if (data_) static_cast<void>(cudaFreeAsync(data_, stream_));
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  void* data() const { return data_; }
  cudaError_t error() const { return error_; }

 private:
  cudaStream_t stream_;
  void* data_ = nullptr;
  cudaError_t error_ = cudaSuccess;
};

constexpr Dtype dtype_of(ONNXTensorElementDataType type) {
  return type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16    ? kFloat16
         : type == ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16 ? kBfloat16
                                                          : kFloat32;
}

// The table of one operator. Op has kName, kInputs, kOutputs, input(index) and output() for their types, and the two
// functions create(api, info, op) and compute(context).
template <class Op>
OrtCustomOp make_cuda_op() {
  OrtCustomOp op{};
  op.version = kApiVersion;
  op.GetName = [](const OrtCustomOp*) { return Op::kName; };
  op.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return kCudaProvider; };
  op.GetInputType = [](const OrtCustomOp*, size_t index) { return Op::input(index); };
  op.GetInputTypeCount = [](const OrtCustomOp*) -> size_t { return Op::kInputs; };
  op.GetOutputType = [](const OrtCustomOp*, size_t) { return Op::output(); };
  op.GetOutputTypeCount = [](const OrtCustomOp*) -> size_t { return Op::kOutputs; };
  op.GetInputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
  op.GetOutputCharacteristic = op.GetInputCharacteristic;
  op.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return OrtMemTypeDefault; };
  op.GetStartVersion = [](const OrtCustomOp*) { return 1; };
  op.GetEndVersion = [](const OrtCustomOp*) { return std::numeric_limits<int>::max(); };
  op.CreateKernelV2 = [](const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info, void** kernel) {
    Op* const made = new Op;
    OrtStatus* const status = Op::create(api, info, made);
    if (status) delete made;
    *kernel = status ? nullptr : made;
    return status;
  };
  op.KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
    return static_cast<const Op*>(kernel)->compute(context);
  };
  op.KernelDestroy = [](void* kernel) { delete static_cast<Op*>(kernel); };
  return op;
}

}  // namespace ort
