// The launcher of SCCM attention on a GPU: plain pointers and numbers, no framework, no CUDA header. reference.py says
// what it computes. Written so that a shell in C++ and one in ctypes call the same three functions.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {

// Arrays lie on the current device, dense and in C order; no output overlaps another array.
struct SCCMAttentionCuda {
  const void* theta;     // [b, d, n] of dtype, as are the others
  const void* phi;       // [b, d, n]
  const void* g;         // [b, d, n]
  void* spatial;         // [b, n, d]
  void* channel;         // [b, n, d]
  std::int64_t b, d, n;  // 0 is allowed: nothing is written
  int dtype;             // 0 float32, 1 float16, 2 bfloat16; logits, softmax and sums are float32 in any case
};

// What is wrong with the numbers in `p`, whose pointers nobody looks at; null if nothing is.
const char* sccm_attention_reason_against(const SCCMAttentionCuda* p);

// Bytes of memory of the current device that sccm_attention_launch needs, aligned to 16: linear in n.
std::size_t sccm_attention_workspace_bytes(const SCCMAttentionCuda* p);

// Enough of them on any device, and for anything that is no larger in b, d and n: fewer queries may be split further.
std::size_t sccm_attention_workspace_bytes_up_to(const SCCMAttentionCuda* p);

// Put the work on `stream`, a cudaStream_t. Answers with a cudaError_t; 1 (invalid value) for what there is a reason
// against. On one kind of device the same input gives the same bits every time.
[[nodiscard]] int sccm_attention_launch(const SCCMAttentionCuda* p, void* workspace, void* stream);
}
