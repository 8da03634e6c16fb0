// The scalar types of the Metal language: names of the integers, half and bfloat, and their limits.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;

// Reinterprets bits. Both types must have one size, as in Metal.
template <typename To, typename From>
inline To as_type(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "as_type: the sizes differ");
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}

namespace machine {

constexpr uint bits_of(float x) { return __builtin_bit_cast(uint, x); }
constexpr float float_of(uint bits) { return __builtin_bit_cast(float, bits); }

// IEEE binary16 to binary32: exact.
constexpr float half_to_float(ushort h) {
  const uint sign = uint(h & 0x8000u) << 16;
  const uint exponent = (h >> 10) & 31u;
  const uint mantissa = h & 1023u;
  if (exponent == 31) return float_of(sign | 0x7f800000u | mantissa << 13);
  if (exponent != 0) return float_of(sign | (exponent + 112) << 23 | mantissa << 13);
  const float tiny = float(mantissa) * 0x1p-24f;  // zero and the subnormals
  return sign ? -tiny : tiny;
}

// binary32 to binary16, to nearest, ties to even.
constexpr ushort float_to_half(float x) {
  const uint bits = bits_of(x);
  const ushort sign = ushort((bits >> 16) & 0x8000u);
  const uint size = bits & 0x7fffffffu;
  if (size > 0x7f800000u) return ushort(sign | 0x7e00u | ((size >> 13) & 0x1ffu));
  if (size >= 0x47800000u) return ushort(sign | 0x7c00u);  // 65536 and above
  if (size < 0x38800000u) {  // below the least normal: the sum rounds to a multiple of 2^-24
    const float sum = float_of(size) + 0.5f;
    return ushort(sign | (bits_of(sum) - 0x3f000000u));
  }
  const uint even = (size >> 13) & 1u;
  return ushort(sign | ((size - 0x38000000u + 0xfffu + even) >> 13));  // may carry into infinity
}

// binary32 to its upper half, to nearest, ties to even; a NaN stays one.
constexpr ushort float_to_bfloat(float x) {
  const uint bits = bits_of(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return ushort(bits >> 16 | 0x40u);
  return ushort((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

template <typename T>
struct is_integer {
  static constexpr bool value = false;
};
#define MACHINE_INTEGER(T)             \
  template <>                          \
  struct is_integer<T> {               \
    static constexpr bool value = true; \
  };
MACHINE_INTEGER(bool)
MACHINE_INTEGER(char)
MACHINE_INTEGER(signed char)
MACHINE_INTEGER(unsigned char)
MACHINE_INTEGER(short)
MACHINE_INTEGER(unsigned short)
MACHINE_INTEGER(int)
MACHINE_INTEGER(unsigned int)
MACHINE_INTEGER(long)
MACHINE_INTEGER(unsigned long)
MACHINE_INTEGER(long long)
MACHINE_INTEGER(unsigned long long)
#undef MACHINE_INTEGER

template <bool B, typename T = int>
struct only_if {};
template <typename T>
struct only_if<true, T> {
  typedef T type;
};

}  // namespace machine

// half takes any number implicitly. Its arithmetic rounds after each operation.
struct half {
  ushort bits;
  half() = default;
  constexpr half(float x) : bits(machine::float_to_half(x)) {}
  template <typename I, typename machine::only_if<machine::is_integer<I>::value>::type = 0>
  constexpr half(I x) : bits(machine::float_to_half(float(x))) {}
  constexpr operator float() const { return machine::half_to_float(bits); }
};

// bfloat takes integers implicitly, but no float and no half: Metal demands a cast there
// (Metal Shading Language Specification, 2.1).
struct bfloat {
  ushort bits;
  bfloat() = default;
  constexpr explicit bfloat(float x) : bits(machine::float_to_bfloat(x)) {}
  constexpr explicit bfloat(half x) : bits(machine::float_to_bfloat(float(x))) {}
  template <typename I, typename machine::only_if<machine::is_integer<I>::value>::type = 0>
  constexpr bfloat(I x) : bits(machine::float_to_bfloat(float(x))) {}
  constexpr operator float() const { return machine::float_of(uint(bits) << 16); }
};

// Two of a kind, or one and an integer, stay of the kind; with a float, float's own operators serve.
#define MACHINE_OPERATOR(T, op)                                                                  \
  constexpr T operator op(T a, T b) { return T(float(a) op float(b)); }                         \
  template <typename I, typename machine::only_if<machine::is_integer<I>::value>::type = 0>      \
  constexpr T operator op(T a, I b) { return T(float(a) op float(T(b))); }                      \
  template <typename I, typename machine::only_if<machine::is_integer<I>::value>::type = 0>      \
  constexpr T operator op(I a, T b) { return T(float(T(a)) op float(b)); }                      \
  inline T& operator op##=(T& a, T b) { return a = a op b; }                                     \
  template <typename I, typename machine::only_if<machine::is_integer<I>::value>::type = 0>      \
  inline T& operator op##=(T& a, I b) { return a = a op b; }
#define MACHINE_FLOAT16(T)                                       \
  MACHINE_OPERATOR(T, +)                                         \
  MACHINE_OPERATOR(T, -)                                         \
  MACHINE_OPERATOR(T, *)                                         \
  MACHINE_OPERATOR(T, /)                                         \
  constexpr T operator-(T a) { return T(-float(a)); }            \
  constexpr T operator+(T a) { return a; }                       \
  inline T& operator++(T& a) { return a = a + T(1); }            \
  inline T& operator--(T& a) { return a = a - T(1); }
MACHINE_FLOAT16(half)
MACHINE_FLOAT16(bfloat)
// With a float the result is a float. It goes into a half variable implicitly, never into a bfloat.
#define MACHINE_ASSIGN(op)                                                 \
  constexpr float operator op(half a, float b) { return float(a) op b; }   \
  constexpr float operator op(float a, half b) { return a op float(b); }   \
  constexpr float operator op(bfloat a, float b) { return float(a) op b; } \
  constexpr float operator op(float a, bfloat b) { return a op float(b); } \
  inline half& operator op##=(half& a, float b) { return a = half(float(a) op b); }
MACHINE_ASSIGN(+)
MACHINE_ASSIGN(-)
MACHINE_ASSIGN(*)
MACHINE_ASSIGN(/)
#undef MACHINE_ASSIGN
#undef MACHINE_FLOAT16
#undef MACHINE_OPERATOR

// Neither of half and bfloat converts to the other, so they do not mix.
void operator+(half, bfloat) = delete;
void operator+(bfloat, half) = delete;
void operator-(half, bfloat) = delete;
void operator-(bfloat, half) = delete;
void operator*(half, bfloat) = delete;
void operator*(bfloat, half) = delete;
void operator/(half, bfloat) = delete;
void operator/(bfloat, half) = delete;

typedef half float16_t;
typedef bfloat bfloat16_t;

#define INFINITY (__builtin_inff())
#define NAN (__builtin_nanf(""))
#define HUGE_VALF (__builtin_inff())
#define MAXFLOAT 3.402823466e+38f
#define FLT_MAX 3.402823466e+38f
#define FLT_MIN 1.175494351e-38f
#define FLT_EPSILON 1.192092896e-07f
#define HALF_MAX half(65504.0f)
#define M_E_F 2.71828182845904523536f
#define M_LOG2E_F 1.44269504088896340736f
#define M_LN2_F 0.69314718055994530942f
#define M_PI_F 3.14159265358979323846f
#define M_PI_2_F 1.57079632679489661923f
#define M_1_PI_F 0.31830988618379067154f
#define M_SQRT2_F 1.41421356237309504880f

namespace metal {

// What is asked of numeric_limits in kernels: the ends of the range.
template <typename T>
struct numeric_limits {
  static constexpr bool is_signed = T(-1) < T(0);
  static constexpr T max() {
    return is_signed ? T((uint64_t(1) << (sizeof(T) * 8 - 1)) - 1) : T(~uint64_t(0));
  }
  static constexpr T min() { return is_signed ? T(-max() - 1) : T(0); }
  static constexpr T lowest() { return min(); }
};
#define MACHINE_LIMITS(T, greatest, least, step)                   \
  template <>                                                      \
  struct numeric_limits<T> {                                       \
    static constexpr T max() { return T(greatest); }               \
    static constexpr T lowest() { return T(-greatest); }           \
    static constexpr T min() { return T(least); }                  \
    static constexpr T epsilon() { return T(step); }               \
    static constexpr T infinity() { return T(INFINITY); }          \
    static constexpr T quiet_NaN() { return T(NAN); }              \
  };
MACHINE_LIMITS(float, FLT_MAX, FLT_MIN, FLT_EPSILON)
MACHINE_LIMITS(half, 65504.0f, 0x1p-14f, 0x1p-10f)
MACHINE_LIMITS(bfloat, 0x1.fep127f, 0x1p-126f, 0x1p-7f)
#undef MACHINE_LIMITS

}  // namespace metal
