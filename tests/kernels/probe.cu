// Kernels that do what a kernel must not do, and some that may: cuda_on_cpu.h has to tell them apart.
#include "native/cuda.h"

namespace {

constexpr unsigned kAll = 0xffffffff;

__global__ void reverses(int* out) {
  DYNAMIC_SHARED(int, shared);
  shared[threadIdx.x] = threadIdx.x;
  __syncthreads();
  out[threadIdx.x] = shared[blockDim.x - 1 - threadIdx.x];
}
__global__ void barrier_of_some(int*) {
  if (threadIdx.x < 7) __syncthreads();
}
__global__ void barriers_in_two_places(int*) {
  if (threadIdx.x < 32) {
    __syncthreads();
  } else {
    __syncthreads();
  }
}
__global__ void lane_outside(int* out) { out[threadIdx.x] = __shfl_sync(kAll, 1, 40); }
__global__ void lane_that_left(int*) {
  if (threadIdx.x == 3) return;
  __syncwarp();
}
__global__ void lane_outside_the_mask(int*) { __syncwarp(0xffff); }
__global__ void two_barriers_at_once(int*) {
  if (threadIdx.x % 2) {
    __syncwarp();
  } else {
    __syncthreads();
  }
}
__global__ void reads_what_nobody_wrote(int* out) {
  DYNAMIC_SHARED(int, dynamic);
  STATIC_SHARED(int, fixed);
  if (threadIdx.x == 0) out[2 * blockIdx.x] = dynamic[0], out[2 * blockIdx.x + 1] = fixed;
  __syncthreads();
  dynamic[0] = fixed = 7;  // the next block must not find it
}
__global__ void order_of_threads(int* out) {
  STATIC_SHARED(int, next);
  if (threadIdx.x == 0) next = 0;
  __syncthreads();
  out[next++] = threadIdx.x;
}
__global__ void writes_beyond(int*) {
  DYNAMIC_SHARED(char, shared);
  shared[threadIdx.x + 1] = 0;
}

}  // namespace

extern "C" int probe(int which, int blocks, int threads, int shared_bytes, int* out) {
  void (*const kernels[])(int*) = {
      reverses,         barrier_of_some,       barriers_in_two_places, lane_outside,
      lane_that_left,   lane_outside_the_mask, two_barriers_at_once,   reads_what_nobody_wrote,
      order_of_threads, writes_beyond};
  return launch(kernels[which], dim3(blocks), dim3(threads), shared_bytes, cudaStream_t{}, out);
}

extern "C" void to_half(const float* from, unsigned short* to, int count) {
  for (int i = 0; i < count; ++i) to[i] = narrow<__half>(from[i]).bits;
}
extern "C" void from_half(const unsigned short* from, float* to, int count) {
  for (int i = 0; i < count; ++i) to[i] = widen(__half{from[i]});
}
extern "C" void to_bfloat16(const float* from, unsigned short* to, int count) {
  for (int i = 0; i < count; ++i) to[i] = narrow<__nv_bfloat16>(from[i]).bits;
}
extern "C" void from_bfloat16(const unsigned short* from, float* to, int count) {
  for (int i = 0; i < count; ++i) to[i] = widen(__nv_bfloat16{from[i]});
}
