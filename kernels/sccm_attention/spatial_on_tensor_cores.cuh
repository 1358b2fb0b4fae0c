// The spatial branch on tensor cores: float16 and bfloat16, at most 288 channels.
//
// Each of four warps has 16 queries. Their logits with 32 keys come out of the tensor cores in the very layout in
// which they go in again as weights, so they stay in registers, as do the weighted sums of values. While a warp
// computes logits the values are on their way to shared memory, and while it sums values the next keys are.
#pragma once

#include "sccm_attention/product_on_tensor_cores.cuh"

namespace sccm_attention {

constexpr int kFewChannels = 144, kManyChannels = 288;  // what sums are kept for: PSCC-Net's two numbers of channels
constexpr int kKeys = 32;
// Rows of shared memory, with 16 bytes of padding: eight rows lie in different banks.
constexpr int kQueryPitch = kTile + 8, kKeyPitch = kKeys + 8;

inline size_t tensor_shared_bytes(int d) { return size_t(d + 15) / 16 * 16 * (kQueryPitch + 2 * kKeyPitch) * 2; }

template <int kChannels, bool kAnyRows, class T>
__device__ __forceinline__ void attend_on_tensor_cores(const Shape& s, const T* __restrict__ theta,
                                                       const T* __restrict__ phi, const T* __restrict__ g,
                                                       const Partial& partial) {
  DYNAMIC_SHARED(T, queries);  // [d, 64]
  const int rows = (s.d + 15) / 16 * 16;
  T* const keys = queries + rows * kQueryPitch;                            // [d, 32]
  T* const values = keys + rows * kKeyPitch;                               // [d, 32]
  const int lane = threadIdx.x % kWarp, query = threadIdx.x / kWarp * 16;  // of the tile
  const int split = blockIdx.y, batch = blockIdx.z;
  const long long base = (long long)batch * s.d * s.n;
  const Corner top = top_first(lane), left = left_first(lane);
  using Rows = Source<T, kAnyRows>;
  const Rows all_queries = {theta + base, s.n, s.d, s.n}, all_keys = {phi + base, s.n, s.d, s.n};
  const Rows all_values = {g + base, s.n, s.d, s.n};

  float sums[kChannels / 8][4] = {};
  float highest[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};  // of queries lane / 4 and lane / 4 + 8
  const int end = min(s.n, (split + 1) * s.range);
  all_queries.template begin_fetch<kTile>(queries, rows, {0, int(blockIdx.x) * kTile});
  all_keys.template begin_fetch<kKeys>(keys, rows, {0, split * s.range});
  for (int key = split * s.range; key < end; key += kKeys) {
    copies_arrived();
    __syncthreads();  // the keys are there, and nobody reads the last values any more
    all_values.template begin_fetch<kKeys>(values, rows, {0, key});

    float logits[kKeys / 8][4] = {};
    for (int k = 0; k < rows; k += 16) {
      unsigned a[4], b[4];
      load_transposed(a, &queries[(k + left.row) * kQueryPitch + query + left.column]);
#pragma unroll
      for (int tile = 0; tile < kKeys / 8; tile += 2) {
        load_transposed(b, &keys[(k + top.row) * kKeyPitch + tile * 8 + top.column]);
        multiply_add(logits[tile], a, b[0], b[1], T());
        multiply_add(logits[tile + 1], a, b[2], b[3], T());
      }
    }

    float fade[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float now = highest[i];
#pragma unroll
      for (int tile = 0; tile < kKeys / 8; ++tile)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          if (key + tile * 8 + lane % 4 * 2 + j >= s.n) logits[tile][2 * i + j] = -INFINITY;
          now = fmaxf(now, logits[tile][2 * i + j]);
        }
      now = fmaxf(now, __shfl_xor_sync(kAll, now, 1));
      now = fmaxf(now, __shfl_xor_sync(kAll, now, 2));
      fade[i] = __expf(highest[i] - now);
      highest[i] = now;
      total[i] *= fade[i];
#pragma unroll
      for (int tile = 0; tile < kKeys / 8; ++tile)
#pragma unroll
        for (int j = 0; j < 2; ++j) {
          logits[tile][2 * i + j] = __expf(logits[tile][2 * i + j] - now);
          total[i] += logits[tile][2 * i + j];
        }
    }
    // After a few tiles the largest logit seldom changes.
    if (__any_sync(kAll, fade[0] != 1 || fade[1] != 1)) {
#pragma unroll
      for (int tile = 0; tile < kChannels / 8; ++tile)
#pragma unroll
        for (int i = 0; i < 4; ++i) sums[tile][i] *= fade[i / 2];
    }

    copies_arrived();
    __syncthreads();  // the values are there, and nobody reads the keys any more
    if (key + kKeys < end) all_keys.template begin_fetch<kKeys>(keys, rows, {0, key + kKeys});
#pragma unroll
    for (int k = 0; k < kKeys; k += 16) {
      const float (&low)[4] = logits[k / 8], (&high)[4] = logits[k / 8 + 1];
      const unsigned weights[4] = {packed(low[0], low[1], T()), packed(low[2], low[3], T()),
                                   packed(high[0], high[1], T()), packed(high[2], high[3], T())};
#pragma unroll
      for (int tile = 0; tile < kChannels / 8; tile += 2) {
        if (tile * 8 >= rows) break;
        unsigned b[4];
        load_matrices(b, &values[(tile * 8 + left.row) * kKeyPitch + k + left.column]);
        multiply_add(sums[tile], weights, b[0], b[1], T());
        multiply_add(sums[tile + 1], weights, b[2], b[3], T());
      }
    }
  }

#pragma unroll
  for (int i = 0; i < 2; ++i) {
    total[i] += __shfl_xor_sync(kAll, total[i], 1);
    total[i] += __shfl_xor_sync(kAll, total[i], 2);
    const int position = blockIdx.x * kTile + query + lane / 4 + 8 * i;
    if (position >= s.n) continue;
    const long long at = partial.row(s, split, batch, position);
    if (lane % 4 == 0) {
      partial.tops[at] = highest[i];
      partial.totals[at] = total[i];
    }
#pragma unroll
    for (int tile = 0; tile < kChannels / 8; ++tile)
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int channel = tile * 8 + lane % 4 * 2 + j;
        if (channel < s.d) partial.sums[at * s.d + channel] = sums[tile][2 * i + j];
      }
  }
}

}  // namespace sccm_attention
