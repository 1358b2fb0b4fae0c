// The table of CUDA operators that ONNX Runtime sees: SessionOptions.register_custom_ops_library(path of _cuda.so).
#include <initializer_list>

#include "native/onnxruntime.h"

namespace zpool2d {
std::initializer_list<const OrtCustomOp*> onnxruntime_cuda_ops();
}
namespace sccm_attention {
std::initializer_list<const OrtCustomOp*> onnxruntime_cuda_ops();
}

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                               const OrtApiBase* base) {
  const OrtApi* api = base->GetApi(ort::kApiVersion);
  if (!api) return base->GetApi(1)->CreateStatus(ORT_FAIL, "ONNX Runtime is too old\n  -> install 1.20 or newer");
  // Sessions keep a pointer to their domain and nobody says when the last of them ends: a domain is never released.
  OrtCustomOpDomain* domain = nullptr;
  if (OrtStatus* status = api->CreateCustomOpDomain("forensics", &domain)) return status;
  for (const auto& ops : {zpool2d::onnxruntime_cuda_ops(), sccm_attention::onnxruntime_cuda_ops()})
    for (const OrtCustomOp* op : ops)
      if (OrtStatus* status = api->CustomOpDomain_Add(domain, op)) return status;
  return api->AddCustomOpDomain(options, domain);
}
