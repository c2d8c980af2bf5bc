#version 460
// Many tokens times a matrix: y[T, n] = x[T, k] W[n, k]^T, in cooperative matrices of 16-bit floats
// with 32-bit sums. x comes as halves, each row divided by a power of two that is multiplied back.
//
// A work group computes BM tokens by BN rows of W. While its subgroups multiply one tile of BK
// columns out of shared memory, the next one is on its way into registers.
//! target: vulkan1.2
//! TYPE: q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4 f16
//! COOPMAT: 0 1
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "coopmat.glsl"

layout(constant_id = 2) const uint BM = 128;   // tokens of a work group
layout(constant_id = 3) const uint BN = 128;   // rows of W of a work group
layout(constant_id = 4) const uint WM = 64;    // tokens of a subgroup
layout(constant_id = 5) const uint WN = 64;    // rows of W of a subgroup
layout(constant_id = 6) const uint BIAS = 0;
layout(constant_id = 7) const uint RESIDUAL = 0;

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer X { uvec4 x8[]; };
#define WEIGHTS_BINDING 2
#include "weights.glsl"
layout(binding = 3) readonly buffer Scales { float scales[]; };
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

const uint BK = 32;
const uint STEP = (BK + 8) / 8;  // of a row in shared memory, in 16 bytes; 8 halves against conflicts
const uint LINES = BK / 8;       // of a row of x
const uint GROUPS = BK / 16;     // of a row of W
const uint AX = BM * LINES / THREADS;
// Each invocation expands whole groups of 16 weights, or where there are too few, half of one.
const uint SHARED_BY = BN * GROUPS < THREADS ? 2 : 1;
const uint AW = BN * GROUPS * SHARED_BY / THREADS;

shared uvec4 sx[BM * STEP];
shared uvec4 sw[BN * STEP];
shared float stage[THREADS / MATRIX_LANES * 256];

uvec4 next_x[AX];
#if QUANTISED
uvec4 next_codes[AW];
vec2 next_scale[AW];
#else
uvec4 next_w[2 * AW];
#endif

void fetch(uint at) {
    [[unroll]] for (uint i = 0; i < AX; ++i) {
        const uint e = gl_LocalInvocationIndex + i * THREADS;
        next_x[i] = x8[(gl_WorkGroupID.y * BM + e / LINES) * (k / 8) + at / 8 + e % LINES];
    }
    [[unroll]] for (uint i = 0; i < AW; ++i) {
        const uint e = (gl_LocalInvocationIndex + i * THREADS) / SHARED_BY;
        const uint row = min(gl_WorkGroupID.x * BN + e / GROUPS, n - 1);
        const uint g = at / 16 + e % GROUPS;
#if QUANTISED
        load16(planes, row, k, g, next_codes[i], next_scale[i].x, next_scale[i].y);
#else
        const uint word = planes.at[0] + (row * k + 16 * g) / 8;
        next_w[2 * i] = w4[word];
        next_w[2 * i + 1] = w4[word + 1];
#endif
    }
}

#if QUANTISED
uvec2 expanded(uint codes, vec2 scale) {
    const ivec4 c = ivec4(codes) << ivec4(24, 16, 8, 0) >> 24;
#if HAS_OFFSET
    const vec4 v = vec4(c) * scale.x + scale.y;
#else
    const vec4 v = vec4(c) * scale.x;
#endif
    return uvec2(packHalf2x16(v.xy), packHalf2x16(v.zw));
}
#endif

uvec4 expanded_line(uint i, uint part) {
#if QUANTISED
    const uvec2 codes = part == 0 ? next_codes[i].xy : next_codes[i].zw;
    return uvec4(expanded(codes.x, next_scale[i]), expanded(codes.y, next_scale[i]));
#else
    return part == 0 ? next_w[2 * i] : next_w[2 * i + 1];
#endif
}

void put() {
    [[unroll]] for (uint i = 0; i < AX; ++i) {
        const uint e = gl_LocalInvocationIndex + i * THREADS;
        sx[e / LINES * STEP + e % LINES] = next_x[i];
    }
    [[unroll]] for (uint i = 0; i < AW; ++i) {
        const uint mine = gl_LocalInvocationIndex + i * THREADS, e = mine / SHARED_BY;
        const uint at = e / GROUPS * STEP + e % GROUPS * 2;
        if (SHARED_BY == 2) {
            const uint part = mine % 2;
            sw[at + part] = expanded_line(i, part);
        } else {
            sw[at] = expanded_line(i, 0);
            sw[at + 1] = expanded_line(i, 1);
        }
    }
}

void main() {
    const uint tokens = frame[counter];
    if (gl_WorkGroupID.y * BM >= tokens) return;
    const uint across = BM / WM;
    const uint row = MATRIX_GROUP % across * WM;
    const uint column = MATRIX_GROUP / across * WN;

    MATRIX_C sums[WM / 16][WN / 16];
    [[unroll]] for (uint i = 0; i < WM / 16; ++i)
        [[unroll]] for (uint j = 0; j < WN / 16; ++j) CLEAR_C(sums[i][j]);

    fetch(0);
    for (uint at = 0; at < k; at += BK) {
        put();
        barrier();
        if (at + BK < k) fetch(at + BK);
        [[unroll]] for (uint kk = 0; kk < BK / 16; ++kk) {
            MATRIX_A a[WM / 16];
            [[unroll]] for (uint i = 0; i < WM / 16; ++i)
                LOAD_A(a[i], sx, (row + 16 * i) * STEP + 2 * kk, STEP);
            [[unroll]] for (uint j = 0; j < WN / 16; ++j) {
                MATRIX_B b;
                LOAD_B(b, sw, (column + 16 * j) * STEP + 2 * kk, STEP);
                [[unroll]] for (uint i = 0; i < WM / 16; ++i) MULTIPLY_ADD(a[i], b, sums[i][j]);
            }
        }
        barrier();
    }

    const uint mine = MATRIX_GROUP * 256;
    [[unroll]] for (uint i = 0; i < WM / 16; ++i) {
        [[unroll]] for (uint j = 0; j < WN / 16; ++j) {
            STORE_C(sums[i][j], stage, mine, 16);
            MATRIX_BARRIER();
            // A constant number of rounds: else the sums would be an array in slow memory.
            [[unroll]] for (uint round = 0; round < 256 / MATRIX_LANES; ++round) {
                const uint e = round * MATRIX_LANES + MATRIX_LANE;
                const uint token = gl_WorkGroupID.y * BM + row + 16 * i + e / 16;
                const uint out_row = gl_WorkGroupID.x * BN + column + 16 * j + e % 16;
                if (token < tokens && out_row < n) {
                    float v = stage[mine + e] * scales[token];
                    if (BIAS == 1) v += bias[first + out_row];
                    if (RESIDUAL == 1) v += residual[token * width + first + out_row];
                    y[token * width + first + out_row] = v;
                }
            }
            MATRIX_BARRIER();
        }
    }
}
