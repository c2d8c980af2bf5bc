// Weights that are codes with scales; see weights.h.

#include "lookup.h"

constexpr u32 LOW_NIBBLES = 0x0f0f0f0fu;

// The half at index i of a plane of halves.
INLINE float half_at(const u4* plane, u32 i) { return half_number(((const u16*)plane)[i]); }
INLINE u32 word_at(const u4* plane, u32 i) { return ((const u32*)plane)[i]; }

INLINE void pair(u32 p, u32& ga, u32& gb) {
#if ONE_BLOCK
    ga = 2 * p;
    gb = ga + 1;
#else
    const u32 c = p & 7, first = 16 * (p >> 3);
#if TYPE_Q6_K
    ga = first + c + (c & 4);
    gb = ga + 4;
#elif TYPE_Q2_K || TYPE_Q3_K
    ga = first + 8 * (c >> 2) + 4 * (c & 1) + ((c >> 1) & 1);
    gb = ga + 2;
#else
    ga = first + 4 * (c >> 1) + (c & 1);
    gb = ga + 2;
#endif
#endif
}

// The p of a group, and which of the two it is.
INLINE u32 pair_of(u32 g, bool& second) {
#if ONE_BLOCK
    second = (g & 1) == 1;
    return g >> 1;
#else
    const u32 i = g & 15, first = 8 * (g >> 4);
#if TYPE_Q6_K
    second = (i & 4) != 0;
    return first + (i & 3) + ((i & 8) >> 1);
#elif TYPE_Q2_K || TYPE_Q3_K
    second = (i & 2) != 0;
    return first + 4 * (i >> 3) + 2 * (i & 1) + ((i >> 2) & 1);
#else
    second = (i & 2) != 0;
    return first + 2 * (i >> 2) + (i & 1);
#endif
#endif
}

#if LOADS64
// Scales and minima of two neighbouring blocks of 32, number 2j and 2j + 1.
INLINE void scales_of(const u4& header, u32 j, f2& scale, f2& offset) {
    const u32 shift = 16 * (j & 1);
    const u32 x = header[1] >> shift, y = header[2] >> shift, z = header[3] >> shift;
    const bool early = j < 2;
    const u32 s = early ? x & 0x3f3fu : (z & 0x0f0fu) | ((x >> 2) & 0x3030u);
    const u32 m = early ? y & 0x3f3fu : ((z >> 4) & 0x0f0fu) | ((y >> 2) & 0x3030u);
    const f2 d = two_halves(header[0]);
    scale = {{d[0] * (float)(s & 255), d[0] * (float)(s >> 8 & 255)}};
    offset = {{-d[1] * (float)(m & 255), -d[1] * (float)(m >> 8 & 255)}};
}
#endif

#if TYPE_Q5_0 || TYPE_Q5_1
// Four bits for each of four words, spread to bit 4 of their bytes: no two of the products meet.
INLINE u4 fifth_bits(u32 high) {
    u4 made;
    UNROLL for (u32 i = 0; i < 4; ++i) made[i] = ((high >> 4 * i & 15) * 0x02040810u) & 0x10101010u;
    return made;
}
#endif

INLINE void load32(
    const u4* w4, const Planes& planes, u32 row, u32 k, u32 p, u4& a, u4& b, f2& scale,
    f2& offset
) {
    offset = {{0.0f, 0.0f}};
#if BLOCK == 32
    const u32 block = row * (k >> 5) + p;
#else
    const u32 block = row * (k >> 8) + (p >> 3), c = p & 7;
#endif

#if TYPE_Q8_0
    a = w4[planes.at[1] + 2 * block];
    b = w4[planes.at[1] + 2 * block + 1];
#elif TYPE_Q4_0 || TYPE_Q4_1 || TYPE_IQ4_NL || TYPE_MXFP4
    const u4 codes = w4[planes.at[1] + block];
    a = codes & LOW_NIBBLES;
    b = (codes >> 4) & LOW_NIBBLES;
#elif TYPE_Q5_0 || TYPE_Q5_1
    const u4 codes = w4[planes.at[2] + block];
    const u32 high = word_at(w4 + planes.at[1], block);
    a = (codes & LOW_NIBBLES) | fifth_bits(high);
    b = ((codes >> 4) & LOW_NIBBLES) | fifth_bits(high >> 16);
#elif TYPE_Q4_K || TYPE_Q5_K
    const u32 j = c >> 1;
    scales_of(w4[planes.at[0] + block], j, scale, offset);
#if TYPE_Q4_K
    const u4 codes = w4[planes.at[1] + 8 * block + c];
    a = codes & LOW_NIBBLES;
    b = (codes >> 4) & LOW_NIBBLES;
#else
    const u4 codes = w4[planes.at[2] + 8 * block + c];
    const u4 high = w4[planes.at[1] + 2 * block + (c & 1)] >> (2 * j);
    a = (codes & LOW_NIBBLES) | ((high & 0x01010101u) << 4);
    b = ((codes >> 4) & LOW_NIBBLES) | ((high & 0x02020202u) << 3);
#endif
#elif TYPE_Q6_K
    const u32 n = c >> 2, r = c & 3;
    const u4 codes = w4[planes.at[2] + 8 * block + c];
    const u4 high = w4[planes.at[3] + 4 * block + 2 * n + (r & 1)] >> (r & 2);
    a = (codes & LOW_NIBBLES) | ((high & 0x03030303u) << 4);
    b = ((codes >> 4) & LOW_NIBBLES) | (high & 0x30303030u);
    const u2 scales = ((const u2*)w4)[2 * (planes.at[1] + block) + n];
    const float d = half_at(w4 + planes.at[0], block);
    scale = {{d * (float)(i8)(scales[0] >> 8 * r), d * (float)(i8)(scales[1] >> 8 * r)}};
#elif TYPE_Q2_K
    const u32 n = c >> 2, h = (c >> 1) & 1, jj = c & 1;
    const u4 codes = w4[planes.at[2] + 4 * block + 2 * n + h] >> (4 * jj);
    a = codes & 0x03030303u;
    b = (codes >> 2) & 0x03030303u;
    const u32 scales = word_at(w4 + planes.at[1] + block, 2 * n + jj) >> (8 * h);
    const f2 d = two_halves(word_at(w4 + planes.at[0], block));
    scale = {{d[0] * (float)(scales & 15), d[0] * (float)(scales >> 16 & 15)}};
    offset = {{-d[1] * (float)(scales >> 4 & 15), -d[1] * (float)(scales >> 20 & 15)}};
#elif TYPE_Q3_K
    const u32 n = c >> 2, h = (c >> 1) & 1, jj = c & 1;
    const u4 codes = w4[planes.at[3] + 4 * block + 2 * n + h] >> (4 * jj);
    const u4 high = w4[planes.at[2] + 2 * block + h] >> (4 * n + 2 * jj);
    a = (codes & 0x03030303u) | ((high & 0x01010101u) << 2);
    b = ((codes >> 2) & 0x03030303u) | ((high & 0x02020202u) << 1);
    const u32* scales = (const u32*)(w4 + planes.at[1]) + 3 * block;
    const u32 low = scales[jj] >> (8 * h + 4 * n), top = scales[2] >> (8 * h + 4 * n + 2 * jj);
    const float d = half_at(w4 + planes.at[0], block);
    const i32 six = (i32)((low & 15) + 16 * (top & 3)) - 32;
    const i32 other = (i32)((low >> 16 & 15) + 16 * (top >> 16 & 3)) - 32;
    scale = {{d * (float)six, d * (float)other}};
#elif TYPE_IQ4_XS
    const u4 codes = w4[planes.at[1] + 8 * block + c];
    a = codes & LOW_NIBBLES;
    b = (codes >> 4) & LOW_NIBBLES;
    const u2 header = ((const u2*)(w4 + planes.at[0]))[block];
    const u32 six = (header[1] >> 4 * c & 15) | (header[0] >> (16 + 2 * c) & 3) << 4;
    const float d = half_number(header[0] & 0xffffu) * (float)((i32)six - 32);
    scale = {{d, d}};
#endif

#if TYPE_Q4_0 || TYPE_Q5_0 || TYPE_Q8_0 || TYPE_IQ4_NL
    const float d = half_at(w4 + planes.at[0], block);
    scale = {{d, d}};
#elif TYPE_Q4_1 || TYPE_Q5_1
    const f2 d = two_halves(word_at(w4 + planes.at[0], block));
    scale = {{d[0], d[0]}};
    offset = {{d[1], d[1]}};
#elif TYPE_MXFP4
    const u32 e = ((const u8*)(w4 + planes.at[0]))[block];
    const float d = as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    scale = {{d, d}};
#endif
#if CENTRE
    offset = {{-(float)CENTRE * scale[0], -(float)CENTRE * scale[1]}};
#endif
#if TYPE_IQ4_NL || TYPE_IQ4_XS || TYPE_MXFP4
    a = looked_up(a);
    b = looked_up(b);
#endif
}

#if LOADS64
INLINE void load64(
    const u4* w4, const Planes& planes, u32 row, u32 k, u32 t, u4 codes[4], f2& scale, f2& offset
) {
    const u32 block = row * (k >> 8) + (t >> 2), j = t & 3;
    scales_of(w4[planes.at[0] + block], j, scale, offset);
#if TYPE_Q4_K
    const u4* first = w4 + planes.at[1] + 8 * block + 2 * j;
    const u4 c0 = first[0], c1 = first[1];
    codes[0] = c0 & LOW_NIBBLES;
    codes[1] = c1 & LOW_NIBBLES;
    codes[2] = (c0 >> 4) & LOW_NIBBLES;
    codes[3] = (c1 >> 4) & LOW_NIBBLES;
#else
    const u4 *first = w4 + planes.at[2] + 8 * block + 2 * j, *high = w4 + planes.at[1] + 2 * block;
    const u4 c0 = first[0], c1 = first[1], h0 = high[0] >> (2 * j), h1 = high[1] >> (2 * j);
    codes[0] = (c0 & LOW_NIBBLES) | ((h0 & 0x01010101u) << 4);
    codes[1] = (c1 & LOW_NIBBLES) | ((h1 & 0x01010101u) << 4);
    codes[2] = ((c0 >> 4) & LOW_NIBBLES) | ((h0 & 0x02020202u) << 3);
    codes[3] = ((c1 >> 4) & LOW_NIBBLES) | ((h1 & 0x02020202u) << 3);
#endif
}
#endif

INLINE void load16(
    const u4* w4, const Planes& planes, u32 row, u32 k, u32 g, u4& codes, float& scale,
    float& offset
) {
    bool second;
    const u32 p = pair_of(g, second);
    u4 a, b;
    f2 scales, offsets;
    load32(w4, planes, row, k, p, a, b, scales, offsets);
    UNROLL for (u32 i = 0; i < 4; ++i) codes[i] = second ? b[i] : a[i];
    scale = second ? scales[1] : scales[0];
    offset = second ? offsets[1] : offsets[0];
}
