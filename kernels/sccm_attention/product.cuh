// Tiles of matrix products in float32, by fused multiply-adds: what every GPU does, and exactly.
#pragma once

#include "sccm_attention/shape.cuh"

namespace sccm_attention {

constexpr int kThreads = 256;  // 16 x 16, each with 4 x 4 of a tile
constexpr int kDepth = 16;
constexpr int kPitch = kTile + 4;

using Panel = float[kDepth][kPitch];  // [k, column]

// A matrix [k, column] somewhere in global memory; zeros beyond its ends.
template <class T>
struct Operand {
  const T* data;
  long long k_stride, column_stride;
  int k_end, column_end;

  // Bring `kDepth` rows and `kTile` columns to shared memory. Neighbouring threads read neighbouring numbers.
  __device__ __forceinline__ void fetch(Panel& panel, int k, int column) const {
    for (int i = threadIdx.x; i < kDepth * kTile; i += kThreads) {
      const int down = column_stride == 1 ? i / kTile : i % kDepth, right = column_stride == 1 ? i % kTile : i / kDepth;
      const bool inside = k + down < k_end && column + right < column_end;
      panel[down][right] = inside ? widen(data[(k + down) * k_stride + (column + right) * column_stride]) : 0;
    }
  }
};

// sums[i][j] += sum over k of a[k][4 row + i] b[k][4 column + j], for the thread's row and column among 16 x 16.
__device__ __forceinline__ void multiply(float (&sums)[4][4], const Panel& a, const Panel& b) {
  const int row = threadIdx.x / 16 * 4, column = threadIdx.x % 16 * 4;
#pragma unroll
  for (int k = 0; k < kDepth; ++k)
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) sums[i][j] += a[k][row + i] * b[k][column + j];
}

// The tile at [row, column] of the product over k_begin <= k < k_end.
template <class A, class B>
__device__ __forceinline__ void product(float (&sums)[4][4], const Operand<A>& a, const Operand<B>& b, int row,
                                        int column, int k_begin, int k_end, Panel& panel_a, Panel& panel_b) {
  for (int k = k_begin; k < k_end; k += kDepth) {
    __syncthreads();  // the panels may still be read
    a.fetch(panel_a, k, row);
    b.fetch(panel_b, k, column);
    __syncthreads();
    multiply(sums, panel_a, panel_b);
  }
}

}  // namespace sccm_attention
