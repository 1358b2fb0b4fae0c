// Work in independent pieces, done by several threads.
#pragma once

#include <cstdint>
#include <functional>

#include "native/status.h"

// Call `work` once for every piece in 0 ... count - 1, in at most `threads` threads, 0: as many as the process has
// CPUs. After an error no further piece is begun; one of the errors is returned.
Status for_each_piece(std::int64_t count, int threads, const std::function<Status(std::int64_t)>& work);
