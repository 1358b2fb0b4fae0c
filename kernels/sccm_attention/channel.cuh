// The channel branch: logits of d x d channels, a softmax over each of their rows, and the values' product with it.
#pragma once

#include "sccm_attention/product.cuh"
#include "sccm_attention/product_on_tensor_cores.cuh"

namespace sccm_attention {

constexpr int kPositions = 512;  // of a part

// logits[part, batch, i, j] = sum over the part's positions of theta[i, n] phi[j, n].
template <class T>
__device__ __forceinline__ void logits_of_part(const Shape& s, const T* __restrict__ theta, const T* __restrict__ phi,
                                               float* __restrict__ logits) {
  STATIC_SHARED(Panel, left);
  STATIC_SHARED(Panel, right);
  const int tiles = (s.d + kTile - 1) / kTile, part = blockIdx.y, batch = blockIdx.z;
  const int i = blockIdx.x / tiles * kTile, j = blockIdx.x % tiles * kTile;
  const long long base = (long long)batch * s.d * s.n;
  const int begin = part * s.length, end = min(s.n, begin + s.length);
  const Operand<T> a = {theta + base, 1, s.n, end, s.d};
  const Operand<T> b = {phi + base, 1, s.n, end, s.d};
  float sums[4][4] = {};
  product(sums, a, b, i, j, begin, end, left, right);
  const int row = i + threadIdx.x / 16 * 4, column = j + threadIdx.x % 16 * 4;
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 4; ++x)
      if (row + y < s.d && column + x < s.d)
        logits[(((long long)part * s.b + batch) * s.d + row + y) * s.d + column + x] = sums[y][x];
}

// The same on tensor cores.
template <bool kAnyRows, class T>
__device__ __forceinline__ void logits_of_part_on_tensor_cores(const Shape& s, const T* __restrict__ theta,
                                                               const T* __restrict__ phi, float* __restrict__ logits) {
  STATIC_SHARED(Panels<T>, panels);
  const int tiles = (s.d + kTile - 1) / kTile, part = blockIdx.y, batch = blockIdx.z;
  const Corner at = {int(blockIdx.x) / tiles * kTile, int(blockIdx.x) % tiles * kTile};
  const long long base = (long long)batch * s.d * s.n;
  const int begin = part * s.length, end = min(s.n, begin + s.length);
  const Source<T, kAnyRows> a = {theta + base, s.n, s.d, end}, b = {phi + base, s.n, s.d, end};
  float sums[kTile / 8][4] = {};
  product_on_tensor_cores<false>(sums, a, b, at, begin, end, panels);
  float* const to = logits + ((long long)part * s.b + batch) * s.d * s.d;
  for_each_sum(sums, [&](int row, int column, float sum) {
    if (at.row + row < s.d && at.column + column < s.d) to[(at.row + row) * s.d + at.column + column] = sum;
  });
}

// weights[batch, i, j]: one warp to a row brings the parts together in shared memory, and takes the softmax.
template <class W>
__device__ __forceinline__ void weights_of_row(const Shape& s, const float* __restrict__ logits,
                                               W* __restrict__ weights) {
  DYNAMIC_SHARED(float, row);  // [d], of which each lane looks at its own alone
  const long long all = (long long)s.b * s.d * s.d;
  const float* const parts = logits + (long long)blockIdx.x * s.d;
  W* const to = weights + (long long)blockIdx.x * s.pitch;
  const int lane = threadIdx.x;
  float top = -INFINITY, total = 0;
  for (int j = lane; j < s.d; j += kWarp) {
    float logit = parts[j];
    for (int part = 1; part < s.parts; ++part) logit += parts[part * all + j];
    row[j] = logit;
    top = fmaxf(top, logit);
  }
  for (int with = kWarp / 2; with > 0; with /= 2) top = fmaxf(top, __shfl_xor_sync(kAll, top, with));
  for (int j = lane; j < s.d; j += kWarp) total += expf(row[j] - top);
  for (int with = kWarp / 2; with > 0; with /= 2) total += __shfl_xor_sync(kAll, total, with);
  for (int j = lane; j < s.pitch; j += kWarp) to[j] = narrow<W>(j < s.d ? expf(row[j] - top) / total : 0);
}

// channel[n, j] = sum over i of g[i, n] weights[i, j].
template <class T>
__device__ __forceinline__ void weighted_values(const Shape& s, const T* __restrict__ g,
                                                const float* __restrict__ weights, T* __restrict__ channel) {
  STATIC_SHARED(Panel, left);
  STATIC_SHARED(Panel, right);
  const int n = blockIdx.x * kTile, j = blockIdx.y * kTile;
  const Operand<T> a = {g + (long long)blockIdx.z * s.d * s.n, s.n, 1, s.d, s.n};
  const Operand<float> b = {weights + (long long)blockIdx.z * s.d * s.pitch, s.pitch, 1, s.d, s.d};
  float sums[4][4] = {};
  product(sums, a, b, n, j, 0, s.d, left, right);
  const int row = n + threadIdx.x / 16 * 4, column = j + threadIdx.x % 16 * 4;
  for (int y = 0; y < 4; ++y)
    for (int x = 0; x < 4; ++x)
      if (row + y < s.n && column + x < s.d)
        channel[((long long)blockIdx.z * s.n + row + y) * s.d + column + x] = narrow<T>(sums[y][x]);
}

// The same on tensor cores, the weights rounded to T.
template <bool kAnyRows, class T>
__device__ __forceinline__ void weighted_values_on_tensor_cores(const Shape& s, const T* __restrict__ g,
                                                                const T* __restrict__ weights,
                                                                T* __restrict__ channel) {
  STATIC_SHARED(Panels<T>, panels);
  const Corner at = {int(blockIdx.x) * kTile, int(blockIdx.y) * kTile};
  const Source<T, kAnyRows> a = {g + (long long)blockIdx.z * s.d * s.n, s.n, s.d, s.n};
  const Source<T> b = {weights + (long long)blockIdx.z * s.d * s.pitch, s.pitch, s.d, s.pitch};
  float sums[kTile / 8][4] = {};
  product_on_tensor_cores<true>(sums, a, b, at, 0, s.d, panels);
  T* const to = channel + (long long)blockIdx.z * s.n * s.d;
  for_each_sum(sums, [&](int row, int column, float sum) {
    if (at.row + row < s.n && at.column + column < s.d)
      to[(long long)(at.row + row) * s.d + at.column + column] = narrow<T>(sum);
  });
}

}  // namespace sccm_attention
