// The vector types that HIP gives without a header.
#pragma once

#define HIPSIM_VECTORS(name, type)                                                \
  struct alignas(2 * sizeof(type)) name##2 {                                      \
    type x, y;                                                                    \
  };                                                                              \
  struct name##3 {                                                                \
    type x, y, z;                                                                 \
  };                                                                              \
  struct alignas(4 * sizeof(type)) name##4 {                                      \
    type x, y, z, w;                                                              \
  };                                                                              \
  inline name##2 make_##name##2(type x, type y) { return {x, y}; }                \
  inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }     \
  inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }

HIPSIM_VECTORS(char, signed char)
HIPSIM_VECTORS(uchar, unsigned char)
HIPSIM_VECTORS(short, short)
HIPSIM_VECTORS(ushort, unsigned short)
HIPSIM_VECTORS(int, int)
HIPSIM_VECTORS(uint, unsigned)
HIPSIM_VECTORS(long, long)
HIPSIM_VECTORS(ulong, unsigned long)
HIPSIM_VECTORS(float, float)
HIPSIM_VECTORS(double, double)

using dim3 = hipsim::Dim;
