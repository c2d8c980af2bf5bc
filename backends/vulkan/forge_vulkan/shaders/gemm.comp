#version 460
// Many tokens times a matrix: y[T, n] = x[T, k] W[n, k]^T, in cooperative matrices of 16-bit floats
// with 32-bit sums. x comes as halves, each row divided by a power of two that is multiplied back.
//
// A work group computes BM tokens by BN rows of W. While its subgroups multiply one tile of BK
// columns out of shared memory, the next one is on its way into registers.
//! target: vulkan1.3
//! TYPE: q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4 f16
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_shader_16bit_storage : require
#define SUBGROUPS 1
#include "common.glsl"

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
const uint AX = BM * BK / 8 / THREADS;
const uint AW = BN * BK / 16 / THREADS;

shared uvec4 sx[BM * STEP];
shared uvec4 sw[BN * STEP];
shared float stage[THREADS / 32 * 256];

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
        const uint row = gl_WorkGroupID.y * BM + e / (BK / 8);
        next_x[i] = x8[row * (k / 8) + at / 8 + e % (BK / 8)];
    }
    [[unroll]] for (uint i = 0; i < AW; ++i) {
        const uint e = gl_LocalInvocationIndex + i * THREADS;
        const uint row = min(gl_WorkGroupID.x * BN + e / (BK / 16), n - 1);
        const uint g = at / 16 + e % (BK / 16);
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

void put() {
    [[unroll]] for (uint i = 0; i < AX; ++i) {
        const uint e = gl_LocalInvocationIndex + i * THREADS;
        sx[e / (BK / 8) * STEP + e % (BK / 8)] = next_x[i];
    }
    [[unroll]] for (uint i = 0; i < AW; ++i) {
        const uint e = gl_LocalInvocationIndex + i * THREADS;
        const uint at = e / (BK / 16) * STEP + e % (BK / 16) * 2;
#if QUANTISED
        [[unroll]] for (uint j = 0; j < 2; ++j)
            sw[at + j] = uvec4(
                expanded(next_codes[i][2 * j], next_scale[i]),
                expanded(next_codes[i][2 * j + 1], next_scale[i]));
#else
        sw[at] = next_w[2 * i];
        sw[at + 1] = next_w[2 * i + 1];
#endif
    }
}

void main() {
    const uint tokens = frame[counter];
    if (gl_WorkGroupID.y * BM >= tokens) return;
    const uint across = BM / WM;
    const uint row = gl_SubgroupID % across * WM;
    const uint column = gl_SubgroupID / across * WN;

    coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator> sums[WM / 16][WN / 16];
    [[unroll]] for (uint i = 0; i < WM / 16; ++i)
        [[unroll]] for (uint j = 0; j < WN / 16; ++j)
            sums[i][j] = coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>(0.0);

    fetch(0);
    for (uint at = 0; at < k; at += BK) {
        put();
        barrier();
        if (at + BK < k) fetch(at + BK);
        [[unroll]] for (uint kk = 0; kk < BK / 16; ++kk) {
            coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA> a[WM / 16];
            [[unroll]] for (uint i = 0; i < WM / 16; ++i)
                coopMatLoad(a[i], sx, (row + 16 * i) * STEP + 2 * kk, STEP, gl_CooperativeMatrixLayoutRowMajor);
            [[unroll]] for (uint j = 0; j < WN / 16; ++j) {
                coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB> b;
                coopMatLoad(b, sw, (column + 16 * j) * STEP + 2 * kk, STEP, gl_CooperativeMatrixLayoutColumnMajor);
                [[unroll]] for (uint i = 0; i < WM / 16; ++i)
                    sums[i][j] = coopMatMulAdd(a[i], b, sums[i][j]);
            }
        }
        barrier();
    }

    const uint mine = gl_SubgroupID * 256;
    [[unroll]] for (uint i = 0; i < WM / 16; ++i) {
        [[unroll]] for (uint j = 0; j < WN / 16; ++j) {
            coopMatStore(sums[i][j], stage, mine, 16, gl_CooperativeMatrixLayoutRowMajor);
            subgroupMemoryBarrierShared();
            subgroupBarrier();
            // A constant number of rounds: else the sums would be an array in slow memory.
            [[unroll]] for (uint round = 0; round < 256 / LANES; ++round) {
                const uint e = round * LANES + gl_SubgroupInvocationID;
                const uint token = gl_WorkGroupID.y * BM + row + 16 * i + e / 16;
                const uint out_row = gl_WorkGroupID.x * BN + column + 16 * j + e % 16;
                if (token < tokens && out_row < n) {
                    float v = stage[mine + e] * scales[token];
                    if (BIAS == 1) v += bias[first + out_row];
                    if (RESIDUAL == 1) v += residual[token * width + first + out_row];
                    y[token * width + first + out_row] = v;
                }
            }
            subgroupBarrier();
        }
    }
}
