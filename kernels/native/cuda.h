// What a kernel's source includes instead of CUDA's headers: with nvcc it is CUDA, without it is the CPU.
//
// A kernel keeps to this: it is launched by `launch`, its shared memory comes from the two macros below, and of CUDA's
// intrinsics it uses those that cuda_on_cpu.h and cuda_on_cpu_types.h have.
#pragma once

#if defined(__CUDACC__)

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

// `T* name`: as many bytes as the launch asked for, the same for all threads of a block.
#define DYNAMIC_SHARED(T, name)                                 \
  extern __shared__ __align__(16) unsigned char name##_bytes[]; \
  T* const name = reinterpret_cast<T*>(name##_bytes)
// `T& name`: one T for all threads of a block.
#define STATIC_SHARED(T, name) __shared__ __align__(16) T name

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t stream,
                   Arguments... arguments) {
  constexpr size_t kWithoutAsking = 48 << 10;
  if (shared_bytes > kWithoutAsking) {
    const auto status =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (status != cudaSuccess) {
      static_cast<void>(cudaGetLastError());
      return status;
    }
  }
  cudaLaunchConfig_t how = {};
  how.gridDim = grid;
  how.blockDim = block;
  how.dynamicSmemBytes = shared_bytes;
  how.stream = stream;
  // Its own answer: the last error may be another library's, and ours is not left for that to find.
  const auto status = cudaLaunchKernelEx(&how, kernel, arguments...);
  if (status != cudaSuccess) static_cast<void>(cudaGetLastError());
  return status;
}

struct Device {
  int capability;       // ten times the major plus the minor
  int multiprocessors;  // how many
  int shared_limit;     // bytes of dynamic shared memory a block may ask for
};

inline cudaError_t current_device(Device* device) {
  int index = 0, major = 0, minor = 0;
  cudaError_t status = cudaGetDevice(&index);
  const auto ask = [&](int* answer, cudaDeviceAttr attribute) {
    if (status == cudaSuccess) status = cudaDeviceGetAttribute(answer, attribute, index);
  };
  ask(&major, cudaDevAttrComputeCapabilityMajor);
  ask(&minor, cudaDevAttrComputeCapabilityMinor);
  ask(&device->multiprocessors, cudaDevAttrMultiProcessorCount);
  ask(&device->shared_limit, cudaDevAttrMaxSharedMemoryPerBlockOptin);
  device->capability = 10 * major + minor;
  return status;
}

#else

#include "native/cuda_on_cpu.h"

#define DYNAMIC_SHARED(T, name) T* const name = reinterpret_cast<T*>(cuda_on_cpu::block->dynamic.get())
#define STATIC_SHARED(T, name)      \
  static const char name##_key = 0; \
  T& name = *reinterpret_cast<T*>(cuda_on_cpu::block->shared(&name##_key, sizeof(T)))

template <class... Parameters, class... Arguments>
cudaError_t launch(void (*kernel)(Parameters...), dim3 grid, dim3 block, size_t shared_bytes, cudaStream_t,
                   Arguments... arguments) {
  return cuda_on_cpu::run_grid(grid, block, shared_bytes, [=] { kernel(arguments...); });
}

struct Device {
  int capability, multiprocessors, shared_limit;
};

inline cudaError_t current_device(Device* device) {
  const auto& chosen = cuda_on_cpu::settings;
  *device = {chosen.capability, chosen.multiprocessors, static_cast<int>(chosen.shared_limit)};
  return cudaSuccess;
}

#endif

// Type codes of a launcher's `dtype`.
enum Dtype : int { kFloat32 = 0, kFloat16 = 1, kBfloat16 = 2 };

__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ float widen(__half value) { return __half2float(value); }
__device__ __forceinline__ float widen(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class T>
__device__ __forceinline__ T narrow(float value);
template <>
__device__ __forceinline__ float narrow(float value) {
  return value;
}
template <>
__device__ __forceinline__ __half narrow(float value) {
  return __float2half_rn(value);
}
template <>
__device__ __forceinline__ __nv_bfloat16 narrow(float value) {
  return __float2bfloat16_rn(value);
}
