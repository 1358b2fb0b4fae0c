// ZPool2D for ONNX Runtime's CPU provider, in the threads of its session.
#include <algorithm>
#include <limits>
#include <mutex>
#include <string>
#include <vector>

#include "native/onnxruntime.h"
#include "zpool2d/zpool2d.h"

namespace zpool2d {
namespace {

struct Kernel {
  const OrtApi* api;
  DType dtype, floor_dtype;
  Params attributes;
};

OrtStatus* to_ort(const OrtApi* api, const Status& status) {
  return status ? nullptr : api->CreateStatus(ORT_INVALID_ARGUMENT, ("ZPool2D: " + status.message()).c_str());
}

constexpr DType dtype_of(ONNXTensorElementDataType type) {
  return type == ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE     ? DType::kFloat64
         : type == ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16  ? DType::kFloat16
         : type == ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16 ? DType::kBFloat16
                                                          : DType::kFloat32;
}

// Attributes windows (px) and magnitude (0 or 1).
OrtStatus* read_attributes(const OrtApi* api, const OrtKernelInfo* info, Params* p) {
  std::int64_t windows[kMaxWindows] = {}, magnitude = 0;
  std::size_t count = 0;
  if (OrtStatus* status = api->KernelInfoGetAttributeArray_int64(info, "windows", nullptr, &count)) return status;
  p->window_count = static_cast<int>(std::min<std::size_t>(count, kMaxWindows + 1));
  p->n = p->c = p->h = p->w = 1;
  if (count > kMaxWindows) return to_ort(api, check(*p));
  if (OrtStatus* status = api->KernelInfoGetAttributeArray_int64(info, "windows", windows, &count)) return status;
  if (OrtStatus* status = api->KernelInfoGetAttribute_int64(info, "magnitude", &magnitude)) return status;
  constexpr std::int64_t largest = std::numeric_limits<int>::max();
  for (std::size_t k = 0; k < count; ++k) {
    p->windows[k] = windows[k] < 0 || windows[k] > largest ? 0 : static_cast<int>(windows[k]);
  }
  p->magnitude = magnitude != 0;
  return to_ort(api, check(*p));
}

OrtStatus* read_input(const OrtApi* api, const OrtKernelContext* context, std::size_t index, const void** data,
                      std::vector<std::int64_t>* shape) {
  const OrtValue* value = nullptr;
  if (OrtStatus* status = api->KernelContext_GetInput(context, index, &value)) return status;
  OrtTensorTypeAndShapeInfo* info = nullptr;
  if (OrtStatus* status = api->GetTensorTypeAndShape(value, &info)) return status;
  std::size_t rank = 0;
  OrtStatus* status = api->GetDimensionsCount(info, &rank);
  if (!status) {
    shape->resize(rank);
    status = api->GetDimensions(info, shape->data(), rank);
  }
  api->ReleaseTensorTypeAndShapeInfo(info);
  if (status) return status;
  void* memory = nullptr;
  status = api->GetTensorMutableData(const_cast<OrtValue*>(value), &memory);
  *data = memory;
  return status;
}

// Pieces in flight, and the first thing that went wrong.
struct Run {
  const Params& params;
  std::mutex mutex;
  Status status = Status::ok();

  static void piece(void* data, std::size_t index) {
    Run& run = *static_cast<Run*>(data);
    if (Status status = cpu::run_piece(run.params, static_cast<std::int64_t>(index)); !status) {
      const std::lock_guard<std::mutex> lock(run.mutex);
      run.status = status;
    }
  }
};

OrtStatus* compute(const Kernel& kernel, OrtKernelContext* context) {
  const OrtApi* api = kernel.api;
  Params p = kernel.attributes;
  const void* floor = nullptr;
  std::vector<std::int64_t> shape, floor_shape;
  if (OrtStatus* status = read_input(api, context, 0, &p.x, &shape)) return status;
  if (OrtStatus* status = read_input(api, context, 1, &floor, &floor_shape)) return status;
  if (shape.size() != 4 || floor_shape.size() != 1 || floor_shape[0] != shape[1]) {
    return to_ort(api, Status::error("x has " + std::to_string(shape.size()) + " dimensions, min_std " +
                                         std::to_string(floor_shape.size()) + ", or their channels differ",
                                     "give x [N, C, H, W] and min_std [C]"));
  }
  p.dtype = kernel.dtype;
  p.n = shape[0];
  p.c = shape[1];
  p.h = shape[2];
  p.w = shape[3];
  if (OrtStatus* status = to_ort(api, check(p))) return status;
  std::vector<float> min_std(static_cast<std::size_t>(p.c));
  to_float32(floor, kernel.floor_dtype, min_std.data(), p.c);
  p.min_std = min_std.data();

  const std::int64_t z_shape[] = {p.n, p.window_count + 1, p.c, p.h, p.w};
  OrtValue* z = nullptr;
  if (OrtStatus* status = api->KernelContext_GetOutput(context, 0, z_shape, 5, &z)) return status;
  if (OrtStatus* status = api->GetTensorMutableData(z, &p.z)) return status;
  Run run{p, {}};
  const auto count = static_cast<std::size_t>(cpu::piece_count(p));
  if (OrtStatus* status = api->KernelContext_ParallelFor(context, Run::piece, count, 0, &run)) return status;
  return to_ort(api, run.status);
}

template <ONNXTensorElementDataType type, ONNXTensorElementDataType floor>
OrtStatus* create(const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info, void** out) {
  Kernel kernel{api, dtype_of(type), dtype_of(floor), {}};
  if (OrtStatus* status = read_attributes(api, info, &kernel.attributes)) return status;
  *out = new Kernel(kernel);
  return nullptr;
}

// One operator for one element type, which x and z share; min_std has it, too, or is float32.
template <ONNXTensorElementDataType type, ONNXTensorElementDataType floor = type>
OrtCustomOp make_op() {
  OrtCustomOp op{};
  op.version = ort::kApiVersion;
  op.GetName = [](const OrtCustomOp*) { return "ZPool2D"; };
  op.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };  // the CPU's
  op.GetInputType = [](const OrtCustomOp*, std::size_t index) { return index == 0 ? type : floor; };
  op.GetInputTypeCount = [](const OrtCustomOp*) -> std::size_t { return 2; };
  op.GetOutputType = [](const OrtCustomOp*, std::size_t) { return type; };
  op.GetOutputTypeCount = [](const OrtCustomOp*) -> std::size_t { return 1; };
  op.GetInputCharacteristic = [](const OrtCustomOp*, std::size_t) { return INPUT_OUTPUT_REQUIRED; };
  op.GetOutputCharacteristic = op.GetInputCharacteristic;
  op.GetInputMemoryType = [](const OrtCustomOp*, std::size_t) { return OrtMemTypeDefault; };
  op.GetStartVersion = [](const OrtCustomOp*) { return 1; };
  op.GetEndVersion = [](const OrtCustomOp*) { return std::numeric_limits<int>::max(); };
  op.CreateKernelV2 = create<type, floor>;
  op.KernelComputeV2 = [](void* kernel, OrtKernelContext* context) {
    return compute(*static_cast<const Kernel*>(kernel), context);
  };
  op.KernelDestroy = [](void* kernel) { delete static_cast<Kernel*>(kernel); };
  return op;
}

}  // namespace

std::initializer_list<const OrtCustomOp*> onnxruntime_ops() {
  constexpr auto kFloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, kDouble = ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE,
                 kHalf = ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16, kBfloat = ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16;
  static const OrtCustomOp float32 = make_op<kFloat>(), float64 = make_op<kDouble>(), float16 = make_op<kHalf>(),
                           bfloat16 = make_op<kBfloat>();
  static const OrtCustomOp float64_floor32 = make_op<kDouble, kFloat>(), float16_floor32 = make_op<kHalf, kFloat>(),
                           bfloat16_floor32 = make_op<kBfloat, kFloat>();
  static const std::initializer_list<const OrtCustomOp*> all{
      &float32, &float64, &float16, &bfloat16, &float64_floor32, &float16_floor32, &bfloat16_floor32};
  return all;
}

}  // namespace zpool2d
