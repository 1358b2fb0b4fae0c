// What a custom operator needs of ONNX Runtime's C interface.
//
// No package of ONNX Runtime for Python carries its headers, and its C interface only ever grows at its end: places in
// its tables of functions never change. So this names the places that are used and skips the others. With
// WITH_ORT_HEADERS the real header takes its place, and the assertions below hold it to the same places.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef WITH_ORT_HEADERS
#include <onnxruntime_c_api.h>
#else

extern "C" {

struct OrtStatus;
struct OrtKernelInfo;
struct OrtKernelContext;
struct OrtCustomOpDomain;
struct OrtSessionOptions;
struct OrtShapeInferContext;
struct OrtTensorTypeAndShapeInfo;
struct OrtValue;
using OrtStatusPtr = OrtStatus*;

enum OrtErrorCode { ORT_OK, ORT_FAIL, ORT_INVALID_ARGUMENT };
enum OrtMemType { OrtMemTypeDefault = 0 };
enum OrtCustomOpInputOutputCharacteristic { INPUT_OUTPUT_REQUIRED = 0 };
enum ONNXTensorElementDataType {
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16 = 10,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE = 11,
  ONNX_TENSOR_ELEMENT_DATA_TYPE_BFLOAT16 = 16,
};

// clang-format off
struct OrtApi {
  OrtStatus* (*CreateStatus)(OrtErrorCode, const char* message);
  void* skipped_1[25];
  OrtStatus* (*CreateCustomOpDomain)(const char* name, OrtCustomOpDomain** out);
  OrtStatus* (*CustomOpDomain_Add)(OrtCustomOpDomain*, const struct OrtCustomOp*);
  OrtStatus* (*AddCustomOpDomain)(OrtSessionOptions*, OrtCustomOpDomain*);
  void* skipped_29[22];
  OrtStatus* (*GetTensorMutableData)(OrtValue*, void** out);
  void* skipped_52[9];
  OrtStatus* (*GetDimensionsCount)(const OrtTensorTypeAndShapeInfo*, size_t* out);
  OrtStatus* (*GetDimensions)(const OrtTensorTypeAndShapeInfo*, int64_t* out, size_t count);
  void* skipped_63[2];
  OrtStatus* (*GetTensorTypeAndShape)(const OrtValue*, OrtTensorTypeAndShapeInfo** out);
  void* skipped_66[20];
  OrtStatus* (*KernelInfoGetAttribute_int64)(const OrtKernelInfo*, const char* name, int64_t* out);
  void* skipped_87[3];
  OrtStatus* (*KernelContext_GetInput)(const OrtKernelContext*, size_t index, const OrtValue** out);
  OrtStatus* (*KernelContext_GetOutput)(OrtKernelContext*, size_t index, const int64_t* sizes, size_t, OrtValue** out);
  void* skipped_92[7];
  void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo*);
  void* skipped_100[63];
  OrtStatus* (*KernelInfoGetAttributeArray_int64)(const OrtKernelInfo*, const char* name, int64_t* out, size_t* size);
  void* skipped_164[29];
  OrtStatus* (*KernelContext_GetGPUComputeStream)(const OrtKernelContext*, void** out);
  void* skipped_194[80];
  OrtStatus* (*KernelContext_ParallelFor)(const OrtKernelContext*, void (*piece)(void* data, size_t index),
                                          size_t total, size_t batches, void* data);
};

struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

struct OrtCustomOp {
  uint32_t version;
  void* (*CreateKernel)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*);
  const char* (*GetName)(const OrtCustomOp*);
  const char* (*GetExecutionProviderType)(const OrtCustomOp*);
  ONNXTensorElementDataType (*GetInputType)(const OrtCustomOp*, size_t index);
  size_t (*GetInputTypeCount)(const OrtCustomOp*);
  ONNXTensorElementDataType (*GetOutputType)(const OrtCustomOp*, size_t index);
  size_t (*GetOutputTypeCount)(const OrtCustomOp*);
  void (*KernelCompute)(void* kernel, OrtKernelContext*);
  void (*KernelDestroy)(void* kernel);
  OrtCustomOpInputOutputCharacteristic (*GetInputCharacteristic)(const OrtCustomOp*, size_t index);
  OrtCustomOpInputOutputCharacteristic (*GetOutputCharacteristic)(const OrtCustomOp*, size_t index);
  OrtMemType (*GetInputMemoryType)(const OrtCustomOp*, size_t index);
  int (*GetVariadicInputMinArity)(const OrtCustomOp*);
  int (*GetVariadicInputHomogeneity)(const OrtCustomOp*);
  int (*GetVariadicOutputMinArity)(const OrtCustomOp*);
  int (*GetVariadicOutputHomogeneity)(const OrtCustomOp*);
  OrtStatusPtr (*CreateKernelV2)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*, void** kernel);
  OrtStatusPtr (*KernelComputeV2)(void* kernel, OrtKernelContext*);
  OrtStatusPtr (*InferOutputShapeFn)(const OrtCustomOp*, OrtShapeInferContext*);
  int (*GetStartVersion)(const OrtCustomOp*);
  int (*GetEndVersion)(const OrtCustomOp*);
  size_t (*GetMayInplace)(int** inputs, int** outputs);
  void (*ReleaseMayInplace)(int* inputs, int* outputs);
  size_t (*GetAliasMap)(int** inputs, int** outputs);
  void (*ReleaseAliasMap)(int* inputs, int* outputs);
};
// clang-format on

}  // extern "C"

#endif  // WITH_ORT_HEADERS

namespace ort {

// The version whose tables are described: ONNX Runtime 1.18 and every later one offers it.
inline constexpr std::uint32_t kApiVersion = 18;

inline constexpr std::size_t kPlace = sizeof(void*);
static_assert(offsetof(OrtApi, CreateCustomOpDomain) == 26 * kPlace);
static_assert(offsetof(OrtApi, AddCustomOpDomain) == 28 * kPlace);
static_assert(offsetof(OrtApi, GetTensorMutableData) == 51 * kPlace);
static_assert(offsetof(OrtApi, GetDimensionsCount) == 61 * kPlace);
static_assert(offsetof(OrtApi, GetTensorTypeAndShape) == 65 * kPlace);
static_assert(offsetof(OrtApi, KernelInfoGetAttribute_int64) == 86 * kPlace);
static_assert(offsetof(OrtApi, KernelContext_GetInput) == 90 * kPlace);
static_assert(offsetof(OrtApi, ReleaseTensorTypeAndShapeInfo) == 99 * kPlace);
static_assert(offsetof(OrtApi, KernelInfoGetAttributeArray_int64) == 163 * kPlace);
static_assert(offsetof(OrtApi, KernelContext_GetGPUComputeStream) == 193 * kPlace);
static_assert(offsetof(OrtApi, KernelContext_ParallelFor) == 274 * kPlace);
static_assert(offsetof(OrtCustomOp, CreateKernelV2) == 17 * kPlace);
static_assert(offsetof(OrtCustomOp, ReleaseAliasMap) == 25 * kPlace);

}  // namespace ort
