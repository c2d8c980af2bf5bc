// Dot products of four bytes, and the wave's matrix products in the layouts of gfx11 and gfx12
// (AMD's RDNA3 and RDNA4 instruction set documents, "WMMA").
#pragma once

inline int __builtin_amdgcn_sdot4(int a, int b, int c, bool) {
#ifdef __SSE4_1__
  typedef char bytes __attribute__((vector_size(16)));
  typedef int words __attribute__((vector_size(16)));
  const words x = {a}, y = {b};
  const words pairs = (words)__builtin_ia32_pmaddwd128(__builtin_ia32_pmovsxbw128((bytes)x),
                                                       __builtin_ia32_pmovsxbw128((bytes)y));
  return c + pairs[0] + pairs[1];
#else
  for (int i = 0; i < 4; i++) c += (int)(signed char)(a >> 8 * i) * (int)(signed char)(b >> 8 * i);
  return c;
#endif
}
inline unsigned __builtin_amdgcn_udot4(unsigned a, unsigned b, unsigned c, bool) {
  for (int i = 0; i < 4; i++) c += (a >> 8 * i & 255) * (b >> 8 * i & 255);
  return c;
}
inline int __builtin_amdgcn_sudot4(bool a_signed, int a, bool b_signed, int b, int c, bool) {
  if (a_signed && b_signed) return __builtin_amdgcn_sdot4(a, b, c, false);
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

// Eight elements of a fragment, as numbers to compute with.
inline void widen(const _Float16* from, float* to, bool) {
#ifdef __F16C__
  short8v bits;
  __builtin_memcpy(&bits, from, sizeof bits);
  const float8v wide = __builtin_ia32_vcvtph2ps256(bits);
  __builtin_memcpy(to, &wide, sizeof wide);
#else
  for (int i = 0; i < 8; i++) to[i] = (float)from[i];
#endif
}
inline void widen(const short* from, float* to, bool) {  // bfloat16
  for (int i = 0; i < 8; i++) {
    const unsigned bits = (unsigned)(unsigned short)from[i] << 16;
    __builtin_memcpy(to + i, &bits, 4);
  }
}
inline void widen(const signed char* from, int* to, bool is_signed) {
  for (int i = 0; i < 8; i++) to[i] = is_signed ? from[i] : (unsigned char)from[i];
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
  static unsigned element(unsigned chunk) { return 8 * chunk; }
  static unsigned half_of(unsigned row) { return row % 2; }
  static unsigned index_of(unsigned row) { return row / 2; }
};
// gfx12: lane L holds k = 8 (L / 16) .. + 7 of its row (column);
// element i of the result is row 8 (L / 16) + i.
struct Gfx12 {
  static unsigned lane(unsigned line, unsigned chunk) { return line + 16 * chunk; }
  static unsigned element(unsigned) { return 0; }
  static unsigned half_of(unsigned row) { return row / 8; }
  static unsigned index_of(unsigned row) { return row % 8; }
};

template <class Layout, class Element, class Fragment, class Accumulator, class Number>
inline void multiply(const unsigned long* brought) {
  using Lane = Share<Fragment, Accumulator>;
  Number a[16], b[16][16];      // a row of A; the columns of B
  Accumulator parts[16][2];     // for each k and half of the wave: the rows of A of its results
  for (unsigned line = 0; line < 16; line++) {
    for (unsigned chunk = 0; chunk < 2; chunk++) {
      const Lane& of = *(const Lane*)brought[Layout::lane(line, chunk)];
      const unsigned from = Layout::element(chunk);
      widen((const Element*)&of.a + from, a + 8 * chunk, of.a_signed);
      widen((const Element*)&of.b + from, b[line] + 8 * chunk, of.b_signed);
    }
    for (unsigned k = 0; k < 16; k++) {
      parts[k][Layout::half_of(line)][Layout::index_of(line)] = a[k];
    }
  }
  for (unsigned lane = 0; lane < wave_size; lane++) {
    Lane& to = *(Lane*)brought[lane];
    Accumulator sum = to.c;
    for (unsigned k = 0; k < 16; k++) sum += parts[k][lane / 16] * b[lane % 16][k];
    to.c = sum;
  }
}

template <class Layout, class Element, class Number, class Fragment, class Accumulator>
inline Accumulator matrix(Fragment a, Fragment b, Accumulator c, bool a_signed = true,
                          bool b_signed = true) {
  Share<Fragment, Accumulator> share = {a, b, c, a_signed, b_signed};
  const Meeting meeting =
      meet((unsigned long)&share, product, multiply<Layout, Element, Fragment, Accumulator, Number>);
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
  return hipsim::matrix<hipsim::Gfx11, _Float16, float>(a, b, c);
}
inline hipsim::float8v __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(hipsim::short16v a,
                                                                   hipsim::short16v b,
                                                                   hipsim::float8v c) {
  return hipsim::matrix<hipsim::Gfx11, short, float>(a, b, c);
}
inline hipsim::int8v __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32(bool a_signed, hipsim::int4v a,
                                                                bool b_signed, hipsim::int4v b,
                                                                hipsim::int8v c, bool) {
  return hipsim::matrix<hipsim::Gfx11, signed char, int>(a, b, c, a_signed, b_signed);
}
inline hipsim::float8v __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12(hipsim::half8v a,
                                                                        hipsim::half8v b,
                                                                        hipsim::float8v c) {
  return hipsim::matrix<hipsim::Gfx12, _Float16, float>(a, b, c);
}
inline hipsim::float8v __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32_gfx12(hipsim::short8v a,
                                                                         hipsim::short8v b,
                                                                         hipsim::float8v c) {
  return hipsim::matrix<hipsim::Gfx12, short, float>(a, b, c);
}
inline hipsim::int8v __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32_gfx12(bool a_signed,
                                                                      hipsim::int2v a,
                                                                      bool b_signed,
                                                                      hipsim::int2v b,
                                                                      hipsim::int8v c, bool) {
  return hipsim::matrix<hipsim::Gfx12, signed char, int>(a, b, c, a_signed, b_signed);
}
