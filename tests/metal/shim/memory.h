// The memory a kernel may touch, and what the machine remembers about each access to it.
#pragma once
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>

#include <vector>

namespace machine {

// ---- faults

enum Kind {
  no_fault,
  race,
  bounds,
  barrier,
  uninitialised,
  unwritten,
  alignment,
  arithmetic,
  endless
};

struct Fault {
  int kind;
  char text[1000];
  uint64_t places[2];  // in the kernel's code, from the start of the library; 0 where unknown
};

extern jmp_buf outside;  // where a run that is left goes on
void begin_report(Fault* fault);

// Notes the fault and leaves the run, without a return. A fault that was postponed comes first,
// unless this one is a race.
[[noreturn]] void fail(Kind kind, uintptr_t place, uintptr_t other_place, const char* format, ...)
    __attribute__((format(printf, 4, 5)));

// A read of what nobody has written may be half of a race whose writer comes later: the run goes on
// until the threads next meet, so that the race is what is told.
void postpone(Kind kind, uintptr_t place, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
void tell_postponed();  // fails if something was postponed

// ---- who is running

// A thread's clocks count the barriers it has passed that order one kind of memory.
struct Clock {
  uint32_t threadgroup, simdgroup;  // the second counts the barriers of both kinds
};

struct Running {
  uint32_t group;   // 1 for the first threadgroup that runs
  uint32_t thread;  // in the threadgroup
  Clock clocks[2];  // for device memory, for threadgroup memory
  uintptr_t stack;
  size_t stack_size;
};
extern Running running;

// "thread 5 of threadgroup (1, 0, 0)", in one of a few static buffers.
const char* describe_thread(uint32_t group, uint32_t thread);

// ---- regions

enum Role { input, shape, output, shared };

struct Access {
  uint32_t group;  // 0: nobody
  uint32_t thread : 10, place : 22;
  Clock clock;
};
struct Cell {
  Access write, reads[2];
};

struct Region {
  char name[64];
  Role role;
  uintptr_t start;
  size_t size, item;
  size_t grain;  // bytes a cell stands for; falls to 1 when an access asks for it
  std::vector<Cell> cells;
  const void* key;  // of a threadgroup array
};

class Memory {
 public:
  Memory();
  ~Memory();
  Memory(const Memory&) = delete;
  // A buffer with guard zones around it; nullptr if there is no room.
  Region* add(const char* name, Role role, size_t size, size_t item, bool written);
  Region* find(const void* key);  // a threadgroup array that is there already
  void begin_threadgroup();       // its arrays hold garbage again
  void check_written();           // every byte of every output
  std::vector<Region*> regions;

 private:
  size_t top_;
  size_t shared_size_ = 0;
  unsigned shared_count_ = 0;
};

// Makes every access fail from now on, because the run takes too long. Safe in a signal handler.
void expire();

void check_atomic(const void* address, size_t size, bool writes, uintptr_t place);

// The kernel's own code and constants.
void find_library(const void* function);
uint64_t offset_in_library(uintptr_t place);

// Signals that would end the process become faults, and so does a run without end.
class Watch {
 public:
  Watch();
  ~Watch();
  Watch(const Watch&) = delete;
};

// While this holds, accesses are the machine's own and are not checked.
class Unchecked {
 public:
  Unchecked() : stack_(running.stack), size_(running.stack_size) {
    running.stack = 0;
    running.stack_size = SIZE_MAX;
  }
  ~Unchecked() {
    running.stack = stack_;
    running.stack_size = size_;
  }

 private:
  uintptr_t stack_;
  size_t size_;
};

}  // namespace machine
