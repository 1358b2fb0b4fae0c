// What the pybind11 shells of all operators share.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <initializer_list>
#include <string>

#include "native/status.h"

// ValueError, unless all is well.
inline void raise(const Status& status) {
  if (!status) throw pybind11::value_error(status.message());
}

// The memory of a float32 array in C order whose sizes are `shape`, -1 for any. TypeError for another dtype, ValueError
// for another shape or order.
inline pybind11::buffer_info dense(const std::string& name, const pybind11::buffer& array,
                                   std::initializer_list<pybind11::ssize_t> shape, bool is_written = false) {
  pybind11::buffer_info info = array.request(is_written);
  if (!info.item_type_is_equivalent_to<float>()) {
    throw pybind11::type_error(name + " has elements of type '" + info.format + "'\n  -> give float32");
  }
  bool fits = info.ndim == static_cast<pybind11::ssize_t>(shape.size());
  std::string found, wanted;
  for (pybind11::ssize_t axis = 0; axis < info.ndim; ++axis) {
    found += (axis ? ", " : "") + std::to_string(info.shape[static_cast<std::size_t>(axis)]);
  }
  std::size_t axis = 0;
  for (const pybind11::ssize_t size : shape) {
    wanted += (axis ? ", " : "") + (size < 0 ? std::string("any") : std::to_string(size));
    fits = fits && (size < 0 || info.shape[axis] == size);
    ++axis;
  }
  if (!fits) throw pybind11::value_error(name + " is [" + found + "]\n  -> give [" + wanted + "]");
  pybind11::ssize_t stride = info.itemsize;
  for (pybind11::ssize_t last = info.ndim - 1; last >= 0; --last) {
    const auto at = static_cast<std::size_t>(last);
    if (info.shape[at] > 1 && info.strides[at] != stride) {
      throw pybind11::value_error(name + " is not dense in C order\n  -> numpy.ascontiguousarray");
    }
    stride *= info.shape[at];
  }
  return info;
}
