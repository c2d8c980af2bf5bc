#version 460
// Many tokens times a quantised matrix: y[T, n] = x[T, k] W[n, k]^T, by products of signed bytes.
//
// Along k it goes by pairs of groups of 16 columns, in the order in which they lie in W's bytes.
//! TYPE: q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4
//! DOT: 0 1
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "dot.glsl"
#include "tile.glsl"
layout(binding = 6) readonly buffer Codes { uvec4 x_codes[]; };
layout(binding = 7) readonly buffer Scales { vec2 x_scales[]; };

const uint PAIRS = 2;  // of a tile
const uint GROUPS = 2 * PAIRS;

shared uvec4 xc[GROUPS * BM];
shared vec2 xs[GROUPS * BM];
shared uvec4 wc[GROUPS * BN];
shared vec2 ws[GROUPS * BN];

void fetch(uint p0) {
    for (uint e = gl_LocalInvocationIndex; e < GROUPS * BM; e += THREADS) {
        const uint of_pair = e / BM, t = e % BM, p = p0 + of_pair / 2;
        uint ga, gb;
        pair(p, ga, gb);
        const uint g = x_row(t) * (k / 16) + (of_pair % 2 == 0 ? ga : gb);
        const bool there = 32 * p < k;
        xc[e] = there ? x_codes[g] : uvec4(0);
        xs[e] = there ? x_scales[g] : vec2(0);
    }
    for (uint e = gl_LocalInvocationIndex; e < PAIRS * BN; e += THREADS) {
        const uint of_tile = e / BN, r = e % BN, p = p0 + of_tile;
        uvec4 a = uvec4(0), b = uvec4(0);
        vec2 scale = vec2(0), offset = vec2(0);
        if (32 * p < k) load32(planes, w_row(r), k, p, a, b, scale, offset);
        const uint to = 2 * of_tile * BN + r;
        wc[to] = a;
        wc[to + BN] = b;
        ws[to] = vec2(scale.x, offset.x);
        ws[to + BN] = vec2(scale.y, offset.y);
    }
}

void main() {
    if (!started()) return;
    const uint tx = gl_LocalInvocationIndex % SIDE, ty = gl_LocalInvocationIndex / SIDE;

    for (uint p = 0; p < k / 32; p += PAIRS) {
        fetch(p);
        barrier();
        for (uint g = 0; g < GROUPS; ++g) {
            uvec4 codes[TN];
            vec2 scale[TN];
            [[unroll]] for (uint j = 0; j < TN; ++j) {
                codes[j] = wc[g * BN + tx + SIDE * j];
                scale[j] = ws[g * BN + tx + SIDE * j];
            }
            [[unroll]] for (uint i = 0; i < TM; ++i) {
                const uvec4 c = xc[g * BM + ty + SIDE * i];
                const vec2 s = xs[g * BM + ty + SIDE * i];
                [[unroll]] for (uint j = 0; j < TN; ++j) {
                    const uint at = i * TN + j;
                    sums[at] += scale[j].x * s.x * float(dot16(codes[j], c));
#if HAS_OFFSET
                    sums[at] += scale[j].y * s.y;
#endif
                }
            }
        }
        barrier();
    }

    finish(tx, ty);
}
