// Dot products of four bytes, and the wave's matrix products in the layouts of gfx11 and gfx12
// (AMD's RDNA3 and RDNA4 instruction set documents, "WMMA").
#pragma once

inline int __builtin_amdgcn_sdot4(int a, int b, int c, bool) {
  for (int i = 0; i < 4; i++) c += (int)(signed char)(a >> 8 * i) * (int)(signed char)(b >> 8 * i);
  return c;
}
inline unsigned __builtin_amdgcn_udot4(unsigned a, unsigned b, unsigned c, bool) {
  for (int i = 0; i < 4; i++) c += (a >> 8 * i & 255) * (b >> 8 * i & 255);
  return c;
}
inline int __builtin_amdgcn_sudot4(bool a_signed, int a, bool b_signed, int b, int c, bool) {
  for (int i = 0; i < 4; i++) {
    const int x = a >> 8 * i & 255, y = b >> 8 * i & 255;
    c += (a_signed ? (int)(signed char)x : x) * (b_signed ? (int)(signed char)y : y);
  }
  return c;
}

namespace hipsim {

typedef _Float16 half2v __attribute__((vector_size(4)));
typedef _Float16 half8v __attribute__((vector_size(16)));
typedef _Float16 half16v __attribute__((vector_size(32)));
typedef short short8v __attribute__((vector_size(16)));
typedef short short16v __attribute__((vector_size(32)));
typedef int int2v __attribute__((vector_size(8)));
typedef int int4v __attribute__((vector_size(16)));
typedef int int8v __attribute__((vector_size(32)));
typedef float float8v __attribute__((vector_size(32)));

inline float widen(_Float16 x) { return (float)x; }
inline float widen(short x) {  // bfloat16
  const unsigned bits = (unsigned)(unsigned short)x << 16;
  float wide;
  __builtin_memcpy(&wide, &bits, 4);
  return wide;
}

// One lane's share of D = A B + C; lanes read each other's when all have arrived.
template <class Fragment, class Accumulator>
struct Share {
  Fragment a, b;
  Accumulator c;
  bool a_signed, b_signed;
};

// gfx11: lane L holds row (column) L % 16 whole, the two halves of the wave the same;
// element i of the result is row 2 i + L / 16, column L % 16.
struct Gfx11 {
  static unsigned lane(unsigned line, unsigned) { return line; }
  static unsigned element(unsigned k) { return k; }
  static unsigned row(unsigned i, unsigned half) { return 2 * i + half; }
};
// gfx12: lane L holds k = 8 (L / 16) .. + 7 of its row (column);
// element i of the result is row 8 (L / 16) + i.
struct Gfx12 {
  static unsigned lane(unsigned line, unsigned k) { return line + 16 * (k / 8); }
  static unsigned element(unsigned k) { return k % 8; }
  static unsigned row(unsigned i, unsigned half) { return 8 * half + i; }
};

template <class Fragment>
inline float part(const Fragment& fragment, unsigned element, bool) {
  return widen(fragment[element]);
}
template <class Fragment>
inline int byte_of(const Fragment& fragment, unsigned element, bool is_signed) {
  const int byte = fragment[element / 4] >> 8 * (element % 4) & 255;
  return is_signed ? (int)(signed char)byte : byte;
}
inline int part(const int2v& fragment, unsigned element, bool is_signed) {
  return byte_of(fragment, element, is_signed);
}
inline int part(const int4v& fragment, unsigned element, bool is_signed) {
  return byte_of(fragment, element, is_signed);
}

template <class Layout, class Fragment, class Accumulator, class Number>
inline void multiply(const unsigned long* brought) {
  using Lane = Share<Fragment, Accumulator>;
  Number a[16][16], b[16][16];  // a[row][k], b[k][column]
  for (unsigned line = 0; line < 16; line++) {
    for (unsigned k = 0; k < 16; k++) {
      const Lane& of = *(const Lane*)brought[Layout::lane(line, k)];
      a[line][k] = part(of.a, Layout::element(k), of.a_signed);
      b[k][line] = part(of.b, Layout::element(k), of.b_signed);
    }
  }
  for (unsigned half = 0; half < 2; half++) {
    for (unsigned i = 0; i < 8; i++) {
      const unsigned row = Layout::row(i, half);
      Number sums[16];
      for (unsigned column = 0; column < 16; column++) {
        sums[column] = ((const Lane*)brought[16 * half + column])->c[i];
      }
      for (unsigned k = 0; k < 16; k++) {
        for (unsigned column = 0; column < 16; column++) sums[column] += a[row][k] * b[k][column];
      }
      for (unsigned column = 0; column < 16; column++) {
        ((Lane*)brought[16 * half + column])->c[i] = sums[column];
      }
    }
  }
}

template <class Layout, class Number, class Fragment, class Accumulator>
inline Accumulator matrix(Fragment a, Fragment b, Accumulator c, bool a_signed = true,
                          bool b_signed = true) {
  Share<Fragment, Accumulator> share = {a, b, c, a_signed, b_signed};
  const Meeting meeting =
      meet((unsigned long)&share, product, multiply<Layout, Fragment, Accumulator, Number>);
  if (~meeting.live) hipsim_thread->block->fail(hipsim_thread, "a matrix product in part of a wave");
  return share.c;
}

}  // namespace hipsim

inline float __builtin_amdgcn_fdot2(hipsim::half2v a, hipsim::half2v b, float c, bool) {
  return c + (float)a[0] * (float)b[0] + (float)a[1] * (float)b[1];
}
inline hipsim::float8v __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(hipsim::half16v a,
                                                                  hipsim::half16v b,
                                                                  hipsim::float8v c) {
  return hipsim::matrix<hipsim::Gfx11, float>(a, b, c);
}
inline hipsim::float8v __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(hipsim::short16v a,
                                                                   hipsim::short16v b,
                                                                   hipsim::float8v c) {
  return hipsim::matrix<hipsim::Gfx11, float>(a, b, c);
}
inline hipsim::int8v __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32(bool a_signed, hipsim::int4v a,
                                                                bool b_signed, hipsim::int4v b,
                                                                hipsim::int8v c, bool) {
  return hipsim::matrix<hipsim::Gfx11, int>(a, b, c, a_signed, b_signed);
}
inline hipsim::float8v __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12(hipsim::half8v a,
                                                                        hipsim::half8v b,
                                                                        hipsim::float8v c) {
  return hipsim::matrix<hipsim::Gfx12, float>(a, b, c);
}
inline hipsim::float8v __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32_gfx12(hipsim::short8v a,
                                                                         hipsim::short8v b,
                                                                         hipsim::float8v c) {
  return hipsim::matrix<hipsim::Gfx12, float>(a, b, c);
}
inline hipsim::int8v __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32_gfx12(bool a_signed,
                                                                      hipsim::int2v a,
                                                                      bool b_signed,
                                                                      hipsim::int2v b,
                                                                      hipsim::int8v c, bool) {
  return hipsim::matrix<hipsim::Gfx12, int>(a, b, c, a_signed, b_signed);
}
