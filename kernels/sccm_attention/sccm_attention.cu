// SCCM attention on the GPU.
//
// spatial: attention without scaling, whose N x N logits are never stored. A block takes 64 queries and a range of the
// keys, goes through these a tile at a time, and keeps for every query the largest logit so far, the sum of weights
// relative to it, and the weighted sum of values; a last kernel brings the ranges together. channel: two matrix
// products with a softmax of d x d logits between them.
//
// Products run on tensor cores where float16 or bfloat16 meets compute capability 8.0 or newer (and rows of 16 bytes,
// and at most 288 channels), and as float32 fused multiply-adds otherwise. No GPU has run either yet: the tests run
// both on the CPU, the tensor cores' instructions as PTX documents them.
#include "sccm_attention/channel.cuh"
#include "sccm_attention/sccm_attention_cuda.h"
#include "sccm_attention/spatial.cuh"
#include "sccm_attention/spatial_on_tensor_cores.cuh"

namespace sccm_attention {
namespace {

// The launcher takes tensor cores for rows of whole 16 bytes alone.
constexpr bool kAnyRows = false;

template <class T>
__global__ void __launch_bounds__(kThreads, 1)  // without the 1 some compilers spill to make room for a second block
    spatial(Shape s, const T* __restrict__ theta, const T* __restrict__ phi, const T* __restrict__ g, Partial partial) {
  attend(s, theta, phi, g, partial);
}
template <class T, int kChannels>
__global__ void __launch_bounds__(kTensorThreads)
    spatial_on_tensor_cores(Shape s, const T* __restrict__ theta, const T* __restrict__ phi, const T* __restrict__ g,
                            Partial partial) {
  attend_on_tensor_cores<kChannels, kAnyRows>(s, theta, phi, g, partial);
}
template <class T>
__global__ void __launch_bounds__(kMergeThreads) merge(Shape s, Partial partial, T* __restrict__ spatial) {
  merge_ranges(s, partial, spatial);
}

template <class T>
__global__ void __launch_bounds__(kThreads)
    channel_logits(Shape s, const T* __restrict__ theta, const T* __restrict__ phi, float* __restrict__ logits) {
  logits_of_part(s, theta, phi, logits);
}
template <class T>
__global__ void __launch_bounds__(kTensorThreads)
    channel_logits_on_tensor_cores(Shape s, const T* __restrict__ theta, const T* __restrict__ phi,
                                   float* __restrict__ logits) {
  logits_of_part_on_tensor_cores<kAnyRows>(s, theta, phi, logits);
}
template <class W>
__global__ void __launch_bounds__(kWarp)
    channel_softmax(Shape s, const float* __restrict__ logits, W* __restrict__ weights) {
  weights_of_row(s, logits, weights);
}
template <class T>
__global__ void __launch_bounds__(kThreads)
    channel_product(Shape s, const T* __restrict__ g, const float* __restrict__ weights, T* __restrict__ channel) {
  weighted_values(s, g, weights, channel);
}
template <class T>
__global__ void __launch_bounds__(kTensorThreads)
    channel_product_on_tensor_cores(Shape s, const T* __restrict__ g, const T* __restrict__ weights,
                                    T* __restrict__ channel) {
  weighted_values_on_tensor_cores<kAnyRows>(s, g, weights, channel);
}

// ---- the launcher ----

constexpr int kFewestKeys = 128;
constexpr int kMostBlocks = 512;  // beyond these no more ranges are made: two for each of 256 multiprocessors

// Enough ranges of the keys for two blocks on every multiprocessor, but none that is hardly worth its start.
Shape plan(const SCCMAttentionCuda& p, const Device& device) {
  Shape s = {};
  s.b = int(p.b);
  s.d = int(p.d);
  s.n = int(p.n);
  const long long blocks = p.b * ceil_div(p.n, kTile);
  const long long wanted = min(2 * device.multiprocessors, kMostBlocks) / blocks, most = ceil_div(p.n, kFewestKeys);
  const int splits = int(wanted < 1 ? 1 : wanted < most ? wanted : most);
  s.range = ceil_div(ceil_div(p.n, splits), kTile) * kTile;
  s.splits = ceil_div(p.n, s.range);
  s.pitch = ceil_div(p.d, 8) * 8;
  s.length = kPositions;
  s.parts = ceil_div(p.n, s.length);
  return s;
}

struct Workspace {
  Partial partial;
  float* logits;   // [parts, b, d, d], of the channels
  float* weights;  // [b, d, pitch], as float or narrower
  size_t bytes;

  Workspace(const Shape& s, void* memory) : Workspace(s, size_t(s.splits) * s.b * s.n, memory) {}

  // With room for the rows of all ranges together.
  Workspace(const Shape& s, size_t rows, void* memory) {
    size_t used = 0;
    const auto take = [&](size_t count) {
      float* const piece = reinterpret_cast<float*>(static_cast<char*>(memory) + used * sizeof(float));
      used += (count + 3) / 4 * 4;
      return piece;
    };
    partial = {take(rows * s.d), take(rows), take(rows)};
    logits = take(size_t(s.parts) * s.b * s.d * s.d);
    weights = take(size_t(s.b) * s.d * s.pitch);
    bytes = used * sizeof(float);
  }
};

size_t softmax_shared_bytes(const Shape& s) { return size_t(s.d) * sizeof(float); }

bool is_empty(const SCCMAttentionCuda& p) { return p.b == 0 || p.d == 0 || p.n == 0; }

// The arrays of one launch, in the type they are in.
template <class T>
struct Arrays {
  const T *theta, *phi, *g;
  T *spatial, *channel;
};

template <class T>
cudaError_t with_float32_products(const Arrays<T>& arrays, const Shape& s, const Workspace& workspace,
                                  cudaStream_t stream) {
  const int tiles = ceil_div(s.d, kTile), rows = ceil_div(s.n, kTile), groups = ceil_div(tiles, kValueTiles);
  auto status = launch(spatial<T>, dim3(rows, s.splits, s.b * groups), dim3(kThreads), 0, stream, s, arrays.theta,
                       arrays.phi, arrays.g, workspace.partial);
  if (status == cudaSuccess)
    status = launch(channel_logits<T>, dim3(tiles * tiles, s.parts, s.b), dim3(kThreads), 0, stream, s, arrays.theta,
                    arrays.phi, workspace.logits);
  if (status == cudaSuccess)
    status = launch(channel_softmax<float>, dim3(s.b * s.d), dim3(kWarp), softmax_shared_bytes(s), stream, s,
                    static_cast<const float*>(workspace.logits), workspace.weights);
  if (status == cudaSuccess)
    status = launch(channel_product<T>, dim3(rows, tiles, s.b), dim3(kThreads), 0, stream, s, arrays.g,
                    static_cast<const float*>(workspace.weights), arrays.channel);
  return status;
}

template <class T>
cudaError_t on_tensor_cores(const Arrays<T>& arrays, const Shape& s, const Workspace& workspace, cudaStream_t stream) {
  const int tiles = ceil_div(s.d, kTile), rows = ceil_div(s.n, kTile);
  T* const weights = reinterpret_cast<T*>(workspace.weights);
  auto status =
      launch(s.d <= kFewChannels ? spatial_on_tensor_cores<T, kFewChannels> : spatial_on_tensor_cores<T, kManyChannels>,
             dim3(rows, s.splits, s.b), dim3(kTensorThreads), tensor_shared_bytes(s.d), stream, s, arrays.theta,
             arrays.phi, arrays.g, workspace.partial);
  if (status == cudaSuccess)
    status = launch(channel_logits_on_tensor_cores<T>, dim3(tiles * tiles, s.parts, s.b), dim3(kTensorThreads), 0,
                    stream, s, arrays.theta, arrays.phi, workspace.logits);
  if (status == cudaSuccess)
    status = launch(channel_softmax<T>, dim3(s.b * s.d), dim3(kWarp), softmax_shared_bytes(s), stream, s,
                    static_cast<const float*>(workspace.logits), weights);
  if (status == cudaSuccess)
    status = launch(channel_product_on_tensor_cores<T>, dim3(rows, tiles, s.b), dim3(kTensorThreads), 0, stream, s,
                    arrays.g, static_cast<const T*>(weights), arrays.channel);
  return status;
}

// The rule in the head of this file.
bool tensor_cores_take(const SCCMAttentionCuda& p, const Device& device) {
  const size_t addresses =
      reinterpret_cast<size_t>(p.theta) | reinterpret_cast<size_t>(p.phi) | reinterpret_cast<size_t>(p.g);
  return compiled_with_tensor_cores() && p.dtype != kFloat32 && device.capability >= 80 && p.n % 8 == 0 &&
         addresses % 16 == 0 && p.d <= kManyChannels && tensor_shared_bytes(int(p.d)) <= size_t(device.shared_limit);
}

cudaError_t products(const Arrays<float>& arrays, const Shape& s, const Workspace& workspace, cudaStream_t stream,
                     bool) {
  return with_float32_products(arrays, s, workspace, stream);
}
template <class T>
cudaError_t products(const Arrays<T>& arrays, const Shape& s, const Workspace& workspace, cudaStream_t stream,
                     bool tensor_cores) {
  return tensor_cores ? on_tensor_cores(arrays, s, workspace, stream)
                      : with_float32_products(arrays, s, workspace, stream);
}

template <class T>
cudaError_t run(const SCCMAttentionCuda& p, void* memory, const Device& device, cudaStream_t stream) {
  const Shape s = plan(p, device);
  const Workspace workspace(s, memory);
  const Arrays<T> arrays = {static_cast<const T*>(p.theta), static_cast<const T*>(p.phi), static_cast<const T*>(p.g),
                            static_cast<T*>(p.spatial), static_cast<T*>(p.channel)};
  const auto status = products(arrays, s, workspace, stream, tensor_cores_take(p, device));
  if (status != cudaSuccess) return status;
  return launch(merge<T>, dim3(ceil_div(p.b * p.n * p.d, kMergeThreads)), dim3(kMergeThreads), 0, stream, s,
                workspace.partial, arrays.spatial);
}

}  // namespace
}  // namespace sccm_attention

using namespace sccm_attention;

extern "C" const char* sccm_attention_reason_against(const SCCMAttentionCuda* p) {
  if (p->b < 0 || p->d < 0 || p->n < 0) return "a size is below 0";
  if (p->dtype < kFloat32 || p->dtype > kBfloat16) return "dtype is not 0, 1 or 2";
  if (p->b > 8192) return "the batch is above 8192";
  if (p->d > 2048) return "there are more than 2048 channels";
  if (p->n > 1 << 24) return "there are more than 2^24 positions";
  if (p->b * p->d * p->n > 1ll << 38) return "there are more than 2^38 numbers for a grid";
  return nullptr;
}

extern "C" size_t sccm_attention_workspace_bytes(const SCCMAttentionCuda* p) {
  Device device;
  if (is_empty(*p) || current_device(&device) != cudaSuccess) return 0;
  return Workspace(plan(*p, device), nullptr).bytes;
}

extern "C" size_t sccm_attention_workspace_bytes_up_to(const SCCMAttentionCuda* p) {
  if (is_empty(*p)) return 0;
  const Shape s = plan(*p, Device{});
  const size_t blocks = size_t(s.b) * ceil_div(s.n, kTile);
  const size_t rows = kTile * (blocks < kMostBlocks ? kMostBlocks : blocks);
  const size_t most = size_t(s.b) * s.n * ceil_div(s.n, kFewestKeys);
  return Workspace(s, rows < most ? rows : most, nullptr).bytes;
}

extern "C" int sccm_attention_launch(const SCCMAttentionCuda* p, void* workspace, void* stream) {
  if (sccm_attention_reason_against(p)) return cudaErrorInvalidValue;
  if (is_empty(*p)) return cudaSuccess;
  Device device;
  const cudaError_t status = current_device(&device);
  if (status != cudaSuccess) return status;
  const auto on = static_cast<cudaStream_t>(stream);
  if (p->dtype == kFloat16) return run<__half>(*p, workspace, device, on);
  if (p->dtype == kBfloat16) return run<__nv_bfloat16>(*p, workspace, device, on);
  return run<float>(*p, workspace, device, on);
}
