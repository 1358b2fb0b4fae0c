// ZPool2D for Python: arrays that speak the buffer protocol, without a copy.
#include "native/pybind.h"

#include <algorithm>
#include <string>
#include <vector>

#include "zpool2d/zpool2d.h"

namespace py = pybind11;

namespace {

void zpool2d_into(const py::buffer& x, const py::buffer& min_std, const std::vector<int>& windows, bool magnitude,
                  const py::buffer& out, int threads) {
  const py::buffer_info features = dense("x", x, {-1, -1, -1, -1});
  const py::buffer_info floor = dense("min_std", min_std, {features.shape[1]});
  if (windows.size() > zpool2d::kMaxWindows) {
    raise(Status::error("there are " + std::to_string(windows.size()) + " windows",
                        "give at most " + std::to_string(zpool2d::kMaxWindows) + ", the frame's own aside"));
  }
  const auto slices = static_cast<py::ssize_t>(windows.size()) + 1;
  const py::buffer_info z =
      dense("out", out, {features.shape[0], slices, features.shape[1], features.shape[2], features.shape[3]}, true);

  zpool2d::Params p{};
  p.x = features.ptr;
  p.min_std = static_cast<const float*>(floor.ptr);
  p.z = z.ptr;
  p.dtype = DType::kFloat32;
  p.n = features.shape[0];
  p.c = features.shape[1];
  p.h = features.shape[2];
  p.w = features.shape[3];
  std::copy(windows.begin(), windows.end(), p.windows);
  p.window_count = static_cast<int>(windows.size());
  p.magnitude = magnitude;
  Status status = Status::ok();
  {
    const py::gil_scoped_release released;
    status = zpool2d::cpu::run(p, threads);
  }
  raise(status);
}

}  // namespace

void add_zpool2d(py::module_& module) {
  module.attr("MAX_WINDOWS") = zpool2d::kMaxWindows;
  module.def("zpool2d", &zpool2d_into, py::arg("x"), py::arg("min_std"), py::arg("windows"), py::kw_only(),
             py::arg("magnitude"), py::arg("out"), py::arg("threads") = 0,
             R"(Write the z-scores of ``x`` float32 [N, C, H, W] to ``out`` float32 [N, len(windows) + 1, C, H, W].

All arrays are dense and in host memory; ``threads`` 0 takes every CPU of the process. Other threads of Python run
meanwhile. Raises TypeError for another dtype, ValueError for another shape or for windows that are not odd.)");
}
