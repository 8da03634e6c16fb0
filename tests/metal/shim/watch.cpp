// What would end the process, or never end, becomes a fault; so does an index outside an array of
// known length, for which the compiler's own check (-fsanitize=bounds) calls us.
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/time.h>

#include "memory.h"

namespace machine {

namespace {

constexpr int signals[] = {SIGFPE, SIGSEGV, SIGBUS, SIGILL, SIGVTALRM};
constexpr int signal_count = sizeof signals / sizeof signals[0];
constexpr time_t patience = 60, grace = 5;  // seconds of this process's own time

struct sigaction before[signal_count];
pthread_t runner;
stack_t stack_before;
alignas(16) char stack[1 << 16];
volatile bool warned;

const char* self() { return describe_thread(running.group, running.thread); }

void on_signal(int number) {
  if (!pthread_equal(pthread_self(), runner)) {  // a process's timer may interrupt any thread
    pthread_kill(runner, number);
    return;
  }
  if (number == SIGVTALRM && !warned) {  // the next access ends the run
    warned = true;
    expire();
    return;
  }
  if (number == SIGVTALRM) fail(endless, 0, 0, "%s is in a loop without end", self());
  if (number == SIGFPE) fail(arithmetic, 0, 0, "%s divides an integer by zero", self());
  fail(bounds, 0, 0, "%s has gone wild (signal %d): its stack may be exhausted", self(), number);
}

}  // namespace

Watch::Watch() {
  runner = pthread_self();
  warned = false;
  stack_t own = {};
  own.ss_sp = stack;
  own.ss_size = sizeof stack;
  sigaltstack(&own, &stack_before);
  struct sigaction action = {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK | SA_NODEFER;  // it is left with a jump
  sigemptyset(&action.sa_mask);
  for (int i = 0; i < signal_count; ++i) sigaction(signals[i], &action, &before[i]);
  const itimerval timer = {{grace, 0}, {patience, 0}};
  setitimer(ITIMER_VIRTUAL, &timer, nullptr);
}

Watch::~Watch() {
  const itimerval none = {};
  setitimer(ITIMER_VIRTUAL, &none, nullptr);
  for (int i = 0; i < signal_count; ++i) sigaction(signals[i], &before[i], nullptr);
  if (stack_before.ss_sp == nullptr) stack_before.ss_flags = SS_DISABLE;
  sigaltstack(&stack_before, nullptr);
}

}  // namespace machine

// ---- what the compiler's checks call

namespace {
struct Type {
  uint16_t kind, info;
  char name[1];
};
struct OutOfBounds {
  const char* file;
  uint32_t line, column;
  const Type* array;
  const Type* index;
};
struct Overflow {
  const char* file;
  uint32_t line, column;
  const Type* type;
};
}  // namespace

extern "C" {
void __ubsan_handle_out_of_bounds(OutOfBounds* what, uintptr_t index) {
  const bool is_signed = what->index->info & 1;
  const unsigned width = 1u << (what->index->info >> 1);
  const int64_t value = is_signed && width < 64 ? int64_t(uint64_t(index) << (64 - width)) >> (64 - width)
                                                : int64_t(index);
  machine::fail(machine::bounds, reinterpret_cast<uintptr_t>(__builtin_return_address(0)), 0,
                "%s takes element %ld of an array that is %s", machine::self(), long(value),
                what->array->name);
}
void __ubsan_handle_divrem_overflow(Overflow*, uintptr_t, uintptr_t) {
  machine::fail(machine::arithmetic, reinterpret_cast<uintptr_t>(__builtin_return_address(0)), 0,
                "%s divides an integer by zero", machine::self());
}
}
