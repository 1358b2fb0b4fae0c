#include "zpool2d/zpool2d.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include "native/parallel.h"
#include "native/targets.h"

namespace zpool2d {
namespace {

constexpr std::int64_t kLanes = 16;    // sums that run side by side: enough to fill the widest registers
constexpr std::int64_t kChunk = 4096;  // pixels whose mean is taken before their squares: they stay in the L1 cache

struct Moments {
  double mean, variance;
};

// Sum of (x - shift)^power for power 1 or 2, in a fixed order whatever the registers' width.
template <int power>
ALWAYS_INLINE double lane_sum(const float* x, std::int64_t count, double shift) {
  double lanes[kLanes] = {};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
      const double d = x[i + lane] - shift;
      lanes[lane] += power == 1 ? d : d * d;
    }
  }
  double sum = 0;
  for (double lane : lanes) sum += lane;
  for (; i < count; ++i) {
    const double d = x[i] - shift;
    sum += power == 1 ? d : d * d;
  }
  return sum;
}

// Mean and population variance in one pass over memory; chunks are joined as by Chan, Golub and LeVeque (1979).
ALWAYS_INLINE Moments moments(const float* x, std::int64_t count) {
  double mean = 0, squares = 0;
  for (std::int64_t seen = 0; seen < count;) {
    const std::int64_t size = std::min(kChunk, count - seen);
    const double shift = x[seen];
    const double chunk_mean = shift + lane_sum<1>(x + seen, size, shift) / static_cast<double>(size);
    const double total = static_cast<double>(seen + size), delta = chunk_mean - mean;
    squares += lane_sum<2>(x + seen, size, chunk_mean) +
               delta * delta * (static_cast<double>(seen) * static_cast<double>(size) / total);
    mean += delta * (static_cast<double>(size) / total);
    seen += size;
  }
  return {mean, squares / static_cast<double>(count)};
}

// One window size in one frame: where it is cut, and by what its sums are divided.
struct Window {
  std::int64_t down, across;          // px that it reaches from its centre, inside the frame
  std::vector<double> inverse_width;  // [w]
  std::vector<double> difference;     // [w + 2 across + 1], the work of one row
};

Window make_window(int size, std::int64_t h, std::int64_t w) {
  const std::int64_t half = size / 2;
  Window window{std::min(half, h - 1), std::min(half, w - 1), {}, {}};
  window.inverse_width.resize(static_cast<std::size_t>(w));
  for (std::int64_t x = 0; x < w; ++x) {
    const std::int64_t width = std::min(x + window.across + 1, w) - std::max<std::int64_t>(x - window.across, 0);
    window.inverse_width[static_cast<std::size_t>(x)] = 1.0 / static_cast<double>(width);
  }
  window.difference.resize(static_cast<std::size_t>(w + 2 * window.across + 1));
  return window;
}

// The last rows of the integral of x - mean, enough for every window. Row j, column i: the sum over rows < j and
// columns < i. The mean is taken off first: the integral stays near zero, and so does its rounding.
struct Integral {
  std::int64_t rows, stride;
  std::vector<double> values;

  double* row(std::int64_t j) { return values.data() + j % rows * stride; }
};

ALWAYS_INLINE void add_row(const float* x, std::int64_t w, double mean, const double* above, double* below) {
  // Four parts of a row are summed side by side, because each addition waits for the one before it.
  const std::int64_t quarter = w / 4;
  double sums[4] = {};
  below[0] = 0;
  for (std::int64_t i = 0; i < quarter; ++i) {
    for (std::int64_t part = 0; part < 4; ++part) {
      sums[part] += x[part * quarter + i] - mean;
      below[part * quarter + i + 1] = sums[part];
    }
  }
  for (std::int64_t i = 4 * quarter; i < w; ++i) {
    sums[3] += x[i] - mean;
    below[i + 1] = sums[3];
  }
  double before = 0;
  for (std::int64_t part = 0; part < 4; ++part) {
    const std::int64_t end = part == 3 ? w : (part + 1) * quarter;
    for (std::int64_t i = part * quarter; i < end; ++i) below[i + 1] += above[i + 1] + before;
    before += sums[part];
  }
}

template <bool magnitude>
ALWAYS_INLINE float finished(double score) {
  return static_cast<float>(magnitude ? std::fabs(score) : score);
}

// One row against the frame: `scores` keeps what the windows' rows begin with, (x - mean) / std.
template <bool magnitude>
ALWAYS_INLINE void frame_row(const float* x, std::int64_t w, double mean, double inverse_std, double* scores,
                             float* z) {
  for (std::int64_t i = 0; i < w; ++i) {
    scores[i] = (x[i] - mean) * inverse_std;
    z[i] = finished<magnitude>(scores[i]);
  }
}

// One row against one window, whose sums are bottom - top. `scale` is 1 / (window height x std).
template <bool magnitude>
ALWAYS_INLINE void window_row(const double* scores, std::int64_t w, Window& window, const double* top,
                              const double* bottom, double scale, float* z) {
  const std::int64_t across = window.across;
  double* left = window.difference.data();
  const double* right = left + 2 * across + 1;
  const double* inverse_width = window.inverse_width.data();
  for (std::int64_t i = 0; i < across; ++i) left[i] = 0;
  for (std::int64_t i = 0; i <= w; ++i) left[across + i] = bottom[i] - top[i];
  for (std::int64_t i = 0; i < across; ++i) left[across + w + 1 + i] = left[across + w];
  for (std::int64_t i = 0; i < w; ++i) {
    z[i] = finished<magnitude>(scores[i] - (right[i] - left[i]) * inverse_width[i] * scale);
  }
}

// What one plane needs besides its input and output.
struct Workspace {
  std::vector<Window> windows;
  std::int64_t reach;  // px down from a row to the last one of its largest window
  Integral integral;
  std::vector<double> scores;  // [w]
};

Workspace make_workspace(const Params& p) {
  Workspace work{};
  for (int k = 0; k < p.window_count; ++k) {
    work.windows.push_back(make_window(p.windows[k], p.h, p.w));
    work.reach = std::max(work.reach, work.windows.back().down);
  }
  work.integral = {std::min(2 * work.reach + 2, p.h + 1), p.w + 1, {}};
  work.integral.values.resize(static_cast<std::size_t>(work.integral.rows * work.integral.stride));
  work.scores.resize(static_cast<std::size_t>(p.w));
  return work;
}

// One plane [h, w]; z[k] is the plane of window k, the last z that of the frame.
template <bool magnitude>
ALWAYS_INLINE void plane(const float* x, std::int64_t h, std::int64_t w, double floor, Workspace& work,
                         float* const* z) {
  const Moments frame = moments(x, h * w);
  const double std = std::sqrt(frame.variance);
  const std::size_t count = work.windows.size();
  if (!std::isfinite(std) || std::isnan(floor)) {
    for (std::size_t k = 0; k <= count; ++k) std::fill_n(z[k], h * w, std::numeric_limits<float>::quiet_NaN());
    return;
  }
  const double inverse_std = 1.0 / std::max(std, floor);
  double* scores = work.scores.data();
  std::fill_n(work.integral.row(0), w + 1, 0.0);
  std::int64_t summed = 0;
  for (std::int64_t y = 0; y < h; ++y) {
    for (; summed < std::min(y + work.reach + 1, h); ++summed) {
      add_row(x + summed * w, w, frame.mean, work.integral.row(summed), work.integral.row(summed + 1));
    }
    frame_row<magnitude>(x + y * w, w, frame.mean, inverse_std, scores, z[count] + y * w);
    for (std::size_t k = 0; k < count; ++k) {
      Window& window = work.windows[k];
      const std::int64_t start = std::max<std::int64_t>(y - window.down, 0), end = std::min(y + window.down + 1, h);
      window_row<magnitude>(scores, w, window, work.integral.row(start), work.integral.row(end),
                            inverse_std / static_cast<double>(end - start), z[k] + y * w);
    }
  }
}

FOR_EACH_CPU void signed_plane(const float* x, std::int64_t h, std::int64_t w, double floor, Workspace& work,
                               float* const* z) {
  plane<false>(x, h, w, floor, work, z);
}

FOR_EACH_CPU void magnitude_plane(const float* x, std::int64_t h, std::int64_t w, double floor, Workspace& work,
                                  float* const* z) {
  plane<true>(x, h, w, floor, work, z);
}

// The plane of another dtype by way of float32.
void converted_plane(const Params& p, const char* x, double floor, Workspace& work, char* const* z) {
  const std::int64_t pixels = p.h * p.w;
  std::vector<float> wide(static_cast<std::size_t>((p.window_count + 2) * pixels));
  float* wide_z[kMaxWindows + 1];
  for (int k = 0; k <= p.window_count; ++k) wide_z[k] = wide.data() + (k + 1) * pixels;
  to_float32(x, p.dtype, wide.data(), pixels);
  (p.magnitude ? magnitude_plane : signed_plane)(wide.data(), p.h, p.w, floor, work, wide_z);
  for (int k = 0; k <= p.window_count; ++k) from_float32(wide_z[k], z[k], p.dtype, pixels);
}

// Every product of sizes that is formed later, in elements.
bool is_too_large(const Params& p) {
  std::int64_t product = p.window_count + 1;
  for (const std::int64_t size : {p.n, p.c, p.h, p.w}) {
    if (__builtin_mul_overflow(product, std::max<std::int64_t>(size, 1), &product)) return true;
  }
  return product > std::numeric_limits<std::int64_t>::max() / 16;
}

}  // namespace

Status check(const Params& p) {
  const auto text = [](auto number) { return std::to_string(number); };
  if (p.n < 0 || p.c < 0 || p.h < 1 || p.w < 1 || is_too_large(p)) {
    return Status::error("x is [" + text(p.n) + ", " + text(p.c) + ", " + text(p.h) + ", " + text(p.w) + "]",
                         "give features [N, C, H, W] of at least one pixel");
  }
  if (p.window_count < 0 || p.window_count > kMaxWindows) {
    return Status::error("there are " + text(p.window_count) + " windows",
                         "give at most " + text(kMaxWindows) + ", the frame's own aside");
  }
  for (int k = 0; k < p.window_count; ++k) {
    if (p.windows[k] < 1 || p.windows[k] % 2 == 0) {
      return Status::error("a window is " + text(p.windows[k]) + " px", "use odd sides, 7, 15 and 31 as published");
    }
  }
  return Status::ok();
}

namespace cpu {

std::int64_t piece_count(const Params& p) { return p.n * p.c; }

Status run_piece(const Params& p, std::int64_t piece) try {
  const std::int64_t image = piece / p.c, channel = piece % p.c;
  const std::int64_t size = p.h * p.w * static_cast<std::int64_t>(byte_count(p.dtype));
  const char* x = static_cast<const char*>(p.x) + piece * size;
  const double floor = p.min_std[channel];
  Workspace work = make_workspace(p);
  char* z[kMaxWindows + 1];
  float* float_z[kMaxWindows + 1];
  for (int k = 0; k <= p.window_count; ++k) {
    z[k] = static_cast<char*>(p.z) + ((image * (p.window_count + 1) + k) * p.c + channel) * size;
    float_z[k] = reinterpret_cast<float*>(z[k]);
  }
  if (p.dtype != DType::kFloat32) {
    converted_plane(p, x, floor, work, z);
  } else {
    (p.magnitude ? magnitude_plane : signed_plane)(reinterpret_cast<const float*>(x), p.h, p.w, floor, work, float_z);
  }
  return Status::ok();
} catch (const std::bad_alloc&) {
  return Status::error("no memory is left for rows of " + std::to_string(p.w) + " px", "use fewer threads");
}

Status run(const Params& p, int threads) {
  if (Status status = check(p); !status) return status;
  return for_each_piece(piece_count(p), threads, [&](std::int64_t piece) { return run_piece(p, piece); });
}

}  // namespace cpu
}  // namespace zpool2d
