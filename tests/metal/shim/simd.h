// Barriers, the functions of a simdgroup, and atomics.
#pragma once
#include "machine.h"
#include "maths.h"

namespace metal {

enum class mem_flags : uint { mem_none = 0, mem_device = 1, mem_threadgroup = 2, mem_texture = 4 };
constexpr mem_flags operator|(mem_flags a, mem_flags b) { return mem_flags(uint(a) | uint(b)); }

// Inlined, so that the machine sees the place of each call in the kernel.
#define MACHINE_INLINE inline __attribute__((always_inline))

MACHINE_INLINE void threadgroup_barrier(mem_flags flags) {
  machine_threadgroup_barrier(uint(flags));
}
MACHINE_INLINE void simdgroup_barrier(mem_flags flags) { machine_simdgroup_barrier(uint(flags)); }

struct simd_vote {
  typedef uint64_t vote_t;
  vote_t bits;
  explicit simd_vote(vote_t votes = 0) : bits(votes) {}
  explicit operator vote_t() const { return bits; }
  bool all() const { return bits == 0xffffffffu; }
  bool any() const { return bits != 0; }
};

}  // namespace metal

namespace machine {

template <typename T>
inline T load(const void* const* values, uint lane) {
  return *static_cast<const T*>(values[lane]);
}
template <typename T>
inline void store(void* const* results, uint lane, const T& x) {
  *static_cast<T*>(results[lane]) = x;
}

// bfloat is reduced in float and rounded once, as MLX's own overloads do.
template <typename T>
struct wide {
  typedef T type;
};
template <>
struct wide<bfloat> {
  typedef float type;
};

struct Sum {
  template <typename T>
  static T of(T a, T b) { return T(a + b); }
};
struct Product {
  template <typename T>
  static T of(T a, T b) { return T(a * b); }
};
struct Least {
  template <typename T>
  static T of(T a, T b) { return metal::min(a, b); }
};
struct Greatest {
  template <typename T>
  static T of(T a, T b) { return metal::max(a, b); }
};
struct And {
  template <typename T>
  static T of(T a, T b) { return T(a & b); }
};
struct Or {
  template <typename T>
  static T of(T a, T b) { return T(a | b); }
};
struct Xor {
  template <typename T>
  static T of(T a, T b) { return T(a ^ b); }
};

// Pairwise, as the hardware's butterfly does, among each `Width` lanes.
template <typename T, typename Op, uint Width>
int reduce(uint lanes, const void* const* values, const uint*, void* const* results) {
  typedef typename wide<T>::type W;
  for (uint base = 0; base < lanes; base += Width) {
    const uint width = lanes - base < Width ? lanes - base : Width;
    W partial[Width];
    for (uint i = 0; i < width; ++i) partial[i] = W(load<T>(values, base + i));
    for (uint count = width; count > 1; count = (count + 1) / 2)
      for (uint i = 0; i < count / 2; ++i) partial[i] = Op::of(partial[i], partial[count - 1 - i]);
    for (uint i = 0; i < width; ++i) store(results, base + i, T(partial[0]));
  }
  return -1;
}

template <typename T, typename Op, bool Inclusive>
int scan(uint lanes, const void* const* values, const uint*, void* const* results) {
  typedef typename wide<T>::type W;
  W so_far = Op::of(W(1), W(2)) == W(3) ? W(0) : W(1);  // what changes nothing under + or *
  for (uint i = 0; i < lanes; ++i) {
    const W next = Op::of(so_far, W(load<T>(values, i)));
    store(results, i, T(Inclusive ? next : so_far));
    so_far = next;
  }
  return -1;
}

enum Source { from_lane, from_below, from_above, from_xor };

// Shifts leave the lanes at the end as they are. A lane that the simdgroup lacks, because the
// threadgroup's last simdgroup is not full, has no value: all bits set stand for it.
template <typename T, Source S, uint Width>
int shuffle(uint lanes, const void* const* values, const uint* arguments, void* const* results) {
  for (uint i = 0; i < lanes; ++i) {
    const uint self = i % Width;
    uint from = arguments[i];
    if (S == from_xor) from ^= self;
    if (S == from_above) from = self + from < Width ? self + from : self;
    if (S == from_below) from = self >= from ? self - from : self;
    if (from >= Width) return int(i);
    from += i - self;
    if (from < lanes)
      store(results, i, load<T>(values, from));
    else
      __builtin_memset(static_cast<void*>(results[i]), 0xff, sizeof(T));
  }
  return -1;
}

template <typename T>
int first(uint lanes, const void* const* values, const uint*, void* const* results) {
  for (uint i = 0; i < lanes; ++i) store(results, i, load<T>(values, 0));
  return -1;
}

inline int ballot(uint lanes, const void* const* values, const uint*, void* const* results) {
  uint64_t votes = 0;
  for (uint i = 0; i < lanes; ++i) votes |= uint64_t(load<bool>(values, i)) << i;
  // An absent lane is no reason for simd_all to fail: its vote follows the others'.
  const uint64_t full = lanes == 32 ? 0xffffffffu : (uint64_t(1) << lanes) - 1;
  for (uint i = 0; i < lanes; ++i) store(results, i, votes == full ? 0xffffffffu : votes);
  return -1;
}

template <typename T>
MACHINE_INLINE T exchange(const char* name, Combine combine, T value, uint argument = 0,
                          bool uniform = false) {
  T result;
  machine_exchange(name, combine, &value, argument, uniform, &result);
  return result;
}

MACHINE_INLINE uint64_t votes(const char* name, bool value) {
  uint64_t result;
  machine_exchange(name, ballot, &value, 0, false, &result);
  return result;
}

}  // namespace machine

namespace metal {

#define MACHINE_REDUCTION(name, Op, width)                                           \
  template <typename T>                                                              \
  MACHINE_INLINE T name(T x) {                                                       \
    return ::machine::exchange(#name, ::machine::reduce<T, ::machine::Op, width>, x); \
  }
MACHINE_REDUCTION(simd_sum, Sum, 32)
MACHINE_REDUCTION(simd_product, Product, 32)
MACHINE_REDUCTION(simd_min, Least, 32)
MACHINE_REDUCTION(simd_max, Greatest, 32)
MACHINE_REDUCTION(simd_and, And, 32)
MACHINE_REDUCTION(simd_or, Or, 32)
MACHINE_REDUCTION(simd_xor, Xor, 32)
// The machine wants the whole simdgroup at a quadgroup's functions too.
MACHINE_REDUCTION(quad_sum, Sum, 4)
MACHINE_REDUCTION(quad_min, Least, 4)
MACHINE_REDUCTION(quad_max, Greatest, 4)
#undef MACHINE_REDUCTION

#define MACHINE_SCAN(name, Op, inclusive)                                                \
  template <typename T>                                                                  \
  MACHINE_INLINE T name(T x) {                                                           \
    return ::machine::exchange(#name, ::machine::scan<T, ::machine::Op, inclusive>, x);   \
  }
MACHINE_SCAN(simd_prefix_inclusive_sum, Sum, true)
MACHINE_SCAN(simd_prefix_exclusive_sum, Sum, false)
MACHINE_SCAN(simd_prefix_inclusive_product, Product, true)
MACHINE_SCAN(simd_prefix_exclusive_product, Product, false)
#undef MACHINE_SCAN

// Each but the plain shuffle wants the same argument in all lanes.
#define MACHINE_SHUFFLE(name, source, uniform, width)                                         \
  template <typename T>                                                                       \
  MACHINE_INLINE T name(T x, ushort argument) {                                               \
    return ::machine::exchange(#name, ::machine::shuffle<T, ::machine::source, width>, x,     \
                               argument, uniform);                                            \
  }
MACHINE_SHUFFLE(simd_shuffle, from_lane, false, 32)
MACHINE_SHUFFLE(simd_shuffle_xor, from_xor, true, 32)
MACHINE_SHUFFLE(simd_shuffle_down, from_above, true, 32)
MACHINE_SHUFFLE(simd_shuffle_up, from_below, true, 32)
MACHINE_SHUFFLE(simd_broadcast, from_lane, true, 32)
MACHINE_SHUFFLE(quad_shuffle, from_lane, false, 4)
MACHINE_SHUFFLE(quad_shuffle_xor, from_xor, true, 4)
MACHINE_SHUFFLE(quad_shuffle_down, from_above, true, 4)
MACHINE_SHUFFLE(quad_shuffle_up, from_below, true, 4)
MACHINE_SHUFFLE(quad_broadcast, from_lane, true, 4)
#undef MACHINE_SHUFFLE

template <typename T>
MACHINE_INLINE T simd_broadcast_first(T x) {
  return ::machine::exchange("simd_broadcast_first", ::machine::first<T>, x);
}
MACHINE_INLINE bool simd_any(bool x) { return ::machine::votes("simd_any", x) != 0; }
MACHINE_INLINE bool simd_all(bool x) { return ::machine::votes("simd_all", x) == 0xffffffffu; }
MACHINE_INLINE simd_vote simd_ballot(bool x) {
  return simd_vote(::machine::votes("simd_ballot", x));
}
// Atomics: relaxed is the only order Metal has for them.
enum memory_order { memory_order_relaxed };
template <typename T>
struct atomic {
  T value;
};
typedef atomic<int> atomic_int;
typedef atomic<uint> atomic_uint;
typedef atomic<float> atomic_float;
typedef atomic<bool> atomic_bool;

#define MACHINE_NO_HOOKS __attribute__((no_sanitize_thread, noinline))
template <typename T>
MACHINE_NO_HOOKS T atomic_load_explicit(const volatile atomic<T>* a, memory_order) {
  machine_atomic(const_cast<const atomic<T>*>(a), sizeof(T), false);
  return a->value;
}
template <typename T>
MACHINE_NO_HOOKS void atomic_store_explicit(volatile atomic<T>* a, T x, memory_order) {
  machine_atomic(const_cast<const atomic<T>*>(a), sizeof(T), true);
  a->value = x;
}
#define MACHINE_FETCH(name, expression)                                                     \
  template <typename T, typename U>                                                         \
  MACHINE_NO_HOOKS T name(volatile atomic<T>* a, U operand, memory_order) {                 \
    machine_atomic(const_cast<const atomic<T>*>(a), sizeof(T), true);                       \
    const T old = a->value, x = T(operand);                                                 \
    a->value = (expression);                                                                \
    return old;                                                                             \
  }
MACHINE_FETCH(atomic_exchange_explicit, x)
MACHINE_FETCH(atomic_fetch_add_explicit, T(old + x))
MACHINE_FETCH(atomic_fetch_sub_explicit, T(old - x))
MACHINE_FETCH(atomic_fetch_min_explicit, x < old ? x : old)
MACHINE_FETCH(atomic_fetch_max_explicit, old < x ? x : old)
MACHINE_FETCH(atomic_fetch_and_explicit, T(old & x))
MACHINE_FETCH(atomic_fetch_or_explicit, T(old | x))
MACHINE_FETCH(atomic_fetch_xor_explicit, T(old ^ x))
#undef MACHINE_FETCH

}  // namespace metal
