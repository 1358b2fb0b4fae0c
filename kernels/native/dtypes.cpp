#include "native/dtypes.h"

#include <cmath>
#include <cstring>

namespace {

template <class To, class From>
To bits_as(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

float half_to_float(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000u) << 16, magnitude = half & 0x7fffu;
  if (magnitude >= 0x7c00u) {  // infinity and NaN: all ones in the wider exponent, too
    return bits_as<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  }
  // Read with float32's exponent the number is 2^-112 of what it should be, subnormal or not.
  return std::copysign(bits_as<float>(magnitude << 13) * 0x1p112f, bits_as<float>(sign));
}

std::uint16_t float_to_half(float value) {
  const std::uint32_t sign = bits_as<std::uint32_t>(value) >> 16 & 0x8000u;
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7e00u);
  if (magnitude >= 65520.0f) return static_cast<std::uint16_t>(sign | 0x7c00u);  // half way beyond the largest, 65504
  if (magnitude < 0x1p-14f) {  // subnormal: multiples of 2^-24, which an addition to 1/2 rounds to
    return static_cast<std::uint16_t>(sign | (bits_as<std::uint32_t>(magnitude + 0.5f) - bits_as<std::uint32_t>(0.5f)));
  }
  const std::uint32_t bits = bits_as<std::uint32_t>(magnitude) - (112u << 23);
  return static_cast<std::uint16_t>(sign | (bits + 0xfffu + (bits >> 13 & 1u)) >> 13);
}

float bfloat_to_float(std::uint16_t value) { return bits_as<float>(static_cast<std::uint32_t>(value) << 16); }

std::uint16_t float_to_bfloat(float value) {
  const std::uint32_t bits = bits_as<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

template <class From, class To, class Convert>
void convert(const void* from, void* to, std::int64_t count, Convert one) {
  const From* source = static_cast<const From*>(from);
  To* target = static_cast<To*>(to);
  for (std::int64_t i = 0; i < count; ++i) target[i] = one(source[i]);
}

}  // namespace

std::size_t byte_count(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return 4;
    case DType::kFloat64:
      return 8;
    case DType::kFloat16:
    case DType::kBFloat16:
      return 2;
  }
  return 0;
}

void to_float32(const void* from, DType dtype, float* to, std::int64_t count) {
  switch (dtype) {
    case DType::kFloat32:
      return convert<float, float>(from, to, count, [](float value) { return value; });
    case DType::kFloat64:
      return convert<double, float>(from, to, count, [](double value) { return static_cast<float>(value); });
    case DType::kFloat16:
      return convert<std::uint16_t, float>(from, to, count, half_to_float);
    case DType::kBFloat16:
      return convert<std::uint16_t, float>(from, to, count, bfloat_to_float);
  }
}

void from_float32(const float* from, void* to, DType dtype, std::int64_t count) {
  switch (dtype) {
    case DType::kFloat32:
      return convert<float, float>(from, to, count, [](float value) { return value; });
    case DType::kFloat64:
      return convert<float, double>(from, to, count, [](float value) { return static_cast<double>(value); });
    case DType::kFloat16:
      return convert<float, std::uint16_t>(from, to, count, float_to_half);
    case DType::kBFloat16:
      return convert<float, std::uint16_t>(from, to, count, float_to_bfloat);
  }
}
