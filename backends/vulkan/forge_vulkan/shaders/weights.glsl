// Reads weights from planes (formats.py), by type. Before this, define WEIGHTS_BINDING.
//
// Everywhere: BLOCK (columns of a block), QUANTISED.
// Codes: a group g is the 16 columns 16g .. 16g+15 of a row, as four words of four signed bytes in
// the order of the columns, and w = scale * code + offset (offset 0 unless HAS_OFFSET; where CENTRE
// is not 0 it is -CENTRE * scale).
//   load16  one group
//   pair    which two groups lie in the same bytes: the p-th 32 weights of a row
//   load32  both of them
//   load64  where LOADS64: the t-th 64 weights, groups 4t .. 4t+3, of two scales and offsets
// ONE_BLOCK: the two groups of a pair are 2p and 2p + 1, of one scale.
// Numbers: load4, columns c .. c+3, c a multiple of 4, 0 past the row's end.

struct Planes { uint at[4]; };  // in units of 16 bytes

layout(binding = WEIGHTS_BINDING) readonly buffer Weights1 { uint w1[]; };
layout(binding = WEIGHTS_BINDING) readonly buffer Weights2 { uvec2 w2[]; };
layout(binding = WEIGHTS_BINDING) readonly buffer Weights4 { uvec4 w4[]; };

#if TYPE_F32 || TYPE_F16 || TYPE_BF16
#define QUANTISED 0
#define BLOCK 1
#else
#define QUANTISED 1
#endif
#if TYPE_Q4_0 || TYPE_Q4_1 || TYPE_Q5_0 || TYPE_Q5_1 || TYPE_Q8_0 || TYPE_IQ4_NL || TYPE_MXFP4
#define BLOCK 32
#define ONE_BLOCK 1
#define GROUPS_PER_BLOCK 2
#elif QUANTISED
#define BLOCK 256
#define GROUPS_PER_BLOCK 16
#define ONE_BLOCK TYPE_IQ4_XS
#endif
#if TYPE_Q4_0
#define CENTRE 8
#elif TYPE_Q5_0
#define CENTRE 16
#elif TYPE_Q6_K
#define CENTRE 32
#elif TYPE_Q3_K
#define CENTRE 4
#else
#define CENTRE 0
#endif
#if CENTRE || TYPE_Q4_1 || TYPE_Q5_1 || TYPE_Q2_K || TYPE_Q4_K || TYPE_Q5_K
#define HAS_OFFSET 1
#else
#define HAS_OFFSET 0
#endif

#define LOADS64 (TYPE_Q4_K || TYPE_Q5_K)

#define LOW_NIBBLES 0x0f0f0f0fu

// The half at index i of a plane of halves.
float half_at(uint start, uint i) {
    return unpackHalf2x16(w1[4 * start + (i >> 1)] >> (16 * (i & 1))).x;
}

#include "lookup.glsl"

#if QUANTISED

void pair(uint p, out uint ga, out uint gb) {
#if ONE_BLOCK
    ga = 2 * p;
    gb = ga + 1;
#else
    const uint c = p & 7;
    const uint first = 16 * (p >> 3);
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
uint pair_of(uint g, out bool second) {
#if ONE_BLOCK
    second = (g & 1) == 1;
    return g >> 1;
#else
    const uint i = g & 15, first = 8 * (g >> 4);
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

#if TYPE_Q4_K || TYPE_Q5_K
// Scales and minima of two neighbouring blocks of 32, number 2j and 2j + 1.
void scales_of(uvec4 header, uint j, out vec2 scale, out vec2 offset) {
    const uvec3 bytes = header.yzw >> (16 * (j & 1));
    const bool early = j < 2;
    const uint s = early ? bytes.x & 0x3f3fu : (bytes.z & 0x0f0fu) | ((bytes.x >> 2) & 0x3030u);
    const uint m =
        early ? bytes.y & 0x3f3fu : ((bytes.z >> 4) & 0x0f0fu) | ((bytes.y >> 2) & 0x3030u);
    const vec2 d = unpackHalf2x16(header.x);
    scale = d.x * vec2(s & 255, (s >> 8) & 255);
    offset = -d.y * vec2(m & 255, (m >> 8) & 255);
}
#endif

void load32(Planes planes, uint row, uint k, uint p, out uvec4 a, out uvec4 b, out vec2 scale,
            out vec2 offset) {
    offset = vec2(0);
#if BLOCK == 32
    const uint block = row * (k >> 5) + p;
#else
    const uint block = row * (k >> 8) + (p >> 3);
    const uint c = p & 7;
#endif

#if TYPE_Q8_0
    a = w4[planes.at[1] + 2 * block];
    b = w4[planes.at[1] + 2 * block + 1];
    scale = vec2(half_at(planes.at[0], block));
#elif TYPE_Q4_0 || TYPE_Q4_1 || TYPE_IQ4_NL || TYPE_MXFP4
    const uvec4 codes = w4[planes.at[1] + block];
    a = codes & LOW_NIBBLES;
    b = (codes >> 4) & LOW_NIBBLES;
#elif TYPE_Q5_0 || TYPE_Q5_1
    const uvec4 codes = w4[planes.at[2] + block];
    const uint high = w1[4 * planes.at[1] + block];
    // Four bits spread to bit 4 of four bytes: no two of the products meet.
    const uvec4 low_bits = (uvec4(high) >> uvec4(0, 4, 8, 12)) & 15;
    const uvec4 high_bits = (uvec4(high) >> uvec4(16, 20, 24, 28)) & 15;
    a = (codes & LOW_NIBBLES) | ((low_bits * 0x02040810u) & 0x10101010u);
    b = ((codes >> 4) & LOW_NIBBLES) | ((high_bits * 0x02040810u) & 0x10101010u);
#elif TYPE_Q4_K || TYPE_Q5_K
    const uint j = c >> 1;
    scales_of(w4[planes.at[0] + block], j, scale, offset);
#if TYPE_Q4_K
    const uvec4 codes = w4[planes.at[1] + 8 * block + c];
    a = codes & LOW_NIBBLES;
    b = (codes >> 4) & LOW_NIBBLES;
#else
    const uvec4 codes = w4[planes.at[2] + 8 * block + c];
    const uvec4 high = w4[planes.at[1] + 2 * block + (c & 1)] >> (2 * j);
    a = (codes & LOW_NIBBLES) | ((high & 0x01010101u) << 4);
    b = ((codes >> 4) & LOW_NIBBLES) | ((high & 0x02020202u) << 3);
#endif
#elif TYPE_Q6_K
    const uint n = c >> 2, r = c & 3;
    const uvec4 codes = w4[planes.at[2] + 8 * block + c];
    const uvec4 high = w4[planes.at[3] + 4 * block + 2 * n + (r & 1)] >> (r & 2);
    a = (codes & LOW_NIBBLES) | ((high & 0x03030303u) << 4);
    b = ((codes >> 4) & LOW_NIBBLES) | (high & 0x30303030u);
    const ivec2 scales = ivec2(w2[2 * (planes.at[1] + block) + n]);
    scale = half_at(planes.at[0], block) * vec2(bitfieldExtract(scales, int(8 * r), 8));
#elif TYPE_Q2_K
    const uint n = c >> 2, h = (c >> 1) & 1, jj = c & 1;
    const uvec4 codes = w4[planes.at[2] + 4 * block + 2 * n + h] >> (4 * jj);
    a = codes & 0x03030303u;
    b = (codes >> 2) & 0x03030303u;
    const uint scales = w1[4 * (planes.at[1] + block) + 2 * n + jj] >> (8 * h);
    const vec2 d = unpackHalf2x16(w1[4 * planes.at[0] + block]);
    scale = d.x * vec2(scales & 15, (scales >> 16) & 15);
    offset = -d.y * vec2((scales >> 4) & 15, (scales >> 20) & 15);
#elif TYPE_Q3_K
    const uint n = c >> 2, h = (c >> 1) & 1, jj = c & 1;
    const uvec4 codes = w4[planes.at[3] + 4 * block + 2 * n + h] >> (4 * jj);
    const uvec4 high = w4[planes.at[2] + 2 * block + h] >> (4 * n + 2 * jj);
    a = (codes & 0x03030303u) | ((high & 0x01010101u) << 2);
    b = ((codes >> 2) & 0x03030303u) | ((high & 0x02020202u) << 1);
    const uint scales = 4 * planes.at[1] + 3 * block;
    const uint low = w1[scales + jj] >> (8 * h + 4 * n);
    const uint top = w1[scales + 2] >> (8 * h + 4 * n + 2 * jj);
    const ivec2 six = ivec2(low & 15, (low >> 16) & 15) + 16 * ivec2(top & 3, (top >> 16) & 3);
    scale = half_at(planes.at[0], block) * vec2(six - 32);
#elif TYPE_IQ4_XS
    const uvec4 codes = w4[planes.at[1] + 8 * block + c];
    a = codes & LOW_NIBBLES;
    b = (codes >> 4) & LOW_NIBBLES;
    const uvec2 header = w2[2 * planes.at[0] + block];
    const uint six = ((header.y >> (4 * c)) & 15) | (((header.x >> (16 + 2 * c)) & 3) << 4);
    scale = vec2(unpackHalf2x16(header.x).x * float(int(six) - 32));
#endif

#if TYPE_Q4_0 || TYPE_Q5_0 || TYPE_IQ4_NL
    scale = vec2(half_at(planes.at[0], block));
#elif TYPE_Q4_1 || TYPE_Q5_1
    const vec2 d = unpackHalf2x16(w1[4 * planes.at[0] + block]);
    scale = d.xx;
    offset = d.yy;
#elif TYPE_MXFP4
    const uint e = (w1[4 * planes.at[0] + (block >> 2)] >> (8 * (block & 3))) & 255;
    scale = vec2(uintBitsToFloat(e < 2 ? 0x00200000u << e : (e - 1) << 23));
#endif
#if CENTRE
    offset = -float(CENTRE) * scale;
#endif
#if TYPE_IQ4_NL || TYPE_IQ4_XS || TYPE_MXFP4
    a = looked_up(a);
    b = looked_up(b);
#endif
}

#if LOADS64
void load64(Planes planes, uint row, uint k, uint t, out uvec4 a0, out uvec4 a1, out uvec4 b0,
            out uvec4 b1, out vec2 scale, out vec2 offset) {
    const uint block = row * (k >> 8) + (t >> 2), j = t & 3;
    scales_of(w4[planes.at[0] + block], j, scale, offset);
#if TYPE_Q4_K
    const uint first = planes.at[1] + 8 * block + 2 * j;
    const uvec4 c0 = w4[first], c1 = w4[first + 1];
    a0 = c0 & LOW_NIBBLES;
    a1 = c1 & LOW_NIBBLES;
    b0 = (c0 >> 4) & LOW_NIBBLES;
    b1 = (c1 >> 4) & LOW_NIBBLES;
#else
    const uint first = planes.at[2] + 8 * block + 2 * j, high = planes.at[1] + 2 * block;
    const uvec4 c0 = w4[first], c1 = w4[first + 1];
    const uvec4 h0 = w4[high] >> (2 * j), h1 = w4[high + 1] >> (2 * j);
    a0 = (c0 & LOW_NIBBLES) | ((h0 & 0x01010101u) << 4);
    a1 = (c1 & LOW_NIBBLES) | ((h1 & 0x01010101u) << 4);
    b0 = ((c0 >> 4) & LOW_NIBBLES) | ((h0 & 0x02020202u) << 3);
    b1 = ((c1 >> 4) & LOW_NIBBLES) | ((h1 & 0x02020202u) << 3);
#endif
}
#endif

void load16(Planes planes, uint row, uint k, uint g, out uvec4 codes, out float scale,
            out float offset) {
    bool second;
    uvec4 a, b;
    vec2 scales, offsets;
    load32(planes, row, k, pair_of(g, second), a, b, scales, offsets);
    codes = second ? b : a;
    scale = second ? scales.y : scales.x;
    offset = second ? offsets.y : offsets.x;
}

#else

#if TYPE_BF16
vec2 two_of(uint word) { return uintBitsToFloat(uvec2(word << 16, word & 0xffff0000u)); }
#elif TYPE_F16
vec2 two_of(uint word) { return unpackHalf2x16(word); }
#endif

vec4 load4(Planes planes, uint row, uint k, uint c) {
    const uint first = row * k + c;
    vec4 got;
#if TYPE_F32
    if ((k & 3) == 0) return uintBitsToFloat(w4[planes.at[0] + (first >> 2)]);
    const uint at = 4 * planes.at[0] + first;
    got = uintBitsToFloat(uvec4(w1[at], w1[at + 1], w1[at + 2], w1[at + 3]));
#else
    if ((k & 3) == 0) {
        const uvec2 four = w2[2 * planes.at[0] + (first >> 2)];
        return vec4(two_of(four.x), two_of(four.y));
    }
    const uint at = 4 * planes.at[0] + (first >> 1);
    const uvec3 words = uvec3(w1[at], w1[at + 1], w1[at + 2]);
    const bool odd = (first & 1) == 1;
    const uvec2 four =
        odd ? (words.xy >> 16) | (words.yz << 16) : words.xy;
    got = vec4(two_of(four.x), two_of(four.y));
#endif
    return vec4(got.x, c + 1 < k ? got.y : 0, c + 2 < k ? got.z : 0, c + 3 < k ? got.w : 0);
}
#endif
