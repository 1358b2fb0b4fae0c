// What the kernels of SCCM attention tell each other. The headers beside this one have their bodies, for whoever calls
// them by a name of its own.
#pragma once

#include "native/cuda.h"

namespace sccm_attention {

constexpr unsigned kAll = 0xffffffff;
constexpr int kWarp = 32;
constexpr int kTile = 64;  // queries of a block, and the side of every tile of float32 products

__host__ __device__ __forceinline__ int ceil_div(long long a, long long b) { return int((a + b - 1) / b); }

struct Shape {
  int b, d, n;
  int splits, range;  // of the keys: how many, and keys in each, a multiple of 64
  int pitch;          // of the channels' weights, which are [b, d, pitch]: d, made a multiple of 8 with zeros
  int parts, length;  // of the positions that the channels' logits sum over
};

// What one range of the keys has found out, before the ranges come together.
struct Partial {
  float* sums;    // [splits, b, n, d]: of values, weighted
  float* tops;    // [splits, b, n]: the largest logit
  float* totals;  // [splits, b, n]: of weights

  __device__ __forceinline__ long long row(const Shape& s, int split, int batch, int query) const {
    return ((long long)split * s.b + batch) * s.n + query;
  }
};

}  // namespace sccm_attention
