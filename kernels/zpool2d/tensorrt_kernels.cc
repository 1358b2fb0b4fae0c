// ZPool2D as kernels that TensorRT launches itself: found by name, one launch each, only pointers and 32-bit integers
// as arguments. tensorrt_plugin.py says how large their grids are; up to four windows, 0 for those there are not.
#include "zpool2d/zpool2d.cuh"

namespace {

template <class T, class Floor>
__device__ __forceinline__ void scores(const T* x, const Floor* min_std, const float* parts, int n, int c, int h, int w,
                                       const int (&windows)[kWindows], int magnitude, T* z) {
  ZPool2DCuda p = {};
  p.n = n, p.c = c, p.h = h, p.w = w;
  p.magnitude = magnitude;
  for (int k = 0; k < kWindows; ++k) {
    p.windows[k] = windows[k];
    p.window_count += windows[k] > 0;
  }
  const Pass pass = plan(p, 0, sizeof(Eight<T>));
  // The grid was sized for frames at least as large as the windows; smaller ones have fewer strips.
  if (blockIdx.x >= pass.planes * pass.strips * pass.segments) return;
  scores_of_strip(pass, x, min_std, reinterpret_cast<const Moments*>(parts), z);
}

}  // namespace

// parts[n, c, 96]: the moments of every part of every plane of x.
#define MOMENTS(name, T)                                                         \
  extern "C" __global__ void __launch_bounds__(kStatisticsThreads)               \
      zpool2d_moments_##name(const T* x, int h, int w, float* parts) {           \
    const long long size = (long long)h * w;                                     \
    part_moments(x, size, part_length(size), reinterpret_cast<Moments*>(parts)); \
  }

#define SCORES(name, T, Floor)                                                                                        \
  extern "C" __global__ void __launch_bounds__(kWarp, kWarpsAtOnce)                                                   \
      zpool2d_scores_##name(const T* x, const Floor* min_std, const float* parts, int n, int c, int h, int w, int k0, \
                            int k1, int k2, int k3, int magnitude, T* z) {                                            \
    scores(x, min_std, parts, n, c, h, w, {k0, k1, k2, k3}, magnitude, z);                                            \
  }

MOMENTS(fp32, float)
MOMENTS(fp16, __half)
MOMENTS(bf16, __nv_bfloat16)
SCORES(fp32_fp32, float, float)
SCORES(fp16_fp32, __half, float)
SCORES(fp16_fp16, __half, __half)
SCORES(bf16_fp32, __nv_bfloat16, float)
SCORES(bf16_bf16, __nv_bfloat16, __nv_bfloat16)
