// The floor in the type that the launcher takes, for shells whose framework has it in another.
#pragma once

#include "native/cuda.h"

namespace zpool2d {

constexpr int kFloorThreads = 128;

template <class T>
__global__ void __launch_bounds__(kFloorThreads)
    widen_floor(const T* __restrict__ narrow, float* __restrict__ wide, int count) {
  const int i = int(blockIdx.x) * kFloorThreads + int(threadIdx.x);
  if (i < count) wide[i] = widen(narrow[i]);
}

// `type` is float16 or bfloat16.
inline cudaError_t widened(const void* narrow, Dtype type, float* wide, int count, cudaStream_t stream) {
  if (count == 0) return cudaSuccess;
  const dim3 grid(unsigned((count + kFloorThreads - 1) / kFloorThreads)), block(kFloorThreads);
  if (type == kFloat16)
    return launch(widen_floor<__half>, grid, block, 0, stream, static_cast<const __half*>(narrow), wide, count);
  return launch(widen_floor<__nv_bfloat16>, grid, block, 0, stream, static_cast<const __nv_bfloat16*>(narrow), wide,
                count);
}

}  // namespace zpool2d
