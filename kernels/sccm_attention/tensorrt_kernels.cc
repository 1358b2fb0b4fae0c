// SCCM attention as kernels that TensorRT launches itself: found by name, one launch each, only pointers and 32-bit
// integers as arguments. tensorrt_plugin.py says how large their grids are, and which of them are launched.
#include "sccm_attention/channel.cuh"
#include "sccm_attention/spatial.cuh"
#include "sccm_attention/spatial_on_tensor_cores.cuh"

namespace {

using namespace sccm_attention;

// What an engine can tell of sizes; ranges and parts are counted by the grid.
__device__ __forceinline__ Shape sizes(int b, int d, int n) {
  Shape s = {};
  s.b = b, s.d = d, s.n = n;
  s.pitch = ceil_div(d, 8) * 8;
  s.length = kPositions;
  return s;
}

// With so many tiles of keys in a range; more than there are make one range of all.
__device__ __forceinline__ Shape in_ranges(int b, int d, int n, int tiles) {
  Shape s = sizes(b, d, n);
  s.range = min(tiles, ceil_div(n, kTile)) * kTile;
  return s;
}

}  // namespace

#define WITH_FLOAT32_PRODUCTS(name, T)                                                                                 \
  extern "C" __global__ void __launch_bounds__(kThreads, 1) sccm_attention_ranges_##name(                              \
      const T* __restrict__ theta, const T* __restrict__ phi, const T* __restrict__ g, int b, int d, int n, int tiles, \
      float* __restrict__ sums, float* __restrict__ tops, float* __restrict__ totals) {                                \
    attend(in_ranges(b, d, n, tiles), theta, phi, g, {sums, tops, totals});                                            \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(kThreads) sccm_attention_logits_##name(                                 \
      const T* __restrict__ theta, const T* __restrict__ phi, int b, int d, int n, float* __restrict__ logits) {       \
    logits_of_part(sizes(b, d, n), theta, phi, logits);                                                                \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(kThreads) sccm_attention_channel_##name(                                \
      const T* __restrict__ g, const float* __restrict__ weights, int b, int d, int n, T* __restrict__ channel) {      \
    weighted_values(sizes(b, d, n), g, weights, channel);                                                              \
  }

// Rows need not be of whole 16 bytes: how many positions there are, a build may not know.
#define ON_TENSOR_CORES(name, T)                                                                                       \
  extern "C" __global__ void __launch_bounds__(kTensorThreads) sccm_attention_ranges_on_tensor_cores_##name(           \
      const T* __restrict__ theta, const T* __restrict__ phi, const T* __restrict__ g, int b, int d, int n, int tiles, \
      float* __restrict__ sums, float* __restrict__ tops, float* __restrict__ totals) {                                \
    attend_on_tensor_cores<kFewChannels, true>(in_ranges(b, d, n, tiles), theta, phi, g, {sums, tops, totals});        \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(kTensorThreads) sccm_attention_logits_on_tensor_cores_##name(           \
      const T* __restrict__ theta, const T* __restrict__ phi, int b, int d, int n, float* __restrict__ logits) {       \
    logits_of_part_on_tensor_cores<true>(sizes(b, d, n), theta, phi, logits);                                          \
  }                                                                                                                    \
  extern "C" __global__ void __launch_bounds__(kTensorThreads) sccm_attention_channel_on_tensor_cores_##name(          \
      const T* __restrict__ g, const T* __restrict__ weights, int b, int d, int n, T* __restrict__ channel) {          \
    weighted_values_on_tensor_cores<true>(sizes(b, d, n), g, weights, channel);                                        \
  }

// Of the last input nothing but the type counts, which is the output's.
#define OF_EITHER(name, T)                                                                                          \
  extern "C" __global__ void __launch_bounds__(kMergeThreads)                                                       \
      sccm_attention_spatial_##name(float* __restrict__ sums, float* __restrict__ tops, float* __restrict__ totals, \
                                    const T*, int b, int d, int n, int splits, T* __restrict__ spatial) {           \
    Shape s = sizes(b, d, n);                                                                                       \
    s.splits = splits;                                                                                              \
    merge_ranges(s, {sums, tops, totals}, spatial);                                                                 \
  }                                                                                                                 \
  extern "C" __global__ void __launch_bounds__(kWarp) sccm_attention_weights_##name(                                \
      const float* __restrict__ logits, const void*, int b, int d, int parts, T* __restrict__ weights) {            \
    Shape s = sizes(b, d, 0);                                                                                       \
    s.parts = parts;                                                                                                \
    weights_of_row(s, logits, weights);                                                                             \
  }

WITH_FLOAT32_PRODUCTS(fp32, float)
WITH_FLOAT32_PRODUCTS(fp16, __half)
WITH_FLOAT32_PRODUCTS(bf16, __nv_bfloat16)
ON_TENSOR_CORES(fp16, __half)
ON_TENSOR_CORES(bf16, __nv_bfloat16)
OF_EITHER(fp32, float)
OF_EITHER(fp16, __half)
OF_EITHER(bf16, __nv_bfloat16)
