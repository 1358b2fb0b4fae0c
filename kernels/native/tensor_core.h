// What a kernel needs of tensor cores, and of copies into shared memory that run beside them: PTX for compute
// capability 8.0 and newer, and the same on the CPU, in the layouts that PTX documents.
//
// A fragment is spread over the lanes of a warp, two numbers of 16 bits to a register. With group = lane / 4 and
// pair = 2 (lane % 4), lane holds of an 8 x 8 matrix the elements [group, pair] and [group, pair + 1].
#pragma once

#include "native/cuda.h"

#if defined(__CUDACC__)

#include <initializer_list>

// Whether this was compiled for any architecture that has them as we want them: newer devices run older code, too.
constexpr bool compiled_with_tensor_cores() {
  for (const int architecture : {__CUDA_ARCH_LIST__})
    if (architecture >= 800) return true;
  return false;
}

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define ASM_80(...) __trap()  // the launcher does not come here
#else
#define ASM_80(...) asm volatile(__VA_ARGS__)
#endif

__device__ __forceinline__ unsigned shared_address(const void* pointer) {
  return static_cast<unsigned>(__cvta_generic_to_shared(pointer));
}

// Four 8 x 8 matrices; lane i names row i % 8 of matrix i / 8, 16 bytes aligned to 16.
__device__ __forceinline__ void load_matrices(unsigned (&matrices)[4], const void* row) {
  ASM_80("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(matrices[0]), "=r"(matrices[1]),
         "=r"(matrices[2]), "=r"(matrices[3]) : "r"(shared_address(row)) : "memory");
}
// The same, each matrix transposed on its way.
__device__ __forceinline__ void load_transposed(unsigned (&matrices)[4], const void* row) {
  ASM_80("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(matrices[0]),
         "=r"(matrices[1]), "=r"(matrices[2]), "=r"(matrices[3]) : "r"(shared_address(row)) : "memory");
}

// sums [16, 8] += a [16, 16] b [16, 8]. Of `a` the registers hold the quarters [rows 0-7, columns 0-7], [8-15, 0-7],
// [0-7, 8-15], [8-15, 8-15]; of b, transposed, rows 0-7 and 8-15; of the sums [group, pair], [group, pair + 1],
// [group + 8, pair], [group + 8, pair + 1].
__device__ __forceinline__ void multiply_add(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                                             __half) {
  ASM_80(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};" : "+f"(sums[0]),
      "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void multiply_add(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                                             __nv_bfloat16) {
  ASM_80(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};" : "+f"(sums[0]),
      "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ unsigned packed(float low, float high, __half) {
  const __half2 both = __floats2half2_rn(low, high);
  return *reinterpret_cast<const unsigned*>(&both);
}
__device__ __forceinline__ unsigned packed(float low, float high, __nv_bfloat16) {
  const __nv_bfloat162 both = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const unsigned*>(&both);
}

// Begin to copy 16 bytes, aligned to 16, to shared memory; zeros where `inside` is false, and nothing is read then.
__device__ __forceinline__ void copy_async(void* target, const void* source, bool inside) {
  ASM_80("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(target)), "l"(source),
         "r"(inside ? 16 : 0) : "memory");
}
// Wait for this thread's own copies; those of other threads are here after a barrier.
__device__ __forceinline__ void copies_arrived() { ASM_80("cp.async.wait_all;" :: : "memory"); }

#else

constexpr bool compiled_with_tensor_cores() { return true; }

namespace cuda_on_cpu {

template <class T>
float element(unsigned packed, unsigned which) {
  return widen(T{std::uint16_t(packed >> 16 * which)});
}

inline void load_matrices(unsigned (&matrices)[4], const void* row, bool transposed, Site site) {
  const auto rows = block->exchange(~0u, row, site);
  const unsigned group = block->lane() / 4, pair = block->lane() % 4 * 2;
  for (unsigned i = 0; i < 4; ++i) {
    const auto at = [&](unsigned r, unsigned column) -> unsigned {
      return static_cast<const std::uint16_t*>(rows(8 * i + r))[column];
    };
    matrices[i] =
        transposed ? at(pair, group) | at(pair + 1, group) << 16 : at(group, pair) | at(group, pair + 1) << 16;
  }
}

}  // namespace cuda_on_cpu

inline void load_matrices(unsigned (&matrices)[4], const void* row,
                          cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  cuda_on_cpu::load_matrices(matrices, row, false, site);
}
inline void load_transposed(unsigned (&matrices)[4], const void* row,
                            cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  cuda_on_cpu::load_matrices(matrices, row, true, site);
}

template <class T>
void multiply_add(float (&sums)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, T,
                  cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  struct Fragments {
    unsigned a[4], b[2];
  };
  const auto shown = cuda_on_cpu::block->exchange(~0u, Fragments{{a[0], a[1], a[2], a[3]}, {b0, b1}}, site);
  const unsigned group = cuda_on_cpu::block->lane() / 4, pair = cuda_on_cpu::block->lane() % 4 * 2;
  for (unsigned k = 0; k < 16; ++k) {
    const unsigned from = k % 8 / 2, half = k / 8, which = k % 2;  // who holds column k of `a` and row k of b
    const Fragments rows = shown(4 * group + from);
    for (unsigned j = 0; j < 2; ++j) {
      const float b = cuda_on_cpu::element<T>(shown(4 * (pair + j) + from).b[half], which);
      sums[j] += cuda_on_cpu::element<T>(rows.a[2 * half], which) * b;
      sums[2 + j] += cuda_on_cpu::element<T>(rows.a[2 * half + 1], which) * b;
    }
  }
}

template <class T>
unsigned packed(float low, float high, T) {
  return narrow<T>(low).bits | unsigned(narrow<T>(high).bits) << 16;
}

inline void copy_async(void* target, const void* source, bool inside,
                       cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  if ((reinterpret_cast<std::uintptr_t>(target) | reinterpret_cast<std::uintptr_t>(source)) & 15)
    cuda_on_cpu::block->fail("an asynchronous copy is not aligned to 16 bytes", site);
  std::memset(target, cuda_on_cpu::kPoison, 16);
  cuda_on_cpu::block->self().copies.push_back({target, inside ? source : nullptr});
}
inline void copies_arrived(cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  if (cuda_on_cpu::left_out(site)) return;
  auto& copies = cuda_on_cpu::block->self().copies;
  for (const auto& copy : copies) {
    if (copy.source) {
      std::memcpy(copy.target, copy.source, 16);
    } else {
      std::memset(copy.target, 0, 16);
    }
  }
  copies.clear();
}

#endif
