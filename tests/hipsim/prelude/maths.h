// Device functions by their C names (libm has them), the fast ones, and the bit tricks.
#pragma once

extern "C" {
float expf(float), exp2f(float), exp10f(float), logf(float), log2f(float), log10f(float);
float log1pf(float), expm1f(float), powf(float, float), sqrtf(float), cbrtf(float);
float sinf(float), cosf(float), tanf(float), asinf(float), acosf(float), atanf(float);
float atan2f(float, float), sinhf(float), coshf(float), tanhf(float), erff(float), erfcf(float);
float floorf(float), ceilf(float), truncf(float), roundf(float), rintf(float), nearbyintf(float);
float fabsf(float), fmodf(float, float), fmaxf(float, float), fminf(float, float);
float fmaf(float, float, float), copysignf(float, float), ldexpf(float, int);
double exp(double), log(double), sqrt(double), pow(double, double), sin(double), cos(double);
double floor(double), ceil(double), fabs(double), fmax(double, double), fmin(double, double);
void sincosf(float, float*, float*);
void* memcpy(void*, const void*, unsigned long);
void* memset(void*, int, unsigned long);
}

inline float __expf(float x) { return expf(x); }
inline float __exp2f(float x) { return exp2f(x); }
inline float __logf(float x) { return logf(x); }
inline float __log2f(float x) { return log2f(x); }
inline float __sinf(float x) { return sinf(x); }
inline float __cosf(float x) { return cosf(x); }
inline float __powf(float x, float y) { return powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return sqrtf(x); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline float __frsqrt_rn(float x) { return rsqrtf(x); }
inline float __builtin_amdgcn_rcpf(float x) { return 1.0f / x; }
inline float __builtin_amdgcn_rsqf(float x) { return rsqrtf(x); }
inline float __builtin_amdgcn_sqrtf(float x) { return sqrtf(x); }
inline float __builtin_amdgcn_exp2f(float x) { return exp2f(x); }
inline float __builtin_amdgcn_logf(float x) { return log2f(x); }
inline float __builtin_amdgcn_fmed3f(float a, float b, float c) {
  return fmaxf(fminf(a, b), fminf(fmaxf(a, b), c));
}

template <class T>
inline T max(T a, T b) {
  return a > b ? a : b;
}
template <class T>
inline T min(T a, T b) {
  return a < b ? a : b;
}

template <class To, class From>
inline To hipsim_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  __builtin_memcpy(&to, &from, sizeof(To));
  return to;
}
#define __builtin_bit_cast(type, value) hipsim_cast<type>(value)

inline int __float_as_int(float x) { return hipsim_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return hipsim_cast<unsigned>(x); }
inline float __int_as_float(int x) { return hipsim_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return hipsim_cast<float>(x); }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long x) { return __builtin_popcountl(x); }
inline int __clz(int x) { return x ? __builtin_clz((unsigned)x) : 32; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long x) { return __builtin_ffsl(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long)a * b >> 32); }
inline int __mul24(int a, int b) { return a * b; }

// v_perm_b32: each byte of the selector picks a byte of high:low; 0x0c gives 0, 0x0d and up 0xff.
inline unsigned __builtin_amdgcn_perm(unsigned high, unsigned low, unsigned selector) {
  const unsigned long both = (unsigned long)high << 32 | low;
  unsigned picked = 0;
  for (int byte = 0; byte < 4; byte++) {
    const unsigned which = selector >> 8 * byte & 255;
    unsigned long value = which < 8 ? both >> 8 * which & 255 : which > 12 ? 255 : 0;
    if (which >= 8 && which < 12) value = both >> (16 * (which - 8) + 15) & 1 ? 255 : 0;
    picked |= (unsigned)value << 8 * byte;
  }
  return picked;
}
inline unsigned __builtin_amdgcn_alignbyte(unsigned high, unsigned low, unsigned bytes) {
  return (unsigned)(((unsigned long)high << 32 | low) >> 8 * (bytes & 3));
}
inline unsigned __builtin_amdgcn_alignbit(unsigned high, unsigned low, unsigned bits) {
  return (unsigned)(((unsigned long)high << 32 | low) >> (bits & 31));
}
inline unsigned __builtin_amdgcn_ubfe(unsigned value, unsigned offset, unsigned width) {
  return width ? value >> offset & ((width < 32 ? 1u << width : 0u) - 1u) : 0u;
}
inline int __builtin_amdgcn_sbfe(int value, unsigned offset, unsigned width) {
  return width ? (int)((unsigned)value << (32 - offset - width)) >> (32 - width) : 0;
}
