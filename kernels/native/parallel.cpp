#include "native/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

Status for_each_piece(std::int64_t count, int threads, const std::function<Status(std::int64_t)>& work) {
  std::atomic<std::int64_t> next{0};
  std::mutex mutex;
  Status first_error = Status::ok();
  const auto take_turns = [&] {
    for (std::int64_t piece; (piece = next.fetch_add(1)) < count;) {
      if (Status status = work(piece); !status) {
        const std::lock_guard<std::mutex> lock(mutex);
        first_error = status;
        next = count;
      }
    }
  };
  const std::int64_t wanted = threads > 0 ? threads : std::max(1u, std::thread::hardware_concurrency());
  std::vector<std::thread> others;
  try {
    while (static_cast<std::int64_t>(others.size()) + 1 < std::min(wanted, count)) others.emplace_back(take_turns);
  } catch (const std::exception&) {  // no more threads or no memory for them: those that run do it all
  }
  take_turns();
  for (std::thread& other : others) other.join();
  return first_error;
}
