// The table of plugins that TensorRT sees: IPluginRegistry::loadLibrary(path), trtexec --dynamicPlugins=path. Of
// TensorRT's own libraries it needs none.
//
// A node's plugin is found by type, version and namespace, "1" and "" unless the node has attributes that say
// otherwise; each is also there in the namespace that is the nodes' domain.
#include <atomic>

#include "native/tensorrt.h"

namespace {
std::atomic<nvinfer1::ILoggerFinder*> finder{nullptr};
}

void trt::tell(const std::string& problem) {
  nvinfer1::ILoggerFinder* const known = finder;
  nvinfer1::ILogger* const logger = known ? known->findLogger() : nullptr;
  if (logger) logger->log(nvinfer1::ILogger::Severity::kERROR, problem.c_str());
}

namespace zpool2d {
nvinfer1::IPluginCreatorInterface* tensorrt_creator(const char* space);
}
namespace sccm_attention {
nvinfer1::IPluginCreatorInterface* tensorrt_creator(const char* space);
}

extern "C" __attribute__((visibility("default"))) void setLoggerFinder(nvinfer1::ILoggerFinder* given) {
  finder = given;
}

// Creators live as long as the library.
extern "C" __attribute__((visibility("default"))) nvinfer1::IPluginCreatorInterface* const* getCreators(
    std::int32_t& count) {
  static nvinfer1::IPluginCreatorInterface* const all[] = {
      zpool2d::tensorrt_creator(""), zpool2d::tensorrt_creator("forensics"), sccm_attention::tensorrt_creator(""),
      sccm_attention::tensorrt_creator("forensics")};
  count = sizeof(all) / sizeof(all[0]);
  return all;
}
