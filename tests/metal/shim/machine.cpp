// Runs a kernel: one fiber a thread, threadgroups one after the other, everything in random order.
// The vectors' operators exist in the kernel too, compiled with checks: ours need another name.
#define metal machine_metal
#include "maths.h"
#include "machine.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "memory.h"

extern "C" void machine_kernel(void* const* buffers, const machine::Attributes& attributes);

namespace machine {

Running running;

namespace {

constexpr size_t stack_size = size_t(1) << 18;  // only what is touched costs memory
constexpr uint most_threads = 1024;

enum State { ready, at_simd, at_barrier, done };

struct Fiber {
  jmp_buf context;
  State state;
  Attributes attributes;
  Clock clocks[2];
  // The call it waits in.
  const char* call;
  uintptr_t place;
  uint memory;
  Combine combine;
  const void* value;
  void* result;
  uint argument;
  bool uniform;
};

uint3 grid, group_size;
void* const* kernel_buffers;
Memory* memory;
std::vector<Fiber> fibers;
std::vector<uint> group_order;
char* stacks;
uint threads;  // in the threadgroup that runs
uint current;  // the fiber that runs
jmp_buf scheduler;
ucontext_t birth, home;
uint64_t random_state;

uint random_below(uint n) {  // xorshift64*, Vigna 2014
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return uint(((random_state * 0x2545f4914f6cdd1dull >> 32) * n) >> 32);
}

uint3 place_in(uint3 size, uint index) {
  return uint3(index % size.x, index / size.x % size.y, index / size.x / size.y);
}
uint product(uint3 size) { return size.x * size.y * size.z; }
uint ceil_divide(uint a, uint b) { return (a + b - 1) / b; }
uint3 group_count() { return (grid + group_size - uint3(1)) / group_size; }

// ---- fibers

void fiber_main() {
  const uint self = current;
  if (_setjmp(fibers[self].context) == 0) setcontext(&home);
  for (;;) {
    const Attributes own = fibers[self].attributes;  // on its own stack, where it may read them
    machine_kernel(kernel_buffers, own);
    fibers[self].state = done;
    if (_setjmp(fibers[self].context) == 0) _longjmp(scheduler, 1);
  }
}

void create_fibers(uint count) {
  for (uint i = uint(fibers.size()); i < count; ++i) {
    fibers.emplace_back();
    getcontext(&birth);
    birth.uc_stack.ss_sp = stacks + i * stack_size;
    birth.uc_stack.ss_size = stack_size;
    birth.uc_link = nullptr;
    makecontext(&birth, fiber_main, 0);
    current = i;
    swapcontext(&home, &birth);
  }
}

void resume(uint i) {
  Fiber& next = fibers[i];
  current = i;
  running.thread = i;
  running.clocks[0] = next.clocks[0];
  running.clocks[1] = next.clocks[1];
  running.stack = reinterpret_cast<uintptr_t>(stacks + i * stack_size);
  running.stack_size = stack_size;
  if (_setjmp(scheduler) == 0) _longjmp(next.context, 1);
}

void wait(State state) {
  fibers[current].state = state;
  if (_setjmp(fibers[current].context) == 0) _longjmp(scheduler, 1);
}

void pass(Fiber& fiber, bool whole_threadgroup) {
  for (uint kind = 0; kind < 2; ++kind)
    if (fiber.memory & (kind == 0 ? device_memory : threadgroup_memory)) {
      fiber.clocks[kind].simdgroup += 1;
      if (whole_threadgroup) fiber.clocks[kind].threadgroup += 1;
    }
  fiber.state = ready;
}

// ---- waiting together

const char* describe_state(const Fiber& fiber) {
  static char texts[2][80];
  static uint turn = 0;
  char* text = texts[turn++ % 2];
  if (fiber.state == done) return "has ended";
  snprintf(text, sizeof texts[0], "waits at %s%s", fiber.call,
           fiber.state == ready ? " (running)" : "");
  return text;
}

[[noreturn]] void fail_apart(uint a, uint b, const char* need) {
  const Fiber& first = fibers[a];
  const Fiber& second = fibers[b];
  const bool same_call = second.state == first.state && second.call == first.call;
  fail(barrier, first.place, second.state == done ? 0 : second.place, "%s %s, but thread %u %s%s: %s",
       describe_thread(running.group, a), describe_state(first), b, describe_state(second),
       same_call ? " at another place" : "", need);
}

// All lanes of a simdgroup have stopped. True if they met at one call and may go on.
bool meet_in_simdgroup(uint simdgroup) {
  const uint begin = simdgroup * 32;
  const uint lanes = threads - begin < 32 ? threads - begin : 32;
  uint leader = begin;
  while (leader < begin + lanes && fibers[leader].state != at_simd) ++leader;
  if (leader == begin + lanes) return false;
  const void* values[32];
  void* results[32];
  uint arguments[32];
  for (uint i = 0; i < lanes; ++i) {
    const Fiber& lane = fibers[begin + i];
    if (lane.state != at_simd || lane.place != fibers[leader].place)
      fail_apart(leader, begin + i, "all threads of a simdgroup must make the call together");
    if (lane.uniform && lane.argument != fibers[leader].argument)
      fail(barrier, lane.place, 0, "%s calls %s with %u, but thread %u with %u: it must be the same "
           "in the whole simdgroup", describe_thread(running.group, begin + i), lane.call,
           lane.argument, leader, fibers[leader].argument);
    values[i] = lane.value;
    results[i] = lane.result;
    arguments[i] = lane.argument;
  }
  if (fibers[leader].combine) {
    const Unchecked own;
    const int invalid = fibers[leader].combine(lanes, values, arguments, results);
    if (invalid >= 0)
      fail(bounds, fibers[leader].place, 0, "%s calls %s with %u, which leads to no lane",
           describe_thread(running.group, begin + uint(invalid)), fibers[leader].call,
           arguments[invalid]);
  }
  for (uint i = 0; i < lanes; ++i) pass(fibers[begin + i], false);
  return true;
}

// No thread can run. True if all met at one barrier and may go on, false if all have ended.
bool meet_in_threadgroup() {
  tell_postponed();
  uint leader = 0;
  while (leader < threads && fibers[leader].state == done) ++leader;
  if (leader == threads) return false;
  for (uint i = 0; i < threads; ++i)
    if (fibers[i].state == done || fibers[i].place != fibers[leader].place)
      fail_apart(leader, i, "all threads of a threadgroup must reach the barrier together");
  for (uint i = 0; i < threads; ++i) pass(fibers[i], true);
  return true;
}

void run_simdgroup(uint simdgroup) {
  const uint begin = simdgroup * 32;
  const uint start = random_below(32), step = 2 * random_below(16) + 1;
  for (uint k = 0; k < 32; ++k) {
    const uint i = begin + (start + k * step) % 32;
    if (i < threads && fibers[i].state == ready) resume(i);
  }
}

// ---- threadgroups

void prepare(uint3 group) {
  const uint3 begin = group * group_size;
  const uint3 size = metal::min(group_size, grid - begin);
  threads = product(size);
  create_fibers(threads);
  Attributes a;
  a.dispatch_threads_per_threadgroup = group_size;
  a.dispatch_simdgroups_per_threadgroup = ceil_divide(product(group_size), 32);
  a.dispatch_quadgroups_per_threadgroup = ceil_divide(product(group_size), 4);
  a.grid_origin = uint3(0);
  a.grid_size = a.threads_per_grid = grid;
  a.quadgroups_per_threadgroup = ceil_divide(threads, 4);
  a.simdgroups_per_threadgroup = ceil_divide(threads, 32);
  a.thread_execution_width = a.threads_per_simdgroup = 32;
  a.threadgroup_position_in_grid = group;
  a.threadgroups_per_grid = group_count();
  a.threads_per_threadgroup = size;
  for (uint i = 0; i < threads; ++i) {
    a.thread_index_in_threadgroup = i;
    a.thread_index_in_simdgroup = i % 32;
    a.simdgroup_index_in_threadgroup = i / 32;
    a.thread_index_in_quadgroup = i % 4;
    a.quadgroup_index_in_threadgroup = i / 4;
    a.thread_position_in_threadgroup = place_in(size, i);
    a.thread_position_in_grid = begin + a.thread_position_in_threadgroup;
    Fiber& fiber = fibers[i];
    fiber.state = ready;
    fiber.attributes = a;
    fiber.clocks[0] = fiber.clocks[1] = Clock{1, 1};
  }
  memory->begin_threadgroup();
}

void run_group(uint3 group) {
  prepare(group);
  std::vector<uint> runnable;
  do {
    for (uint s = 0; s * 32 < threads; ++s) runnable.push_back(s);
    while (!runnable.empty()) {
      const uint pick = random_below(uint(runnable.size()));
      run_simdgroup(runnable[pick]);
      if (meet_in_simdgroup(runnable[pick])) continue;
      runnable[pick] = runnable.back();
      runnable.pop_back();
    }
  } while (meet_in_threadgroup());
}

void run_all() {
  if (product(group_size) > most_threads)
    fail(bounds, 0, 0, "a threadgroup of %u threads: Metal has at most %u", product(group_size),
         most_threads);
  const uint count = product(group_count());
  group_order.resize(count);
  for (uint i = 0; i < count; ++i) group_order[i] = i;
  for (uint i = count; i > 1; --i) std::swap(group_order[i - 1], group_order[random_below(i)]);
  for (uint i = 0; i < count; ++i) {
    running.group = i + 1;
    run_group(place_in(group_count(), group_order[i]));
  }
  memory->check_written();
}

}  // namespace

const char* describe_thread(uint32_t group, uint32_t thread) {
  static char texts[4][100];
  static uint turn = 0;
  char* text = texts[turn++ % 4];
  if (group == 0 || group > group_order.size()) return "nobody";
  const uint3 at = place_in(group_count(), group_order[group - 1]);
  snprintf(text, sizeof texts[0], "thread %u of threadgroup (%u, %u, %u)", thread, at.x, at.y, at.z);
  return text;
}

}  // namespace machine

using namespace machine;

extern "C" {

void* machine_threadgroup_array(const void* key, const char* name, size_t size, size_t item) {
  Region* region = memory->find(key);
  if (!region) {
    region = memory->add(name, shared, size, item, false);
    if (!region) fail(bounds, 0, 0, "there is no room for threadgroup array '%s'", name);
    region->key = key;
  }
  return reinterpret_cast<void*>(region->start);
}

#define PLACE reinterpret_cast<uintptr_t>(__builtin_return_address(0))

void machine_threadgroup_barrier(uint flags) {
  Fiber& fiber = fibers[current];
  fiber.call = "threadgroup_barrier";
  fiber.place = PLACE;
  fiber.memory = flags;
  wait(at_barrier);
}

void machine_simdgroup_barrier(uint flags) {
  Fiber& fiber = fibers[current];
  fiber.call = "simdgroup_barrier";
  fiber.place = PLACE;
  fiber.memory = flags;
  fiber.combine = nullptr;
  fiber.uniform = false;
  wait(at_simd);
}

void machine_exchange(const char* name, Combine combine, const void* value, uint argument,
                      bool uniform, void* result) {
  Fiber& fiber = fibers[current];
  fiber.call = name;
  fiber.place = PLACE;
  fiber.memory = 0;
  fiber.combine = combine;
  fiber.value = value;
  fiber.result = result;
  fiber.argument = argument;
  fiber.uniform = uniform;
  wait(at_simd);
}

void machine_atomic(const void* address, size_t size, bool writes) {
  check_atomic(address, size, writes, PLACE);
}

// ---- what Python calls

struct Buffer {
  const char* name;
  void* data;
  uint64_t size, item;
  int32_t role, written;
};

// Runs the kernel once. An output's data is read if it is `written` before, and filled afterwards.
int machine_run(const Buffer* buffers, uint32_t count, const uint32_t* grid_, const uint32_t* group_,
                uint64_t seed, Fault* fault) {
  Memory own;
  memory = &own;
  begin_report(fault);
  grid = uint3(grid_[0], grid_[1], grid_[2]);
  group_size = metal::min(uint3(group_[0], group_[1], group_[2]), grid);
  random_state = (seed + 1) * 0x9e3779b97f4a7c15ull;
  running = Running();
  fibers.clear();
  fibers.reserve(most_threads);  // contexts must not move
  // One more in front, which nobody uses and nobody may touch.
  const size_t all_stacks = (most_threads + 1) * stack_size;
  void* const mapped = mmap(nullptr, all_stacks, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return -1;
  mprotect(mapped, stack_size, PROT_NONE);
  stacks = static_cast<char*>(mapped) + stack_size;
  const Watch watch;
  find_library(reinterpret_cast<void*>(machine_kernel));
  std::vector<void*> addresses(count);
  kernel_buffers = addresses.data();
  if (_setjmp(outside) == 0) {
    for (uint32_t i = 0; i < count; ++i) {
      const Buffer& buffer = buffers[i];
      Region* region = own.add(buffer.name, Role(buffer.role), buffer.size, buffer.item,
                               buffer.written != 0);
      if (!region) fail(bounds, 0, 0, "there is no room for buffer '%s'", buffer.name);
      addresses[i] = reinterpret_cast<void*>(region->start);
      if (buffer.written) memcpy(addresses[i], buffer.data, buffer.size);
    }
    if (product(grid) > 0) run_all();
    for (uint32_t i = 0; i < count; ++i)
      if (buffers[i].role == output) memcpy(buffers[i].data, addresses[i], buffers[i].size);
  }
  munmap(mapped, all_stacks);
  fibers.clear();
  memory = nullptr;
  return fault->kind;
}
}
