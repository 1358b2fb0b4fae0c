// The table of operators that Python sees.
#include <pybind11/pybind11.h>

void add_zpool2d(pybind11::module_& module);

PYBIND11_MODULE(_native, module) {
  module.doc() = "Operators of imdl-sdk in C++. kernels.library finds this file and says what it offers.";
  add_zpool2d(module);

  pybind11::dict ops;  // for people: what is native, and on what
  ops["zpool2d"] = "native on the CPU";
  module.attr("OPS") = ops;
}
