// The vector types of the Metal language. A vector is loaded and stored as a whole, so that the
// machine sees one access of its full size and can check its alignment.
#pragma once
#include "numbers.h"

namespace machine {

template <typename T, int N>
struct elements;
template <typename T>
struct elements<T, 2> {
  union {
    struct {
      T x, y;
    };
    struct {
      T r, g;
    };
    T at[2];
    unsigned char whole __attribute__((vector_size(2 * sizeof(T)), may_alias));
  };
};
template <typename T>
struct elements<T, 3> {  // as large as four
  union {
    struct {
      T x, y, z;
    };
    struct {
      T r, g, b;
    };
    T at[3];
    unsigned char whole __attribute__((vector_size(4 * sizeof(T)), may_alias));
  };
};
template <typename T>
struct elements<T, 4> {
  union {
    struct {
      T x, y, z, w;
    };
    struct {
      T r, g, b, a;
    };
    T at[4];
    unsigned char whole __attribute__((vector_size(4 * sizeof(T)), may_alias));
  };
};

}  // namespace machine

namespace metal {

template <typename T, int N>
struct vec : machine::elements<T, N> {
  static constexpr int size = N;
  vec() = default;
  vec(const vec& other) { this->whole = other.whole; }
  vec& operator=(const vec& other) {
    this->whole = other.whole;
    return *this;
  }
  vec(T all) {
    for (int i = 0; i < N; ++i) this->at[i] = all;
  }
  template <typename U>
  explicit vec(const vec<U, N>& other) {
    for (int i = 0; i < N; ++i) this->at[i] = T(other.at[i]);
  }
  // From parts: scalars and shorter vectors whose lengths add up.
  template <typename A, typename B, typename... Rest>
  vec(const A& a, const B& b, const Rest&... rest) {
    put<0>(a, b, rest...);
  }
  T& operator[](int i) { return this->at[i]; }
  const T& operator[](int i) const { return this->at[i]; }

#define MACHINE_SWIZZLE(name, M, ...)             \
  const vec<T, M> name() const {                  \
    constexpr int order[] = {__VA_ARGS__};        \
    static_assert(order[M - 1] < N && order[0] < N, "no such element"); \
    vec<T, M> out;                                \
    for (int i = 0; i < M; ++i) out.at[i] = this->at[order[i]]; \
    return out;                                   \
  }
  MACHINE_SWIZZLE(xy, 2, 0, 1)
  MACHINE_SWIZZLE(yx, 2, 1, 0)
  MACHINE_SWIZZLE(yz, 2, 1, 2)
  MACHINE_SWIZZLE(xz, 2, 0, 2)
  MACHINE_SWIZZLE(zw, 2, 2, 3)
  MACHINE_SWIZZLE(xyz, 3, 0, 1, 2)
  MACHINE_SWIZZLE(yzw, 3, 1, 2, 3)
#undef MACHINE_SWIZZLE

#define MACHINE_OPERATOR(op)                                                   \
  friend vec operator op(const vec& a, const vec& b) {                         \
    vec out;                                                                   \
    for (int i = 0; i < N; ++i) out.at[i] = T(a.at[i] op b.at[i]);             \
    return out;                                                                \
  }                                                                            \
  friend vec operator op(const vec& a, T b) { return a op vec(b); }            \
  friend vec operator op(T a, const vec& b) { return vec(a) op b; }            \
  friend vec& operator op##=(vec& a, const vec& b) { return a = a op b; }      \
  friend vec& operator op##=(vec& a, T b) { return a = a op vec(b); }
  MACHINE_OPERATOR(+)
  MACHINE_OPERATOR(-)
  MACHINE_OPERATOR(*)
  MACHINE_OPERATOR(/)
  MACHINE_OPERATOR(%)
  MACHINE_OPERATOR(&)
  MACHINE_OPERATOR(|)
  MACHINE_OPERATOR(^)
  MACHINE_OPERATOR(<<)
  MACHINE_OPERATOR(>>)
#undef MACHINE_OPERATOR
#define MACHINE_COMPARISON(op)                                                 \
  friend vec<bool, N> operator op(const vec& a, const vec& b) {                \
    vec<bool, N> out;                                                          \
    for (int i = 0; i < N; ++i) out.at[i] = a.at[i] op b.at[i];                \
    return out;                                                                \
  }                                                                            \
  friend vec<bool, N> operator op(const vec& a, T b) { return a op vec(b); }
  MACHINE_COMPARISON(==)
  MACHINE_COMPARISON(!=)
  MACHINE_COMPARISON(<)
  MACHINE_COMPARISON(<=)
  MACHINE_COMPARISON(>)
  MACHINE_COMPARISON(>=)
#undef MACHINE_COMPARISON
  friend vec operator-(const vec& a) {
    vec out;
    for (int i = 0; i < N; ++i) out.at[i] = -a.at[i];
    return out;
  }
  friend vec operator~(const vec& a) {
    vec out;
    for (int i = 0; i < N; ++i) out.at[i] = T(~a.at[i]);
    return out;
  }

 private:
  template <int I>
  void put() {
    static_assert(I == N, "the parts of a vector must add up to its length");
  }
  template <int I, typename... Rest>
  void put(const T& part, const Rest&... rest) {
    this->at[I] = part;
    put<I + 1>(rest...);
  }
  template <int I, int M, typename... Rest>
  void put(const vec<T, M>& part, const Rest&... rest) {
    for (int i = 0; i < M; ++i) this->at[I + i] = part.at[i];
    put<I + M>(rest...);
  }
};

// Packed vectors are aligned as their elements and have no fourth element behind three.
template <typename T, int N>
struct packed_vec {
  T at[N];
  packed_vec() = default;
  packed_vec(const vec<T, N>& other) {
    for (int i = 0; i < N; ++i) at[i] = other.at[i];
  }
  operator vec<T, N>() const {
    vec<T, N> out;
    for (int i = 0; i < N; ++i) out.at[i] = at[i];
    return out;
  }
  T& operator[](int i) { return at[i]; }
  const T& operator[](int i) const { return at[i]; }
};

}  // namespace metal

#define MACHINE_VECTORS(T)               \
  typedef metal::vec<T, 2> T##2;         \
  typedef metal::vec<T, 3> T##3;         \
  typedef metal::vec<T, 4> T##4;         \
  typedef metal::packed_vec<T, 2> packed_##T##2; \
  typedef metal::packed_vec<T, 3> packed_##T##3; \
  typedef metal::packed_vec<T, 4> packed_##T##4;
MACHINE_VECTORS(bool)
MACHINE_VECTORS(char)
MACHINE_VECTORS(uchar)
MACHINE_VECTORS(short)
MACHINE_VECTORS(ushort)
MACHINE_VECTORS(int)
MACHINE_VECTORS(uint)
MACHINE_VECTORS(long)
MACHINE_VECTORS(ulong)
MACHINE_VECTORS(half)
MACHINE_VECTORS(bfloat)
MACHINE_VECTORS(float)
#undef MACHINE_VECTORS
