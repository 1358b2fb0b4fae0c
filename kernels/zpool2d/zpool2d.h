// The launcher of ZPool2D on the CPU: plain pointers and numbers, no framework. Every shell includes this and no more.
// The meaning is reference.py's.
#pragma once

#include <cstdint>

#include "native/dtypes.h"
#include "native/status.h"

namespace zpool2d {

inline constexpr int kMaxWindows = 8;

// Arrays are dense, in C order.
struct Params {
  const void* x;             // dtype [n, c, h, w]
  const float* min_std;      // [c]
  void* z;                   // dtype [n, window_count + 1, c, h, w]; overlaps neither input
  DType dtype;               // what is not float32 is computed in it
  std::int64_t n, c, h, w;   // n, c of 0: nothing to do
  int windows[kMaxWindows];  // px, odd; may be larger than the frame
  int window_count;          // 0 to kMaxWindows
  bool magnitude;
};

// What is wrong with the numbers in `p`; the pointers are not looked at.
Status check(const Params& p);

namespace cpu {

// Number of independent pieces of work: planes [h, w] of x.
std::int64_t piece_count(const Params& p);

// Do one piece of checked `p`; different pieces may be done at the same time. Borrows 8 (w + 1) bytes for every row
// of the largest window that fits the frame.
Status run_piece(const Params& p, std::int64_t piece);

// Check `p` and do all pieces in at most `threads` threads; 0: as many as the process has CPUs.
//
// The answer is the same to the last bit for any number of threads and on any CPU of an architecture. A plane that
// holds a NaN or an infinity is NaN throughout, and so is one whose floor is a NaN: their deviation is not a number.
Status run(const Params& p, int threads);

}  // namespace cpu
}  // namespace zpool2d
