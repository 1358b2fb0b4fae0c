// The kernels of ZPool2D on the GPU: one pass over x for its statistics, one for all z-scores.
//
// The second pass works in strips: a warp walks down 256 columns, 8 to a lane. Every lane keeps, for each window and
// each of its columns, the sum over the window's rows: a row arrives below, one leaves above. The sum over the
// window's columns is a difference of two prefix sums along the strip. Sums are of x minus the frame's mean and start
// anew in every strip, so they stay small: a float32 integral image of a whole frame is too long a sum.
//
// No GPU has run this yet: the tests run it on the CPU. Sizes of strips and segments are reasoned, not measured.
#pragma once

#include "native/cuda.h"
#include "zpool2d/zpool2d_cuda.h"

namespace {

constexpr unsigned kAll = 0xffffffff;
constexpr int kWarp = 32;
constexpr int kLane = 8;               // columns of a lane
constexpr int kStrip = kWarp * kLane;  // columns of a strip, halo included
constexpr int kWarpsAtOnce = 16;       // on a multiprocessor, so that half of its registers serve for latency
constexpr int kWindows = 4;            // windows of one pass
constexpr int kMaxSide = 1 << 27;      // px: a pass counts in int, and up to eight times what a window reaches
constexpr int kParts = kWarp;          // parts of a plane whose statistics are taken apart, one for a lane to merge
constexpr int kStatisticsThreads = 256;
constexpr int kPrefix = 9 * kWarp + 1;  // prefix sums of a strip: 8 to a lane, one place of padding against conflicts
constexpr size_t kPrefixBytes = (2 * kPrefix * sizeof(float) + 15) / 16 * 16;
constexpr size_t kSharedBytes = 48 << 10;  // what every GPU gives a block

// ---- eight neighbouring pixels ----

template <class T>
struct alignas(16) Eight {
  T value[kLane];
};

__device__ __forceinline__ bool aligned(const void* pointer) { return (reinterpret_cast<size_t>(pointer) & 15) == 0; }

// Pixels `column` to `column + 7` of a row of `w`; `pad` where there is none.
template <class T>
__device__ __forceinline__ Eight<T> load(const T* row, int column, int w, T pad) {
  Eight<T> result;
  if (column >= 0 && column + kLane <= w && aligned(row + column)) {
    const uint4* from = reinterpret_cast<const uint4*>(row + column);
    uint4* to = reinterpret_cast<uint4*>(&result);
#pragma unroll
    for (int i = 0; i < int(sizeof(result) / sizeof(uint4)); ++i) to[i] = __ldg(from + i);
  } else {
#pragma unroll
    for (int i = 0; i < kLane; ++i) result.value[i] = column + i >= 0 && column + i < w ? row[column + i] : pad;
  }
  return result;
}

// Written once and not read again here: __stcs leaves the caches to x.
template <class T>
__device__ __forceinline__ void store(T* row, int column, int w, const Eight<T>& pixels) {
  if (column + kLane <= w && aligned(row + column)) {
    const uint4* from = reinterpret_cast<const uint4*>(&pixels);
    uint4* to = reinterpret_cast<uint4*>(row + column);
#pragma unroll
    for (int i = 0; i < int(sizeof(pixels) / sizeof(uint4)); ++i) __stcs(to + i, from[i]);
  } else {
#pragma unroll
    for (int i = 0; i < kLane; ++i)
      if (column + i < w) row[column + i] = pixels.value[i];
  }
}

// ---- statistics ----

// Of some pixels: how many, their mean, and the sum of squared distances from it.
struct Moments {
  float count, mean, squares;
};

// Of two sets together (Chan, Golub, LeVeque, 1979): no difference of large numbers.
__device__ __forceinline__ Moments merged(Moments a, Moments b) {
  const float count = a.count + b.count;
  const float share = count > 0 ? b.count / count : 0;
  const float step = b.mean - a.mean;
  return {count, a.mean + step * share, a.squares + b.squares + step * step * a.count * share};
}

// Of all lanes together, in lane 0; always merged in the same order.
__device__ __forceinline__ Moments merged_in_warp(Moments own) {
#pragma unroll
  for (int by = kWarp / 2; by > 0; by /= 2)
    own = merged(own, {__shfl_down_sync(kAll, own.count, by), __shfl_down_sync(kAll, own.mean, by),
                       __shfl_down_sync(kAll, own.squares, by)});
  return own;
}

template <class T>
__device__ __forceinline__ Moments moments(const Eight<T>& pixels, int count) {
  float sum = 0, squares = 0;
#pragma unroll
  for (int i = 0; i < kLane; ++i) sum += i < count ? widen(pixels.value[i]) : 0;
  const float mean = sum / count;
#pragma unroll
  for (int i = 0; i < kLane; ++i) {
    const float distance = i < count ? widen(pixels.value[i]) - mean : 0;
    squares += distance * distance;
  }
  return {float(count), mean, squares};
}

// Pixels in each part of a plane of `size`.
__host__ __device__ __forceinline__ long long part_length(long long size) {
  return ((size + kParts - 1) / kParts + kLane - 1) / kLane * kLane;
}

// parts[plane, part]: the moments of `length` pixels, fewer at the plane's end.
template <class T>
__device__ __forceinline__ void part_moments(const T* __restrict__ x, long long size, long long length,
                                             Moments* __restrict__ parts) {
  using OfWarps = Moments[kStatisticsThreads / kWarp];
  STATIC_SHARED(OfWarps, of_warps);
  const T* plane = x + blockIdx.x / kParts * size;
  const long long begin = blockIdx.x % kParts * length;
  const long long end = begin + length < size ? begin + length : size;
  Moments own = {0, 0, 0};
#pragma unroll 4
  for (long long i = begin + threadIdx.x * kLane; i < end; i += kStatisticsThreads * kLane) {
    const int count = end - i < kLane ? int(end - i) : kLane;
    own = merged(own, moments(load(plane + i, 0, count, narrow<T>(0)), count));
  }
  own = merged_in_warp(own);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = own;
  __syncthreads();
  if (threadIdx.x != 0) return;
  for (int i = 1; i < kStatisticsThreads / kWarp; ++i) own = merged(own, of_warps[i]);
  parts[blockIdx.x] = own;
}

template <class T>
__global__ void __launch_bounds__(kStatisticsThreads)
    statistics(const T* __restrict__ x, long long size, long long length, Moments* __restrict__ parts) {
  part_moments(x, size, length, parts);
}

// ---- z-scores ----

// One pass over x: up to four windows and, in the first pass, the frame.
struct Pass {
  long long planes, c;
  int h, w;
  int slices, first_slice;                 // of z; the first this pass writes
  int windows;                             // how many
  int half_h[kWindows], half_w[kWindows];  // px on either side of a pixel, no more than the frame has
  int reach;                               // the largest half_h
  int halo;                                // columns on either side of a strip that it only reads; a multiple of 8
  int strips, segments, rows;              // a block does `rows` rows of one strip
  int ring;                                // rows kept in shared memory, a power of two; 0: read them again
  bool frame, magnitude;
};

template <class T>
struct Strip {
  const T* plane;
  int w, column;
  T pad;
  Eight<T>* ring;
  int mask;

  // This lane's pixels of a row: what it kept itself, so that no other lane has to be waited for.
  __device__ __forceinline__ Eight<T> row(int index) const {
    if (ring) return ring[(index & mask) * kWarp + threadIdx.x];
    return load(plane + (long long)index * w, column, w, pad);
  }

  // sums += sign * (row - pad)
  __device__ __forceinline__ void add(float (&sums)[kLane], int index, float sign) const {
    const Eight<T> pixels = row(index);
#pragma unroll
    for (int i = 0; i < kLane; ++i) sums[i] += sign * (widen(pixels.value[i]) - widen(pad));
  }
};

// Where the sum over the columns before a lane's column `offset` stands, which may be another lane's.
__device__ __forceinline__ int place(int lane, int offset) { return 9 * lane + offset + (offset >> 3); }

// What is cheap is computed anew in every row: keeping it would take the registers of a whole warp.
__device__ __forceinline__ int again(int value) {
  asm volatile("" : "+r"(value));
  return value;
}

// Sums over the columns before each column of the strip, left in `prefix`.
__device__ __forceinline__ void scan(const float (&sums)[kLane], float* prefix) {
  const int lane = threadIdx.x;
  float before[kLane + 1] = {0};
#pragma unroll
  for (int i = 0; i < kLane; ++i) before[i + 1] = before[i] + sums[i];
  float through = before[kLane];
#pragma unroll
  for (int by = 1; by < kWarp; by *= 2) {
    const float left = __shfl_up_sync(kAll, through, by);
    if (lane >= by) through += left;
  }
  const float left = __shfl_up_sync(kAll, through, 1);
  const float start = lane > 0 ? left : 0;
#pragma unroll
  for (int i = 0; i < kLane; ++i) prefix[place(lane, i)] = start + before[i];
  if (lane == kWarp - 1) prefix[kPrefix - 1] = through;
  __syncwarp();
}

template <class T, class Floor>
__device__ __forceinline__ void scores_of_strip(const Pass& p, const T* __restrict__ x,
                                                const Floor* __restrict__ min_std, const Moments* __restrict__ parts,
                                                T* __restrict__ z) {
  DYNAMIC_SHARED(unsigned char, shared);
  const int lane = threadIdx.x;
  const int pieces = p.strips * p.segments;
  // The statistics were taken from the first plane to the last: the last ones may still be in the cache.
  const long long plane = p.planes - 1 - blockIdx.x / pieces;
  const int piece = blockIdx.x % pieces;
  const int begin = piece / p.strips * p.rows;
  const int end = min(begin + p.rows, p.h);
  const int left = piece % p.strips * (kStrip - 2 * p.halo) - p.halo, column = left + lane * kLane;
  const bool writes = lane * kLane >= p.halo && lane * kLane < kStrip - p.halo && column < p.w;

  Moments frame = merged_in_warp(parts[plane * kParts + lane]);
  const float mean = __shfl_sync(kAll, frame.mean, 0);
  const float deviation = sqrtf(__shfl_sync(kAll, frame.squares, 0) / (float(p.h) * float(p.w)));
  const float floor = widen(min_std[plane % p.c]);
  // The reference's maximum: a NaN on either side stays.
  const float scale = 1 / (deviation > floor ? deviation : floor + 0 * deviation);

  // A pixel outside counts as the mean, rounded as a pixel is: it adds exactly nothing to a sum.
  const T pad = narrow<T>(mean);
  Eight<T>* ring = p.ring ? reinterpret_cast<Eight<T>*>(shared + kPrefixBytes) : nullptr;
  const long long size = (long long)p.h * p.w;
  const Strip<T> strip = {x + plane * size, p.w, column, pad, ring, p.ring - 1};
  float* prefix = reinterpret_cast<float*>(shared);
  float* other_prefix = prefix + kPrefix;

  // From channel to slice, then to the next frame.
  const long long slice = p.c * size;
  T* const out = z + (plane / p.c * p.slices + p.first_slice) * slice + plane % p.c * size;
  T* const frame_out = out + (p.slices - 1 - p.first_slice) * slice;

  float sums[kWindows][kLane] = {};
  const int first = max(begin - p.reach, 0);
  Eight<T> next = load(strip.plane + (long long)first * p.w, column, p.w, pad);
  for (int i = begin - 2 * p.reach; i < end; ++i) {
    const int arriving = i + p.reach;
    if (ring && arriving >= first && arriving < p.h) {
      ring[(arriving & strip.mask) * kWarp + lane] = next;
      if (arriving + 1 < p.h) next = load(strip.plane + (arriving + 1ll) * p.w, column, p.w, pad);
    }
#pragma unroll
    for (int k = 0; k < kWindows; ++k) {
      if (k >= p.windows) break;
      const int top = max(begin - p.half_h[k], 0), in = i + p.half_h[k], out_of = i - p.half_h[k] - 1;
      if (in >= top && in < p.h) strip.add(sums[k], in, 1);
      if (out_of >= top) strip.add(sums[k], out_of, -1);
    }
    if (i < begin) continue;

    const Eight<T> pixels = strip.row(i);
    float middle[kLane];
#pragma unroll
    for (int j = 0; j < kLane; ++j) middle[j] = widen(pixels.value[j]) - widen(pad);
    if (p.frame && writes) {
      Eight<T> scores;
#pragma unroll
      for (int j = 0; j < kLane; ++j) {
        const float score = (middle[j] - (mean - widen(pad))) * scale;
        scores.value[j] = narrow<T>(p.magnitude ? fabsf(score) : score);
      }
      store(frame_out + (long long)i * p.w, column, p.w, scores);
    }
#pragma unroll
    for (int k = 0; k < kWindows; ++k) {
      if (k >= p.windows) break;
      scan(sums[k], prefix);
      if (writes) {
        const int half = p.half_w[k];
        const float rows = float(min(i + p.half_h[k], p.h - 1) - max(i - p.half_h[k], 0) + 1);
        const bool inside = left + p.halo >= half && left + kStrip - p.halo + half <= p.w;
        const float share_inside = 1 / (rows * float(2 * half + 1));
        Eight<T> scores;
#pragma unroll
        for (int j = 0; j < kLane; ++j) {
          const float sum = prefix[place(lane, j + half + 1)] - prefix[place(lane, j - half)];
          float share = share_inside;
          if (!inside) {
            const int here = again(column) + j;
            share = 1 / (rows * float(min(here + half + 1, p.w) - max(here - half, 0)));
          }
          const float score = (middle[j] - sum * share) * scale;
          scores.value[j] = narrow<T>(p.magnitude ? fabsf(score) : score);
        }
        store(out + k * slice + (long long)i * p.w, column, p.w, scores);
      }
      // The next scan writes the other buffer: a slow lane may still read this one.
      float* const used = prefix;
      prefix = other_prefix;
      other_prefix = used;
    }
  }
}

template <class T>
__global__ void __launch_bounds__(kWarp, kWarpsAtOnce)
    zscores(Pass p, const T* __restrict__ x, const float* __restrict__ min_std, const Moments* __restrict__ parts,
            T* __restrict__ z) {
  scores_of_strip(p, x, min_std, parts, z);
}

// ---- how much a block does ----

__host__ __device__ inline Pass plan(const ZPool2DCuda& p, int first_window, size_t pixels_bytes) {
  Pass pass = {};
  pass.planes = p.n * p.c;
  pass.c = p.c;
  pass.h = int(p.h);
  pass.w = int(p.w);
  pass.slices = p.window_count + 1;
  pass.first_slice = first_window;
  pass.windows = p.window_count - first_window < kWindows ? p.window_count - first_window : kWindows;
  int widest = 0;
#pragma unroll  // on the device no place is then computed, and the arrays are registers
  for (int k = 0; k < kWindows; ++k) {
    if (k >= pass.windows) break;
    const int half = p.windows[first_window + k] / 2;
    pass.half_h[k] = half < p.h ? half : pass.h - 1;
    pass.half_w[k] = half < p.w ? half : pass.w - 1;
    pass.reach = pass.reach > pass.half_h[k] ? pass.reach : pass.half_h[k];
    widest = widest > pass.half_w[k] ? widest : pass.half_w[k];
  }
  pass.halo = (widest + kLane - 1) / kLane * kLane;
  pass.strips = (pass.w + kStrip - 2 * pass.halo - 1) / (kStrip - 2 * pass.halo);
  // Every segment reads `reach` rows above and below it again: an eighth each way, and those from the L2 cache.
  pass.rows = 8 * pass.reach > 32 ? 8 * pass.reach : 32;
  pass.segments = (pass.h + pass.rows - 1) / pass.rows;
  pass.ring = 1;
  while (pass.ring < 2 * pass.reach + 2) pass.ring *= 2;
  if (kPrefixBytes + size_t(pass.ring) * kWarp * pixels_bytes > kSharedBytes) pass.ring = 0;
  pass.frame = first_window == 0;
  pass.magnitude = p.magnitude != 0;
  return pass;
}

}  // namespace
