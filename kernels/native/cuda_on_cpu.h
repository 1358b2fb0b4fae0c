// Runs CUDA kernels on the CPU, so that every test run executes the very source that runs on a GPU.
//
// A CUDA thread is a fiber with its own stack; a block's fibers run one at a time in an order drawn from a seed, each
// until it waits for others. Shared memory holds NaN when a block starts. What a GPU may leave undefined is an error
// with a message here: a barrier that not every thread reaches, a shuffle from a lane that does not take part, a
// block that asks for more threads or shared memory than a GPU has.
//
// Not shown by it: how warps interleave between two barriers in hardware, memory ordering between blocks, and speed.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <random>
#include <source_location>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "native/cuda_on_cpu_fiber.h"
#include "native/cuda_on_cpu_types.h"

namespace cuda_on_cpu {

constexpr unsigned kWarp = 32, kMaxThreads = 1024;
constexpr unsigned char kPoison = 0xff;  // NaN in every float type, -1 in every integer type
using Site = std::source_location;

// What a test may choose. The device's properties are those that launchers ask for.
struct Settings {
  unsigned seed = 0;                // order of blocks and threads
  unsigned workers = 1;             // operating system threads that run blocks
  int capability = 80;              // compute capability, ten times the major plus the minor
  int multiprocessors = 16;         // small, so that small cases are split too
  size_t shared_limit = 227 << 10;  // bytes of dynamic shared memory a block may ask for
  char without_file[64] = "";       // the barrier in this file and line is left out: do the tests notice?
  unsigned without_line = 0;
};
inline Settings settings;
inline bool left_out(Site site) {
  return site.line() == settings.without_line && std::string_view(site.file_name()).ends_with(settings.without_file);
}
inline std::string message;  // of the first failure since the settings were chosen

enum class State { ready, waiting, finished };

struct Copy {
  void* target;
  const void* source;  // null: zeros
};

struct Thread {
  Fiber fiber;
  State state = State::ready;
  dim3 index;
  unsigned collectives = 0;  // parity tells which of two slots a collective uses
  std::vector<Copy> copies;  // asynchronous ones under way
};

// Threads that have come to a barrier, and where it stands.
struct Barrier {
  unsigned arrived = 0;  // a count for a block, a set of lanes for a warp
  unsigned awaited = 0;
  Site site = Site::current();
};

struct Warp {
  Barrier barrier;
  unsigned gone = ~0u;                         // lanes that have left the kernel or never were
  unsigned long long slots[2][kWarp][4] = {};  // what lanes show each other
};

class Block {
 public:
  Block(dim3 index, dim3 grid, dim3 shape, size_t shared_bytes) : index(index), grid(grid), shape(shape) {
    threads = std::vector<Thread>(shape.x * shape.y * shape.z);
    warps.resize((threads.size() + kWarp - 1) / kWarp);
    for (unsigned t = 0; t < threads.size(); ++t) warps[t / kWarp].gone &= ~(1u << t % kWarp);
    dynamic = allocate(shared_bytes);
  }

  // Run every thread to its end. Answers whether all went well.
  bool run(const std::function<void()>& kernel, std::mt19937& random) {
    std::vector<unsigned> order(threads.size());
    std::iota(order.begin(), order.end(), 0u);
    std::shuffle(order.begin(), order.end(), random);
    for (unsigned t = 0; t < threads.size(); ++t) {
      threads[t].index = dim3(t % shape.x, t / shape.x % shape.y, t / (shape.x * shape.y));
      threads[t].fiber.start([this, &kernel] {
        kernel();
        finish();
      });
    }
    while (!failed) {
      std::rotate(order.begin(), order.begin() + random() % order.size(), order.end());
      bool moved = false;
      for (unsigned t : order) {
        if (failed || threads[t].state != State::ready) continue;
        current = t;
        moved = true;
        threads[t].fiber.resume(scheduler);
      }
      if (!moved) break;
    }
    if (!failed && finished < threads.size()) report("threads wait for each other for ever", barrier.site);
    return !failed;
  }

  Thread& self() { return threads[current]; }
  unsigned lane() const { return current % kWarp; }
  Warp& warp() { return warps[current / kWarp]; }

  void block_barrier(Site site) {
    meet(barrier, threads.size(), site);
    if (finished) fail("divergent barrier: another thread has left the kernel", site);
    if (++barrier.arrived == threads.size()) {
      barrier.arrived = 0;
      for (Thread& thread : threads) thread.state = State::ready;
    } else {
      wait();
    }
  }

  // Wait until all lanes of `mask` are here.
  void warp_barrier(unsigned mask, Site site) {
    Barrier& here = warp().barrier;
    if (!(mask >> lane() & 1)) fail("a lane that is not in the mask takes part", site);
    meet(here, mask, site);
    if (mask & warp().gone) fail("divergent warp: a lane of the mask has left the kernel", site);
    here.arrived |= 1u << lane();
    if (here.arrived == mask) {
      here.arrived = 0;
      for (unsigned lane = 0; lane < kWarp; ++lane)
        if (mask >> lane & 1) threads[current / kWarp * kWarp + lane].state = State::ready;
    } else {
      wait();
    }
  }

  // Show `value` to the lanes of `mask`; the answer is what all of them show.
  template <class T>
  auto exchange(unsigned mask, const T& value, Site site) {
    static_assert(sizeof(T) <= sizeof(Warp::slots[0][0]));
    auto& slots = warp().slots[self().collectives++ & 1];
    std::memcpy(slots[lane()], &value, sizeof(T));
    warp_barrier(mask, site);
    return [&slots](unsigned lane) {
      T shown;
      std::memcpy(&shown, slots[lane], sizeof(T));
      return shown;
    };
  }

  // Memory that all threads of the block share, one piece for each key.
  unsigned char* shared(const void* key, size_t bytes) {
    auto& piece = statics[key];
    if (!piece) piece = allocate(bytes);
    return piece.get();
  }

  [[noreturn]] void fail(const std::string& what, Site site) {
    report(what, site);
    self().fiber.suspend(scheduler);
    std::abort();  // a failed block is never resumed
  }

  const dim3 index, grid, shape;
  std::unique_ptr<unsigned char[]> dynamic;

 private:
  static std::unique_ptr<unsigned char[]> allocate(size_t bytes) {
    // A piece of heap of its own, so that AddressSanitizer sees an access beyond it.
    std::unique_ptr<unsigned char[]> piece(new unsigned char[bytes]);
    std::memset(piece.get(), kPoison, bytes);
    return piece;
  }

  void report(const std::string& what, Site site) {
    static std::mutex mutex;
    std::lock_guard lock(mutex);
    failed = true;
    if (message.empty())
      message = std::string(site.file_name()) + ":" + std::to_string(site.line()) + ": block " +
                std::to_string(index.x) + ", thread " + std::to_string(current) + ": " + what;
  }

  // The first to come says what the others must come for.
  void meet(Barrier& here, unsigned awaited, Site site) {
    if (!here.arrived) here.awaited = awaited, here.site = site;
    if (here.awaited != awaited || here.site.line() != site.line())
      fail("divergent barrier: another thread waits in line " + std::to_string(here.site.line()), site);
  }

  void wait() {
    self().state = State::waiting;
    self().fiber.suspend(scheduler);
  }

  void finish() {
    self().state = State::finished;
    ++finished;
    warp().gone |= 1u << lane();
    if (barrier.arrived) fail("divergent barrier: this thread has left the kernel", barrier.site);
    if (warp().barrier.arrived) fail("divergent warp: this lane has left the kernel", warp().barrier.site);
    self().fiber.suspend(scheduler);
  }

  std::vector<Thread> threads;
  std::vector<Warp> warps;
  std::map<const void*, std::unique_ptr<unsigned char[]>> statics;
  Fiber::Place scheduler;
  Barrier barrier;
  unsigned current = 0;
  size_t finished = 0;
  bool failed = false;
};

inline thread_local Block* block = nullptr;

// Run all blocks of a grid, in a shuffled order.
inline cudaError_t run_grid(dim3 grid, dim3 shape, size_t shared_bytes, const std::function<void()>& kernel) {
  const size_t count = size_t(grid.x) * grid.y * grid.z;
  const bool fits = shape.x * shape.y * shape.z <= kMaxThreads && shared_bytes <= settings.shared_limit;
  if (!fits || grid.y > 65535 || grid.z > 65535 || count == 0) return cudaErrorInvalidConfiguration;
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t(0));
  std::mt19937 random(settings.seed);
  std::shuffle(order.begin(), order.end(), random);
  std::atomic<size_t> next = 0;
  std::atomic<bool> good = true;
  const auto work = [&] {
    for (size_t turn; good && (turn = next++) < count;) {
      const size_t i = order[turn];
      Block here(dim3(i % grid.x, i / grid.x % grid.y, i / (size_t(grid.x) * grid.y)), grid, shape, shared_bytes);
      std::mt19937 own(settings.seed + 2654435761u * unsigned(i));
      block = &here;
      if (!here.run(kernel, own)) good = false;
      block = nullptr;
    }
  };
  std::vector<std::thread> others;
  for (unsigned i = 1; i < settings.workers; ++i) others.emplace_back(work);
  work();
  for (auto& other : others) other.join();
  return good ? cudaSuccess : cudaErrorLaunchFailure;
}

}  // namespace cuda_on_cpu

#define __global__
#define __host__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define threadIdx (cuda_on_cpu::block->self().index)
#define blockIdx (cuda_on_cpu::block->index)
#define blockDim (cuda_on_cpu::block->shape)
#define gridDim (cuda_on_cpu::block->grid)

inline void __syncthreads(cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  if (!cuda_on_cpu::left_out(site)) cuda_on_cpu::block->block_barrier(site);
}
inline void __syncwarp(unsigned mask = ~0u, cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  if (!cuda_on_cpu::left_out(site)) cuda_on_cpu::block->warp_barrier(mask, site);
}

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32, cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  auto& block = *cuda_on_cpu::block;
  const auto shown = block.exchange(mask, value, site);
  const unsigned source = block.lane() / width * width + unsigned(lane);
  if (lane < 0 || lane >= width || !(mask >> source & 1))
    block.fail("shuffle from lane " + std::to_string(lane) + ", which does not take part", site);
  return shown(source);
}
inline int __any_sync(unsigned mask, int predicate, cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  const auto shown = cuda_on_cpu::block->exchange(mask, predicate, site);
  bool any = false;
  for (unsigned lane = 0; lane < cuda_on_cpu::kWarp; ++lane) any |= (mask >> lane & 1) && shown(lane);
  return any;
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned by, int width = 32,
                 cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  const unsigned lane = cuda_on_cpu::block->lane() % width;
  return __shfl_sync(mask, value, int(lane >= by ? lane - by : lane), width, site);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned by, int width = 32,
                   cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  const unsigned lane = cuda_on_cpu::block->lane() % width;
  return __shfl_sync(mask, value, int(lane + by < unsigned(width) ? lane + by : lane), width, site);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32,
                  cuda_on_cpu::Site site = cuda_on_cpu::Site::current()) {
  const unsigned lane = cuda_on_cpu::block->lane() % width;
  return __shfl_sync(mask, value, int(lane ^ unsigned(with)), width, site);
}

// For tests, through ctypes.
extern "C" __attribute__((used)) inline void cuda_on_cpu_choose(const cuda_on_cpu::Settings* chosen) {
  cuda_on_cpu::settings = *chosen;
  cuda_on_cpu::message.clear();
}
extern "C" __attribute__((used)) inline const char* cuda_on_cpu_message() { return cuda_on_cpu::message.c_str(); }
