// Checks every load and store of a kernel: bounds, alignment, order, and whether it was written.
//
// The kernel is compiled with -fsanitize=thread but not linked with that sanitizer's library: the
// calls the compiler puts before each access come here.
#include "memory.h"

#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

namespace machine {

namespace {

constexpr size_t page = 4096, guard = size_t(1) << 20, reserve = size_t(1) << 36;
constexpr size_t shared_limit = 32768;  // Metal's, per threadgroup
constexpr unsigned most_arrays = 31;    // and so many separate ones

// Buffers own whole pages of one reserved stretch of addresses, so a page's number finds its buffer.
uintptr_t arena = 0;
size_t arena_used = 0;  // what `owner` covers
volatile bool expired = false;
std::vector<uint16_t> owner;  // by page: 0 for a guard zone, else the region's index + 1
Region* const* table = nullptr;
Memory* memory = nullptr;

uintptr_t code_start = 0, code_end = 0;
struct Range {
  uintptr_t start, end;
};
std::vector<Range> constants;

int note_segment(dl_phdr_info* info, size_t, void* wanted) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(wanted);
  bool ours = false;
  uintptr_t end = 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    const uintptr_t start = info->dlpi_addr + segment.p_vaddr;
    if (segment.p_type != PT_LOAD) continue;
    ours = ours || (address >= start && address < start + segment.p_memsz);
    end = start + segment.p_memsz;
  }
  if (!ours) return 0;
  code_start = info->dlpi_addr;
  code_end = end;
  constants.clear();
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    const uintptr_t start = info->dlpi_addr + segment.p_vaddr;
    const bool fixed = segment.p_type == PT_LOAD && !(segment.p_flags & PF_W);
    if (fixed || segment.p_type == PT_GNU_RELRO)
      constants.push_back({start, start + segment.p_memsz});
  }
  return 1;
}

// How far two accesses of different threads are from being ordered: 0 is ordered. The larger the
// distance, the more threads are unordered with the earlier one, so the longer it is kept.
int distance(const Access& before, const Access& now) {
  if (before.group == 0) return 0;
  if (before.group != now.group) return 3;
  if (before.thread == now.thread) return 0;
  if (before.clock.threadgroup < now.clock.threadgroup) return 0;
  if (before.thread / 32 != now.thread / 32) return 2;
  return before.clock.simdgroup < now.clock.simdgroup ? 0 : 1;
}

const char* describe_element(const Region& region, intptr_t offset) {
  static char text[160];
  const intptr_t item = intptr_t(region.item);
  const intptr_t element = offset >= 0 ? offset / item : -((item - 1 - offset) / item);
  static const char* const roles[] = {"input", "argument", "output", "threadgroup array"};
  snprintf(text, sizeof text, "%s '%s' at element %ld of %zu (byte %ld of %zu)", roles[region.role],
           region.name, long(element), region.size / region.item, long(offset), region.size);
  return text;
}

[[noreturn]] void fail_race(const Region& region, size_t offset, const Access& before,
                            bool before_wrote, const Access& now, bool writes, uintptr_t place) {
  const char* why = before.group != now.group ? "threadgroups have no order among them"
                    : before.thread / 32 != now.thread / 32
                        ? "no threadgroup_barrier with this memory's flag stands between"
                        : "no simdgroup_barrier with this memory's flag stands between";
  fail(race, place, before.place ? code_start + before.place : 0,
       "%s %s %s, which %s had %s: %s", describe_thread(now.group, now.thread),
       writes ? "writes" : "reads", describe_element(region, intptr_t(offset)),
       describe_thread(before.group, before.thread), before_wrote ? "written" : "read", why);
}

void refine(Region& region) {
  std::vector<Cell> finer(region.size);
  for (size_t i = 0; i < region.size; ++i) finer[i] = region.cells[i / region.grain];
  region.cells.swap(finer);
  region.grain = 1;
}

void remember_read(Cell& cell, const Access& now) {
  Access* reads = cell.reads;
  const bool first = reads[0].group == now.group && reads[0].thread == now.thread;
  const bool second = reads[1].group == now.group && reads[1].thread == now.thread;
  if (second || (!first && distance(reads[0], now) > distance(reads[1], now))) reads[1] = reads[0];
  reads[0] = now;
}

void check_order(Region& region, size_t offset, size_t size, bool writes, uintptr_t place) {
  if ((offset | size) & (region.grain - 1)) refine(region);
  const uint64_t spot = place - code_start;
  const Access now = {running.group, running.thread, uint32_t(spot < (1u << 22) ? spot : 0),
                      running.clocks[region.role == shared]};
  const size_t last = (offset + size - 1) / region.grain;
  for (size_t i = offset / region.grain; i <= last; ++i) {
    Cell& cell = region.cells[i];
    // What an earlier threadgroup left in a threadgroup array is gone.
    if (region.role == shared && cell.write.group != now.group) cell.write.group = 0;
    for (Access& read : cell.reads)
      if (region.role == shared && read.group != now.group) read.group = 0;
    const bool host = cell.write.group == UINT32_MAX;  // filled before the kernel ran
    if (!host && distance(cell.write, now) > 0)
      fail_race(region, i * region.grain, cell.write, true, now, writes, place);
    if (writes) {
      for (const Access& read : cell.reads)
        if (distance(read, now) > 0)
          fail_race(region, i * region.grain, read, false, now, writes, place);
      cell.write = now;
      cell.reads[0].group = cell.reads[1].group = 0;
    } else {
      if (cell.write.group == 0)
        postpone(uninitialised, place, "%s reads %s, which nobody has written%s",
                 describe_thread(now.group, now.thread),
                 describe_element(region, intptr_t(i * region.grain)),
                 region.role == shared ? " in this threadgroup" : "");
      remember_read(cell, now);
    }
  }
}

[[noreturn]] void fail_bounds(uintptr_t address, size_t size, bool writes, uintptr_t place) {
  const char* const verb = writes ? "writes" : "reads";
  const char* const who = describe_thread(running.group, running.thread);
  const Region* nearest = nullptr;
  size_t best = guard / 2;
  for (const Region* region : memory->regions) {
    const uintptr_t end = region->start + region->size;
    const size_t away = address < region->start ? region->start - address
                        : address >= end        ? address - end
                                                : 0;
    if (away >= best) continue;
    best = away;
    nearest = region;
  }
  if (nearest)
    fail(bounds, place, 0, "%s %s %zu bytes outside %s", who, verb, size,
         describe_element(*nearest, intptr_t(address - nearest->start)));
  fail(bounds, place, 0, "%s %s %zu bytes at an address that belongs to no array (%#lx): a wild "
       "pointer, or another thread's own memory", who, verb, size, long(address));
}

// What is neither on the thread's own stack nor in a buffer.
__attribute__((noinline)) void check_elsewhere(uintptr_t address, size_t size, bool writes,
                                               uintptr_t place) {
  if (expired) fail(endless, place, 0, "%s is still running after a minute",
                    describe_thread(running.group, running.thread));
  if (!writes)
    for (const Range& range : constants)
      if (address >= range.start && address + size <= range.end) return;
  fail_bounds(address, size, writes, place);
}

__attribute__((noinline)) void check_alignment(uintptr_t address, size_t size, bool writes,
                                               uintptr_t place) {
  const size_t index = (address - arena) / page;
  const uint16_t id = address >= arena && index < owner.size() ? owner[index] : 0;
  char where[200] = "its own memory";
  if (id != 0)
    snprintf(where, sizeof where, "%s",
             describe_element(*table[id - 1], intptr_t(address - table[id - 1]->start)));
  fail(alignment, place, 0, "%s %s %zu bytes of %s: not a multiple of %zu bytes from its start",
       describe_thread(running.group, running.thread), writes ? "writes" : "reads", size, where,
       size);
}

template <bool Writes>
inline __attribute__((always_inline)) void check(const void* pointer, size_t size, size_t align,
                                                 uintptr_t place) {
  const uintptr_t address = reinterpret_cast<uintptr_t>(pointer);
  if (__builtin_expect(address & (align - 1), 0)) check_alignment(address, size, Writes, place);
  if (address - running.stack < running.stack_size) return;
  const size_t offset = address - arena;
  if (__builtin_expect(offset >= arena_used, 0))
    return check_elsewhere(address, size, Writes, place);
  const uint16_t id = owner[offset / page];
  if (__builtin_expect(id == 0, 0)) fail_bounds(address, size, Writes, place);
  Region& region = *table[id - 1];
  const size_t inside = address - region.start;
  if (__builtin_expect(inside + size > region.size, 0)) fail_bounds(address, size, Writes, place);
  if (region.role <= shape) {
    if (Writes)
      fail(bounds, place, 0, "%s writes %s, which is not an output",
           describe_thread(running.group, running.thread),
           describe_element(region, intptr_t(inside)));
    return;
  }
  check_order(region, inside, size, Writes, place);
}

}  // namespace

Memory::Memory() : top_(guard) {
  void* at = mmap(nullptr, reserve, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  arena = at == MAP_FAILED ? 0 : reinterpret_cast<uintptr_t>(at);
  arena_used = 0;
  expired = false;
  owner.clear();
  regions.reserve(1024);
  table = regions.data();
  memory = this;
}

Memory::~Memory() {
  if (arena) munmap(reinterpret_cast<void*>(arena), reserve);
  arena = arena_used = 0;
  for (Region* region : regions) delete region;
  memory = nullptr;
}

Region* Memory::add(const char* name, Role role, size_t size, size_t item, bool written) {
  const size_t pages = (size + page - 1) / page;
  if (!arena || top_ + pages * page + guard > reserve || regions.size() == 1024) return nullptr;
  Region* region = new Region();
  snprintf(region->name, sizeof region->name, "%s", name);
  region->role = role;
  region->start = arena + top_;
  region->size = size;
  region->item = item;
  region->grain = size % 4 == 0 && item % 4 == 0 ? 4 : item % 2 == 0 ? 2 : 1;
  regions.push_back(region);
  top_ += pages * page + guard;
  owner.resize(top_ / page);
  if (!expired) arena_used = top_;
  for (size_t i = 0; i < pages; ++i)
    owner[(region->start - arena) / page + i] = uint16_t(regions.size());
  memset(reinterpret_cast<void*>(region->start), 0xff, size);
  if (role >= output) region->cells.resize((size + region->grain - 1) / region->grain);
  if (written)
    for (Cell& cell : region->cells) cell.write.group = UINT32_MAX;
  if (role == shared) {
    if (++shared_count_ > most_arrays)
      fail(bounds, 0, 0, "threadgroup array '%s' is one too many: Metal has room for %u", name,
           most_arrays);
    shared_size_ += (size + 15) / 16 * 16;
    if (shared_size_ > shared_limit)
      fail(bounds, 0, 0, "threadgroup array '%s' brings threadgroup memory to %zu bytes: Metal has "
           "%zu", name, shared_size_, shared_limit);
  }
  return region;
}

Region* Memory::find(const void* key) {
  for (Region* region : regions)
    if (region->role == shared && region->key == key) return region;
  return nullptr;
}

void Memory::begin_threadgroup() {
  for (Region* region : regions)
    if (region->role == shared) memset(reinterpret_cast<void*>(region->start), 0xff, region->size);
}

void Memory::check_written() {
  for (const Region* region : regions) {
    if (region->role != output) continue;
    size_t missing = 0, first = 0;
    for (size_t i = region->cells.size(); i-- > 0;)
      if (region->cells[i].write.group == 0) {
        ++missing;
        first = i * region->grain;
      }
    if (missing)
      fail(unwritten, 0, 0, "nobody has written %s, nor %zu more bytes behind it",
           describe_element(*region, intptr_t(first)), (missing - 1) * region->grain);
  }
}

void check_atomic(const void* address, size_t size, bool writes, uintptr_t place) {
  const uintptr_t at = reinterpret_cast<uintptr_t>(address);
  if (at & (size - 1)) check_alignment(at, size, writes, place);
  const size_t index = (at - arena) / page;
  const uint16_t id = at >= arena && index < owner.size() ? owner[index] : 0;
  if (id == 0 || at + size > table[id - 1]->start + table[id - 1]->size ||
      table[id - 1]->role <= shape)
    fail_bounds(at, size, writes, place);
  Region& region = *table[id - 1];
  const size_t inside = at - region.start;
  for (size_t i = inside / region.grain; i <= (inside + size - 1) / region.grain; ++i) {
    Cell& cell = region.cells[i];
    const bool stale = region.role == shared && cell.write.group != running.group;
    if (!writes && (cell.write.group == 0 || stale))
      postpone(uninitialised, place, "%s reads %s, which nobody has written",
               describe_thread(running.group, running.thread),
               describe_element(region, intptr_t(inside)));
    if (!writes) continue;
    cell.write = {running.group, running.thread, 0, running.clocks[region.role == shared]};
    // Whatever follows on an output may come from any threadgroup.
    if (region.role == output) cell.write.group = UINT32_MAX;
  }
}

void expire() {
  expired = true;
  arena_used = 0;
  running.stack_size = 0;
}

void find_library(const void* function) {
  dl_iterate_phdr(note_segment, const_cast<void*>(function));
}

uint64_t offset_in_library(uintptr_t place) {
  return place >= code_start && place < code_end ? place - code_start : 0;
}

}  // namespace machine

// ---- what the compiler calls

#define PLACE reinterpret_cast<uintptr_t>(__builtin_return_address(0))
#define HOOKS(size)                                                                              \
  void __tsan_read##size(void* a) { machine::check<false>(a, size, size, PLACE); }               \
  void __tsan_write##size(void* a) { machine::check<true>(a, size, size, PLACE); }               \
  void __tsan_unaligned_read##size(void* a) { machine::check<false>(a, size, 1, PLACE); }        \
  void __tsan_unaligned_write##size(void* a) { machine::check<true>(a, size, 1, PLACE); }        \
  void __tsan_volatile_read##size(void* a) { machine::check<false>(a, size, size, PLACE); }      \
  void __tsan_volatile_write##size(void* a) { machine::check<true>(a, size, size, PLACE); }
extern "C" {
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
HOOKS(1)
HOOKS(2)
HOOKS(4)
HOOKS(8)
HOOKS(16)
void __tsan_read_range(void* a, size_t size) {
  if (size) machine::check<false>(a, size, 1, PLACE);
}
void __tsan_write_range(void* a, size_t size) {
  if (size) machine::check<true>(a, size, 1, PLACE);
}
}
