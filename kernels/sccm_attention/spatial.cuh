// The spatial branch with products in float32: any type, any number of channels and positions.
#pragma once

#include "sccm_attention/product.cuh"

namespace sccm_attention {

constexpr int kMergeThreads = 256;
constexpr int kValueTiles = 5;  // tiles of value channels that a block sums: 320, beyond that more blocks do the rest

// What the block's queries find out from its range of the keys.
template <class T>
__device__ __forceinline__ void attend(const Shape& s, const T* __restrict__ theta, const T* __restrict__ phi,
                                       const T* __restrict__ g, const Partial& partial) {
  STATIC_SHARED(Panel, left);
  STATIC_SHARED(Panel, right);
  using Weights = Panel[kTile / kDepth];
  STATIC_SHARED(Weights, weights);  // [key, query]
  const int value_tiles = (s.d + kTile - 1) / kTile, groups = (value_tiles + kValueTiles - 1) / kValueTiles;
  const int first_tile = blockIdx.z % groups * kValueTiles, batch = blockIdx.z / groups, split = blockIdx.y;
  const int query = blockIdx.x * kTile, row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
  const long long base = (long long)batch * s.d * s.n;
  const Operand<T> queries = {theta + base, s.n, 1, s.d, s.n};
  const Operand<T> keys = {phi + base, s.n, 1, s.d, s.n};
  const Operand<T> values = {g + base, 1, s.n, s.n, s.d};

  float sums[kValueTiles][4][4] = {};
  float top[4], total[4] = {};
#pragma unroll
  for (int i = 0; i < 4; ++i) top[i] = -INFINITY;
  const int end = min(s.n, (split + 1) * s.range);
  for (int key = split * s.range; key < end; key += kTile) {
    float logits[4][4] = {};
    product(logits, queries, keys, query, key, 0, s.d, left, right);
    float fade[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float highest = top[i];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (key + column + j >= s.n) logits[i][j] = -INFINITY;
        highest = fmaxf(highest, logits[i][j]);
      }
#pragma unroll
      for (int with = 8; with > 0; with /= 2) highest = fmaxf(highest, __shfl_xor_sync(kAll, highest, with));
      fade[i] = expf(top[i] - highest);
      top[i] = highest;
      total[i] *= fade[i];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        logits[i][j] = expf(logits[i][j] - highest);
        total[i] += logits[i][j];
        weights[(column + j) / kDepth][(column + j) % kDepth][row + i] = logits[i][j];
      }
    }
#pragma unroll
    for (int tile = 0; tile < kValueTiles; ++tile) {
      if (first_tile + tile >= value_tiles) break;
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) sums[tile][i][j] *= fade[i];
      for (int k = 0; k < kTile; k += kDepth) {
        __syncthreads();  // the panel may still be read; the weights are there
        values.fetch(right, key + k, (first_tile + tile) * kTile);
        __syncthreads();
        multiply(sums[tile], weights[k / kDepth], right);
      }
    }
  }

#pragma unroll
  for (int i = 0; i < 4; ++i) {
#pragma unroll
    for (int with = 8; with > 0; with /= 2) total[i] += __shfl_xor_sync(kAll, total[i], with);
    if (query + row + i >= s.n) continue;
    const long long at = partial.row(s, split, batch, query + row + i);
    if (column == 0 && first_tile == 0) {
      partial.tops[at] = top[i];
      partial.totals[at] = total[i];
    }
#pragma unroll
    for (int tile = 0; tile < kValueTiles; ++tile)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int channel = (first_tile + tile) * kTile + column + j;
        if (channel < s.d) partial.sums[at * s.d + channel] = sums[tile][i][j];
      }
  }
}

// spatial[b, n, d]: the ranges of the keys together.
template <class T>
__device__ __forceinline__ void merge_ranges(const Shape& s, const Partial& partial, T* __restrict__ spatial) {
  const long long all = (long long)s.b * s.n;
  const long long i = (long long)blockIdx.x * kMergeThreads + threadIdx.x;
  if (i >= all * s.d) return;
  const long long row = i / s.d;
  float top = -INFINITY, total = 0, sum = 0;
  for (int split = 0; split < s.splits; ++split) top = fmaxf(top, partial.tops[split * all + row]);
  for (int split = 0; split < s.splits; ++split) {
    const float weight = expf(partial.tops[split * all + row] - top);
    total += weight * partial.totals[split * all + row];
    sum += weight * partial.sums[split * all * s.d + i];
  }
  spatial[i] = narrow<T>(sum / total);
}

}  // namespace sccm_attention
