// Tiles of matrix products on tensor cores: float16 and bfloat16.
#pragma once

#include "native/tensor_core.h"
#include "sccm_attention/shape.cuh"

namespace sccm_attention {

constexpr int kTensorThreads = 128;  // four warps with 16 rows of a tile each

// A place in a matrix. Of four 8 x 8 matrices that make 16 x 16, a lane names the row that starts here: the second
// matrix lies below the first if they go top first, right of it if they go left first.
struct Corner {
  int row, column;
};
__device__ __forceinline__ Corner top_first(int lane) { return {lane % 8 + lane / 8 % 2 * 8, lane / 16 * 8}; }
__device__ __forceinline__ Corner left_first(int lane) { return {lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8}; }

// A matrix in global memory, and which of its rows and columns there are. Its rows are of whole 16 bytes; with kAnyRows
// they need not be, and are brought number by number then.
template <class T, bool kAnyRows = false>
struct Source {
  const T* data;
  long long stride;
  int row_end, column_end;

  // Begin to bring rows x kColumns to shared memory, each row with 16 bytes of padding, and zeros beyond the ends.
  template <int kColumns>
  __device__ __forceinline__ void begin_fetch(T* to, int rows, Corner at) const {
    if (kAnyRows && !has_whole_pieces()) return fetch<kColumns>(to, rows, at);
    constexpr int kPieces = kColumns / 8;
    for (int i = threadIdx.x; i < rows * kPieces; i += kTensorThreads) {
      const int row = i / kPieces, column = i % kPieces * 8;
      const bool inside = at.row + row < row_end && at.column + column < column_end;
      copy_async(to + row * (kColumns + 8) + column, data + (inside ? (at.row + row) * stride + at.column + column : 0),
                 inside);
    }
  }

 private:
  __device__ __forceinline__ bool has_whole_pieces() const {
    return ((reinterpret_cast<size_t>(data) | stride * sizeof(T)) & 15) == 0;
  }

  template <int kColumns>
  __device__ __forceinline__ void fetch(T* to, int rows, Corner at) const {
    for (int i = threadIdx.x; i < rows * kColumns; i += kTensorThreads) {
      const int row = i / kColumns, column = i % kColumns;
      const bool inside = at.row + row < row_end && at.column + column < column_end;
      to[row * (kColumns + 8) + column] = inside ? data[(at.row + row) * stride + at.column + column] : narrow<T>(0.f);
    }
  }
};

constexpr int kStep = 32;                        // of k, in shared memory at once
constexpr int kPanelSize = kTile * (kStep + 8);  // [column, k]; [k, column] takes less
template <class T>
using Panels = T[2][2][kPanelSize];  // stage, operand

// The tile at [row, column] of the product over k_begin <= k < k_end, 16 rows to a warp. The operands are stored
// [k, column] if kDown, else [column, k]. While one step is multiplied the next is on its way.
template <bool kDown, class T, class A, class B>
__device__ __forceinline__ void product_on_tensor_cores(float (&sums)[kTile / 8][4], const A& a, const B& b, Corner at,
                                                        int k_begin, int k_end, Panels<T>& panels) {
  constexpr int kPitch = (kDown ? kTile : kStep) + 8;
  const int lane = threadIdx.x % kWarp, own = threadIdx.x / kWarp * 16;
  const Corner top = top_first(lane), left = left_first(lane);
  const auto begin_fetch = [&](int stage, int k) {
    if (kDown) {
      a.template begin_fetch<kTile>(panels[stage][0], kStep, {k, at.row});
      b.template begin_fetch<kTile>(panels[stage][1], kStep, {k, at.column});
    } else {
      a.template begin_fetch<kStep>(panels[stage][0], kTile, {at.row, k});
      b.template begin_fetch<kStep>(panels[stage][1], kTile, {at.column, k});
    }
  };
  begin_fetch(0, k_begin);
  int stage = 0;
  for (int k = k_begin; k < k_end; k += kStep) {
    copies_arrived();
    __syncthreads();  // this step is there, and nobody reads the one before any more
    if (k + kStep < k_end) begin_fetch(1 - stage, k + kStep);
    const T *panel_a = panels[stage][0], *panel_b = panels[stage][1];
#pragma unroll
    for (int step = 0; step < kStep; step += 16) {
      unsigned from_a[4], from_b[4];
      if (kDown) {
        load_transposed(from_a, &panel_a[(step + left.row) * kPitch + own + left.column]);
      } else {
        load_matrices(from_a, &panel_a[(own + top.row) * kPitch + step + top.column]);
      }
#pragma unroll
      for (int tile = 0; tile < kTile / 8; tile += 2) {
        if (kDown) {
          load_transposed(from_b, &panel_b[(step + top.row) * kPitch + tile * 8 + top.column]);
        } else {
          load_matrices(from_b, &panel_b[(tile * 8 + left.row) * kPitch + step + left.column]);
        }
        multiply_add(sums[tile], from_a, from_b[0], from_b[1], T());
        multiply_add(sums[tile + 1], from_a, from_b[2], from_b[3], T());
      }
    }
    stage = 1 - stage;
  }
}

// Call `put(row, column, sum)` for what this lane holds of a tile.
template <class Put>
__device__ __forceinline__ void for_each_sum(const float (&sums)[kTile / 8][4], const Put& put) {
  const int row = threadIdx.x / kWarp * 16 + threadIdx.x % kWarp / 4, column = threadIdx.x % 4 * 2;
#pragma unroll
  for (int tile = 0; tile < kTile / 8; ++tile)
#pragma unroll
    for (int i = 0; i < 4; ++i) put(row + i / 2 * 8, tile * 8 + column + i % 2, sums[tile][i]);
}

}  // namespace sccm_attention
