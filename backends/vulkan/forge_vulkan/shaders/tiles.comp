#version 460
// Many tokens times a quantised matrix: y[T, n] = x[T, k] W[n, k]^T, by products of signed bytes.
//
// A work group of 16 x 16 invocations computes 16 * TM tokens by 64 rows of W; one invocation every
// sixteenth of both. Along k it goes by pairs of groups of 16 columns, in the order in which they
// lie in W's bytes.
//! TYPE: q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4
//! DOT: 0 1
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "dot.glsl"

layout(constant_id = 2) const uint TM = 4;  // tokens of an invocation
layout(constant_id = 3) const uint BIAS = 0;
layout(constant_id = 4) const uint RESIDUAL = 0;

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer Codes { uvec4 x_codes[]; };
layout(binding = 2) readonly buffer Scales { vec2 x_scales[]; };
#define WEIGHTS_BINDING 3
#include "weights.glsl"
layout(binding = 4) readonly buffer Bias { float bias[]; };
layout(binding = 5) readonly buffer Residual { float residual[]; };
layout(binding = 6) writeonly buffer Out { float y[]; };
layout(push_constant) uniform Push {
    Planes planes;
    uint n;        // rows of W
    uint k;        // columns, a multiple of 32
    uint counter;  // word of the frame with the number of tokens
    uint width;    // of a row of y
    uint first;    // column of y that is the first row of W
};

const uint SIDE = 16;
const uint TN = 4;        // rows of W of an invocation
const uint BM = SIDE * TM;
const uint BN = SIDE * TN;
const uint PAIRS = 2;     // of a tile
const uint GROUPS = 2 * PAIRS;

shared uvec4 xc[GROUPS * BM];
shared vec2 xs[GROUPS * BM];
shared uvec4 wc[GROUPS * BN];
shared vec2 ws[GROUPS * BN];

void fetch(uint p0, uint tokens) {
    for (uint e = gl_LocalInvocationIndex; e < GROUPS * BM; e += THREADS) {
        const uint of_pair = e / BM, t = e % BM, p = p0 + of_pair / 2;
        const uint token = min(gl_WorkGroupID.y * BM + t, tokens - 1);
        uint ga, gb;
        pair(p, ga, gb);
        const uint g = token * (k / 16) + (of_pair % 2 == 0 ? ga : gb);
        const bool there = 32 * p < k;
        xc[e] = there ? x_codes[g] : uvec4(0);
        xs[e] = there ? x_scales[g] : vec2(0);
    }
    for (uint e = gl_LocalInvocationIndex; e < PAIRS * BN; e += THREADS) {
        const uint of_tile = e / BN, r = e % BN, p = p0 + of_tile;
        const uint row = min(gl_WorkGroupID.x * BN + r, n - 1);
        uvec4 a = uvec4(0), b = uvec4(0);
        vec2 scale = vec2(0), offset = vec2(0);
        if (32 * p < k) load32(planes, row, k, p, a, b, scale, offset);
        const uint to = 2 * of_tile * BN + r;
        wc[to] = a;
        wc[to + BN] = b;
        ws[to] = vec2(scale.x, offset.x);
        ws[to + BN] = vec2(scale.y, offset.y);
    }
}

void main() {
    const uint tokens = frame[counter];
    if (gl_WorkGroupID.y * BM >= tokens) return;
    const uint tx = gl_LocalInvocationIndex % SIDE, ty = gl_LocalInvocationIndex / SIDE;
    float sums[TM * TN];
    [[unroll]] for (uint i = 0; i < TM * TN; ++i) sums[i] = 0;

    for (uint p = 0; p < k / 32; p += PAIRS) {
        fetch(p, tokens);
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

    [[unroll]] for (uint i = 0; i < TM; ++i) {
        const uint token = gl_WorkGroupID.y * BM + ty + SIDE * i;
        [[unroll]] for (uint j = 0; j < TN; ++j) {
            const uint row = gl_WorkGroupID.x * BN + tx + SIDE * j;
            if (token >= tokens || row >= n) continue;
            const uint at = token * width + first + row;
            float v = sums[i * TN + j];
            if (BIAS == 1) v += bias[first + row];
            if (RESIDUAL == 1) v += residual[at];
            y[at] = v;
        }
    }
}
