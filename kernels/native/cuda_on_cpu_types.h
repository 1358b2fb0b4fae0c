// The types, the arithmetic and the host calls of CUDA that our kernels use, for a compiler that knows no CUDA.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

struct dim3 {
  unsigned x, y, z;
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

// Round to nearest, ties to even, as the GPU's conversions do.
struct __half {
  std::uint16_t bits;
};
struct __nv_bfloat16 {
  std::uint16_t bits;
};

inline float __bfloat162float(__nv_bfloat16 value) {
  const std::uint32_t wide = std::uint32_t(value.bits) << 16;
  float result;
  std::memcpy(&result, &wide, sizeof result);
  return result;
}

inline __nv_bfloat16 __float2bfloat16_rn(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (std::isnan(value)) return {0x7fff};
  return {std::uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

inline float __half2float(__half value) {
  const std::uint32_t sign = std::uint32_t(value.bits & 0x8000) << 16, rest = value.bits & 0x7fff;
  std::uint32_t bits = rest << 13;
  float size;
  std::memcpy(&size, &bits, sizeof size);
  size *= 5192296858534827628530496329220096.0f;  // 2^112: the two exponents' biases apart; exact, subnormals too
  std::memcpy(&bits, &size, sizeof bits);
  if (rest >= 0x7c00) bits = 0x7f800000 | (rest & 1023) << 13;
  bits |= sign;
  std::memcpy(&size, &bits, sizeof size);
  return size;
}

inline __half __float2half_rn(float value) {
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  const std::uint16_t sign = bits >> 16 & 0x8000;
  bits &= 0x7fffffff;
  if (bits > 0x7f800000) return {0x7fff};
  if (bits >= 0x477ff000) return {std::uint16_t(sign | 0x7c00)};  // 65520 and more round to infinity
  if (bits < 0x38800000) {                                        // below 2^-14: a multiple of 2^-24
    const float size = std::fabs(value) * 16777216.0f;            // exact
    return {std::uint16_t(sign | std::uint16_t(std::nearbyint(size)))};
  }
  bits -= 112u << 23;
  return {std::uint16_t(sign | (bits + 0xfff + (bits >> 13 & 1)) >> 13)};
}

template <class T>
T __ldg(const T* pointer) {
  return *pointer;
}
template <class T>
void __stcs(T* pointer, T value) {
  *pointer = value;
}
inline float __expf(float a) { return std::exp(a); }
inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }

enum cudaError_t {
  cudaSuccess = 0,
  cudaErrorInvalidValue = 1,
  cudaErrorInvalidConfiguration = 9,
  cudaErrorLaunchFailure = 719
};
using cudaStream_t = void*;
