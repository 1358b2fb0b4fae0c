// The launcher of ZPool2D on a GPU: plain pointers and numbers, no framework, no CUDA header. reference.py says what
// it computes. Written so that a shell in C++ and one in ctypes call the same three functions.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

enum { kZPool2DMaxWindows = 8, kZPool2DMaxWindow = 225 };

// Arrays lie on the current device, dense and in C order; `z` overlaps neither input.
struct ZPool2DCuda {
  const void* x;                    // [n, c, h, w] of dtype
  const float* min_std;             // [c]
  void* z;                          // [n, window_count + 1, c, h, w] of dtype
  std::int64_t n, c, h, w;          // 0 is allowed: nothing is written
  int dtype;                        // 0 float32, 1 float16, 2 bfloat16; sums are float32 in any case
  int windows[kZPool2DMaxWindows];  // px, odd; wider than 225 px only where the frame is not
  int window_count;                 // 0 to 8; up to 4 take one pass over x beside that for its statistics
  int magnitude;                    // 0 or 1
};

// What is wrong with the numbers in `p`, whose pointers nobody looks at; null if nothing is.
const char* zpool2d_reason_against(const ZPool2DCuda* p);

// Bytes of device memory that zpool2d_launch needs, aligned to 16.
std::size_t zpool2d_workspace_bytes(const ZPool2DCuda* p);

// Put the work on `stream`, a cudaStream_t. Answers with a cudaError_t; 1 (invalid value) for what there is a reason
// against. The same input gives the same bits every time.
[[nodiscard]] int zpool2d_launch(const ZPool2DCuda* p, void* workspace, void* stream);
}
