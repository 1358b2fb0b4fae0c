// Element types of the arrays that cross a shell.
#pragma once

#include <cstddef>
#include <cstdint>

enum class DType { kFloat32, kFloat64, kFloat16, kBFloat16 };

std::size_t byte_count(DType dtype);

// Convert `count` elements, to the nearest and ties to even.
void to_float32(const void* from, DType dtype, float* to, std::int64_t count);
void from_float32(const float* from, void* to, DType dtype, std::int64_t count);
