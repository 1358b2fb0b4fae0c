// A fiber: a function with a stack of its own that can stop in the middle and go on later.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace cuda_on_cpu {

#if defined(__x86_64__)
// Keep the registers that a function call preserves on this stack, and go on with another one.
extern "C" void cuda_on_cpu_switch(void** from, void* to);
asm(R"(
.pushsection .text
.weak cuda_on_cpu_switch
.type cuda_on_cpu_switch, @function
cuda_on_cpu_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size cuda_on_cpu_switch, .-cuda_on_cpu_switch
.popsection
)");
#endif

constexpr size_t kStackBytes = 64 << 10;

class Fiber {
 public:
  Fiber() = default;
  Fiber(Fiber&&) = default;

  // Where a stack was left, and what AddressSanitizer wants to know of it.
  struct Place {
#if defined(__x86_64__)
    void* registers = nullptr;
#else
    ucontext_t registers;
#endif
    void* shadow = nullptr;
    const void* bottom = nullptr;
    size_t bytes = 0;
  };

  // Stacks are kept for the next fibers of the same operating system thread.
  ~Fiber() {
    if (stack) spare.push_back(std::move(stack));
  }

  void start(std::function<void()> function) {
    body = std::move(function);
    if (spare.empty()) {
      stack.reset(new unsigned char[kStackBytes]);
    } else {
      stack = std::move(spare.back());
      spare.pop_back();
    }
    own.bottom = stack.get();
    own.bytes = kStackBytes;
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(stack.get(), kStackBytes);
#endif
#if defined(__x86_64__)
    auto* top =
        reinterpret_cast<void**>(reinterpret_cast<std::uintptr_t>(stack.get() + kStackBytes) & ~std::uintptr_t(15));
    *--top = nullptr;  // the return address of `enter`, which does not return; aligns the stack as a call would
    *--top = reinterpret_cast<void*>(&enter);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    own.registers = top;
#else
    getcontext(&own.registers);
    own.registers.uc_stack.ss_sp = stack.get();
    own.registers.uc_stack.ss_size = kStackBytes;
    own.registers.uc_link = nullptr;
    makecontext(&own.registers, &enter, 0);
#endif
  }

  // Go on with this fiber until it suspends itself.
  void resume(Place& from) {
    running = this;
    caller = &from;
    change(from, own);
  }

  // Go back to whoever resumed this fiber.
  void suspend(Place& to) { change(own, to); }

 private:
  static void enter() {
    Fiber& self = *running;
    arrived(self.own, *self.caller);
    self.body();
  }

  static void change(Place& from, Place& to) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&from.shadow, to.bottom, to.bytes);
#endif
#if defined(__x86_64__)
    cuda_on_cpu_switch(&from.registers, to.registers);
#else
    swapcontext(&from.registers, &to.registers);
#endif
    arrived(from, *running->caller);
  }

  // On a stack again. A fiber that comes to life for the first time learns the bounds of its caller's stack.
  static void arrived(Place& here, Place& caller) {
#if defined(__SANITIZE_ADDRESS__)
    const void* bottom = nullptr;
    size_t bytes = 0;
    __sanitizer_finish_switch_fiber(here.shadow, &bottom, &bytes);
    if (&here != &caller) {
      caller.bottom = bottom;
      caller.bytes = bytes;
    }
#else
    (void)here, (void)caller;
#endif
  }

  using Stack = std::unique_ptr<unsigned char[]>;
  static inline thread_local Fiber* running = nullptr;
  static inline thread_local std::vector<Stack> spare;
  std::function<void()> body;
  Stack stack;
  Place own;
  Place* caller = nullptr;
};

}  // namespace cuda_on_cpu
