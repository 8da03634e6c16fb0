// What a kernel sees of the machine: its attributes, threadgroup memory, barriers and exchanges.
#pragma once
#include "vectors.h"

namespace machine {

// The attributes of one thread, under the names MLX gives the kernel's parameters.
struct Attributes {
  uint dispatch_quadgroups_per_threadgroup;
  uint dispatch_simdgroups_per_threadgroup;
  uint3 dispatch_threads_per_threadgroup;
  uint3 grid_origin;
  uint3 grid_size;
  uint quadgroup_index_in_threadgroup;
  uint quadgroups_per_threadgroup;
  uint simdgroup_index_in_threadgroup;
  uint simdgroups_per_threadgroup;
  uint thread_execution_width;
  uint thread_index_in_quadgroup;
  uint thread_index_in_simdgroup;
  uint thread_index_in_threadgroup;
  uint3 thread_position_in_grid;
  uint3 thread_position_in_threadgroup;
  uint3 threadgroup_position_in_grid;
  uint3 threadgroups_per_grid;
  uint3 threads_per_grid;
  uint threads_per_simdgroup;
  uint3 threads_per_threadgroup;
};

// The kernel, called once a thread. The build writes one such function for each kernel.
typedef void (*Entry)(void* const* buffers, const Attributes& attributes);

// Makes the results of one simdgroup from its values. `lanes` of them are there, values[i] and
// arguments[i] come from lane i and its result goes to results[i]. Returns the lane whose argument
// is invalid, or -1.
typedef int (*Combine)(uint lanes, const void* const* values, const uint* arguments,
                       void* const* results);

enum MemoryFlag : uint { no_memory = 0, device_memory = 1, threadgroup_memory = 2 };

}  // namespace machine

extern "C" {
// The address of a threadgroup array, the same for all threads of a threadgroup. `key` tells apart
// the arrays of a kernel.
void* machine_threadgroup_array(const void* key, const char* name, size_t size, size_t item);
void machine_threadgroup_barrier(uint memory);
void machine_simdgroup_barrier(uint memory);
// Waits for the whole simdgroup at this call. `uniform`: the argument must be the same in all lanes.
void machine_exchange(const char* name, machine::Combine combine, const void* value, uint argument,
                      bool uniform, void* result);
// An atomic access: checked as any other, but not a race with other atomic ones.
void machine_atomic(const void* address, size_t size, bool writes);
}
