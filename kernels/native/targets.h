// One binary for every CPU: functions that are compiled several times and chosen when the library is loaded.
#pragma once

#include <cstdlib>  // says whether this is glibc, whose loader can choose

#define ALWAYS_INLINE __attribute__((always_inline)) inline

// The loader chooses before sanitizers have started, and functions instrumented by them must not run by then.
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(WITH_SANITIZERS)
#define FOR_EACH_CPU __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EACH_CPU
#endif
