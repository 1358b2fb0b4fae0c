// ZPool2D on the GPU: the launcher. The kernels are in zpool2d.cuh.
#include "zpool2d/zpool2d.cuh"
#include "zpool2d/zpool2d_cuda.h"

namespace {

template <class T>
cudaError_t run(const ZPool2DCuda& p, Moments* parts, cudaStream_t stream) {
  const long long size = p.h * p.w;
  const long long length = part_length(size);
  const T* x = static_cast<const T*>(p.x);
  auto status = launch(statistics<T>, dim3(unsigned(p.n * p.c * kParts)), dim3(kStatisticsThreads), 0, stream, x, size,
                       length, parts);
  for (int first = 0; status == cudaSuccess && (first == 0 || first < p.window_count); first += kWindows) {
    const Pass pass = plan(p, first, sizeof(Eight<T>));
    const size_t shared = kPrefixBytes + pass.ring * kWarp * sizeof(Eight<T>);
    status = launch(zscores<T>, dim3(unsigned(pass.planes * pass.strips * pass.segments)), dim3(kWarp), shared, stream,
                    pass, x, p.min_std, static_cast<const Moments*>(parts), static_cast<T*>(p.z));
  }
  return status;
}

bool is_empty(const ZPool2DCuda& p) { return p.n == 0 || p.c == 0 || p.h == 0 || p.w == 0; }

}  // namespace

extern "C" const char* zpool2d_reason_against(const ZPool2DCuda* p) {
  if (p->n < 0 || p->c < 0 || p->h < 0 || p->w < 0) return "a size is below 0";
  if (p->dtype < kFloat32 || p->dtype > kBfloat16) return "dtype is not 0, 1 or 2";
  if (p->window_count < 0 || p->window_count > kZPool2DMaxWindows) return "there are not 0 to 8 windows";
  for (int k = 0; k < p->window_count; ++k) {
    if (p->windows[k] < 1 || p->windows[k] % 2 == 0) return "a window is even or below 1 px";
    if (p->windows[k] > kZPool2DMaxWindow && p->w > kZPool2DMaxWindow / 2) return "a window is wider than 225 px";
  }
  if (p->h >= kMaxSide || p->w >= kMaxSide) return "a side is 2^27 px or more";
  if (is_empty(*p)) return nullptr;
  constexpr double kBlocks = 2147483647;  // of a grid
  if (double(p->n) * double(p->c) * kParts > kBlocks) return "there are too many planes for a grid";
  for (int first = 0; first == 0 || first < p->window_count; first += kWindows) {
    const Pass pass = plan(*p, first, sizeof(Eight<float>));
    if (double(pass.planes) * pass.strips * pass.segments > kBlocks) return "there are too many strips for a grid";
  }
  return nullptr;
}

extern "C" size_t zpool2d_workspace_bytes(const ZPool2DCuda* p) {
  return size_t(p->n * p->c) * kParts * sizeof(Moments);
}

extern "C" int zpool2d_launch(const ZPool2DCuda* p, void* workspace, void* stream) {
  if (zpool2d_reason_against(p)) return cudaErrorInvalidValue;
  if (is_empty(*p)) return cudaSuccess;
  Moments* const parts = static_cast<Moments*>(workspace);
  const auto on = static_cast<cudaStream_t>(stream);
  if (p->dtype == kFloat16) return run<__half>(*p, parts, on);
  if (p->dtype == kBfloat16) return run<__nv_bfloat16>(*p, parts, on);
  return run<float>(*p, parts, on);
}
