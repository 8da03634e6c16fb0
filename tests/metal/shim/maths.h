// The mathematical functions of the Metal language, on scalars and, element by element, on vectors.
#pragma once
#include "vectors.h"

namespace metal {
namespace precise {}
namespace fast {}

#define MACHINE_EACH(N, expression)                    \
  {                                                    \
    vec<T, N> out;                                     \
    for (int i = 0; i < N; ++i) out.at[i] = expression; \
    return out;                                        \
  }

// A function of floats: half and bfloat go through float and round once.
#define MACHINE_MATHS_1(name, builtin)                                             \
  inline float name(float x) { return builtin(x); }                                \
  inline half name(half x) { return half(builtin(float(x))); }                     \
  inline bfloat name(bfloat x) { return bfloat(builtin(float(x))); }               \
  template <typename T, int N>                                                     \
  inline vec<T, N> name(const vec<T, N>& x) MACHINE_EACH(N, name(x.at[i]))         \
  namespace precise { using metal::name; }                                         \
  namespace fast { using metal::name; }
#define MACHINE_MATHS_2(name, builtin)                                             \
  inline float name(float x, float y) { return builtin(x, y); }                    \
  inline half name(half x, half y) { return half(builtin(float(x), float(y))); }   \
  inline bfloat name(bfloat x, bfloat y) { return bfloat(builtin(float(x), float(y))); } \
  template <typename T, int N>                                                     \
  inline vec<T, N> name(const vec<T, N>& x, const vec<T, N>& y)                    \
      MACHINE_EACH(N, name(x.at[i], y.at[i]))                                      \
  namespace precise { using metal::name; }                                         \
  namespace fast { using metal::name; }

}  // namespace metal

namespace machine {
inline float rsqrt(float x) { return 1.0f / __builtin_sqrtf(x); }
inline float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : x; }
inline float fract(float x) { return __builtin_fminf(x - __builtin_floorf(x), 0x1.fffffep-1f); }
inline float divide(float x, float y) { return x / y; }
inline float exp10(float x) { return __builtin_powf(10.0f, x); }
inline float step(float edge, float x) { return x < edge ? 0.0f : 1.0f; }
}  // namespace machine

namespace metal {

MACHINE_MATHS_1(exp, __builtin_expf)
MACHINE_MATHS_1(exp2, __builtin_exp2f)
MACHINE_MATHS_1(exp10, ::machine::exp10)
MACHINE_MATHS_1(expm1, __builtin_expm1f)
MACHINE_MATHS_1(log, __builtin_logf)
MACHINE_MATHS_1(log2, __builtin_log2f)
MACHINE_MATHS_1(log10, __builtin_log10f)
MACHINE_MATHS_1(log1p, __builtin_log1pf)
MACHINE_MATHS_1(sqrt, __builtin_sqrtf)
MACHINE_MATHS_1(rsqrt, ::machine::rsqrt)
MACHINE_MATHS_1(sin, __builtin_sinf)
MACHINE_MATHS_1(cos, __builtin_cosf)
MACHINE_MATHS_1(tan, __builtin_tanf)
MACHINE_MATHS_1(asin, __builtin_asinf)
MACHINE_MATHS_1(acos, __builtin_acosf)
MACHINE_MATHS_1(atan, __builtin_atanf)
MACHINE_MATHS_1(sinh, __builtin_sinhf)
MACHINE_MATHS_1(cosh, __builtin_coshf)
MACHINE_MATHS_1(tanh, __builtin_tanhf)
MACHINE_MATHS_1(erf, __builtin_erff)
MACHINE_MATHS_1(fabs, __builtin_fabsf)
MACHINE_MATHS_1(floor, __builtin_floorf)
MACHINE_MATHS_1(ceil, __builtin_ceilf)
MACHINE_MATHS_1(round, __builtin_roundf)
MACHINE_MATHS_1(rint, __builtin_rintf)
MACHINE_MATHS_1(trunc, __builtin_truncf)
MACHINE_MATHS_1(sign, ::machine::sign)
MACHINE_MATHS_1(fract, ::machine::fract)
MACHINE_MATHS_2(pow, __builtin_powf)
MACHINE_MATHS_2(powr, __builtin_powf)
MACHINE_MATHS_2(fmod, __builtin_fmodf)
MACHINE_MATHS_2(atan2, __builtin_atan2f)
MACHINE_MATHS_2(fmin, __builtin_fminf)
MACHINE_MATHS_2(fmax, __builtin_fmaxf)
MACHINE_MATHS_2(copysign, __builtin_copysignf)
MACHINE_MATHS_2(divide, ::machine::divide)
MACHINE_MATHS_2(step, ::machine::step)
#undef MACHINE_MATHS_1
#undef MACHINE_MATHS_2

inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline half fma(half a, half b, half c) { return half(__builtin_fmaf(a, b, c)); }
inline bfloat fma(bfloat a, bfloat b, bfloat c) { return bfloat(__builtin_fmaf(a, b, c)); }
template <typename T, int N>
inline vec<T, N> fma(const vec<T, N>& a, const vec<T, N>& b, const vec<T, N>& c)
    MACHINE_EACH(N, fma(a.at[i], b.at[i], c.at[i]))

// Both operands must be of one type: a mixed call is ambiguous in Metal too.
template <typename T>
constexpr T min(T a, T b) { return b < a ? b : a; }
template <typename T>
constexpr T max(T a, T b) { return a < b ? b : a; }
template <typename T>
constexpr T abs(T x) { return x < T(0) ? T(-x) : x; }
inline float abs(float x) { return __builtin_fabsf(x); }
inline half abs(half x) { return half(__builtin_fabsf(x)); }
inline bfloat abs(bfloat x) { return bfloat(__builtin_fabsf(x)); }
// A number beats a NaN, as with fmin and fmax.
inline float min(float a, float b) { return __builtin_fminf(a, b); }
inline float max(float a, float b) { return __builtin_fmaxf(a, b); }
inline half min(half a, half b) { return fmin(a, b); }
inline half max(half a, half b) { return fmax(a, b); }
inline bfloat min(bfloat a, bfloat b) { return fmin(a, b); }
inline bfloat max(bfloat a, bfloat b) { return fmax(a, b); }
template <typename T>
inline T clamp(T x, T low, T high) { return min(max(x, low), high); }
void min(half, float) = delete;
void min(float, half) = delete;
void max(half, float) = delete;
void max(float, half) = delete;
void min(bfloat, float) = delete;
void min(float, bfloat) = delete;
void max(bfloat, float) = delete;
void max(float, bfloat) = delete;

template <typename T, int N>
inline vec<T, N> min(vec<T, N> a, vec<T, N> b) MACHINE_EACH(N, metal::min(a.at[i], b.at[i]))
template <typename T, int N>
inline vec<T, N> max(vec<T, N> a, vec<T, N> b) MACHINE_EACH(N, metal::max(a.at[i], b.at[i]))
template <typename T, int N>
inline vec<T, N> min(vec<T, N> a, T b) MACHINE_EACH(N, metal::min(a.at[i], b))
template <typename T, int N>
inline vec<T, N> max(vec<T, N> a, T b) MACHINE_EACH(N, metal::max(a.at[i], b))
template <typename T, int N>
inline vec<T, N> clamp(vec<T, N> x, vec<T, N> low, vec<T, N> high)
    MACHINE_EACH(N, metal::clamp(x.at[i], low.at[i], high.at[i]))
template <typename T, int N>
inline vec<T, N> clamp(vec<T, N> x, T low, T high) MACHINE_EACH(N, metal::clamp(x.at[i], low, high))
template <typename T, int N>
inline vec<T, N> abs(vec<T, N> x) MACHINE_EACH(N, metal::abs(x.at[i]))

template <typename T>
inline T mix(T x, T y, T a) { return x + (y - x) * a; }
template <typename T>
inline T saturate(T x) { return clamp(x, T(0), T(1)); }
template <typename T>
inline T select(T a, T b, bool c) { return c ? b : a; }
template <typename T, int N>
inline vec<T, N> select(const vec<T, N>& a, const vec<T, N>& b, const vec<bool, N>& c)
    MACHINE_EACH(N, c.at[i] ? b.at[i] : a.at[i])
template <typename T, int N>
inline T dot(const vec<T, N>& a, const vec<T, N>& b) {
  T sum = a.at[0] * b.at[0];
  for (int i = 1; i < N; ++i) sum += a.at[i] * b.at[i];
  return sum;
}
template <typename T, int N>
inline T length_squared(const vec<T, N>& a) { return dot(a, a); }
template <typename T, int N>
inline T length(const vec<T, N>& a) { return sqrt(dot(a, a)); }

inline bool isnan(float x) { return __builtin_isnan(x); }
inline bool isinf(float x) { return __builtin_isinf(x); }
inline bool isfinite(float x) { return __builtin_isfinite(x); }
inline bool signbit(float x) { return __builtin_signbit(x); }
inline float ldexp(float x, int n) { return __builtin_ldexpf(x, n); }
template <int N>
inline bool all(const vec<bool, N>& x) {
  bool out = true;
  for (int i = 0; i < N; ++i) out = out && x.at[i];
  return out;
}
template <int N>
inline bool any(const vec<bool, N>& x) {
  bool out = false;
  for (int i = 0; i < N; ++i) out = out || x.at[i];
  return out;
}

// Integers. The unsigned image of a value keeps its width.
template <typename T>
constexpr uint64_t image(T x) { return uint64_t(x) & (~uint64_t(0) >> (64 - sizeof(T) * 8)); }
template <typename T>
constexpr T popcount(T x) { return T(__builtin_popcountll(image(x))); }
template <typename T>
constexpr T clz(T x) {
  return T(x == 0 ? sizeof(T) * 8 : __builtin_clzll(image(x)) - (64 - sizeof(T) * 8));
}
template <typename T>
constexpr T ctz(T x) { return T(x == 0 ? sizeof(T) * 8 : __builtin_ctzll(image(x))); }
inline int mulhi(int a, int b) { return int((int64_t(a) * b) >> 32); }
inline uint mulhi(uint a, uint b) { return uint((uint64_t(a) * b) >> 32); }
inline ulong mulhi(ulong a, ulong b) { return ulong((static_cast<unsigned __int128>(a) * b) >> 64); }
template <typename T>
constexpr T rotate(T x, T n) {
  const int width = sizeof(T) * 8, by = int(n) & (width - 1);
  return by == 0 ? x : T(image(x) << by | image(x) >> (width - by));
}
template <typename T>
constexpr T extract_bits(T x, uint offset, uint bits) {
  if (bits == 0) return T(0);
  const uint width = sizeof(T) * 8;  // shifting to the top and back carries the sign of signed types
  return T(T(x << (width - offset - bits)) >> (width - bits));
}
template <typename T>
constexpr T insert_bits(T base, T insert, uint offset, uint bits) {
  const uint64_t mask = (bits >= 64 ? ~uint64_t(0) : (uint64_t(1) << bits) - 1) << offset;
  return T((image(base) & ~mask) | ((image(insert) << offset) & mask));
}
template <typename T>
constexpr T reverse_bits(T x) {
  uint64_t out = 0;
  for (uint i = 0; i < sizeof(T) * 8; ++i) out = out << 1 | ((image(x) >> i) & 1);
  return T(out);
}
template <typename T>
constexpr T absdiff(T a, T b) { return a < b ? b - a : a - b; }
template <typename T>
constexpr T mad24(T a, T b, T c) { return a * b + c; }

#undef MACHINE_EACH

#define MACHINE_BOTH(name)                 \
  namespace precise { using metal::name; } \
  namespace fast { using metal::name; }
MACHINE_BOTH(fma)
MACHINE_BOTH(min)
MACHINE_BOTH(max)
MACHINE_BOTH(clamp)
MACHINE_BOTH(abs)
MACHINE_BOTH(isnan)
MACHINE_BOTH(isinf)
MACHINE_BOTH(mix)
#undef MACHINE_BOTH

// The traits that kernels ask for.
template <typename A, typename B>
struct is_same { static constexpr bool value = false; };
template <typename A>
struct is_same<A, A> { static constexpr bool value = true; };
template <typename A, typename B>
constexpr bool is_same_v = is_same<A, B>::value;
template <bool C, typename A, typename B>
struct conditional { typedef A type; };
template <typename A, typename B>
struct conditional<false, A, B> { typedef B type; };
template <bool C, typename A, typename B>
using conditional_t = typename conditional<C, A, B>::type;
template <bool C, typename T = void>
struct enable_if {};
template <typename T>
struct enable_if<true, T> { typedef T type; };
template <bool C, typename T = void>
using enable_if_t = typename enable_if<C, T>::type;

}  // namespace metal
