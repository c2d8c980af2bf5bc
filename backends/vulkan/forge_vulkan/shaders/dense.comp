#version 460
// Many tokens times a matrix of numbers: y[T, n] = x[T, k] W[n, k]^T in float32, any k.
//
// Tiles as in tiles.comp: 16 * TM tokens by 64 rows, 16 columns at a time.
//! TYPE: f32 f16 bf16
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 2) const uint TM = 4;  // tokens of an invocation
layout(constant_id = 3) const uint BIAS = 0;
layout(constant_id = 4) const uint RESIDUAL = 0;

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer X { float x[]; };
#define WEIGHTS_BINDING 2
#include "weights.glsl"
layout(binding = 3) readonly buffer Bias { float bias[]; };
layout(binding = 4) readonly buffer Residual { float residual[]; };
layout(binding = 5) writeonly buffer Out { float y[]; };
layout(push_constant) uniform Push {
    Planes planes;
    uint n;
    uint k;
    uint counter;
    uint width;
    uint first;
};

const uint SIDE = 16;
const uint TN = 4;
const uint BM = SIDE * TM;
const uint BN = SIDE * TN;
const uint BK = 16;
const uint FOURS = BK / 4;

shared vec4 xt[FOURS * BM];
shared vec4 wt[FOURS * BN];

vec4 x_at(uint token, uint c) {
    const uint at = token * k + c;
    vec4 v = vec4(0);
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        if (c + i < k) v[i] = x[at + i];
    }
    return v;
}

void main() {
    const uint tokens = frame[counter];
    if (gl_WorkGroupID.y * BM >= tokens) return;
    const uint tx = gl_LocalInvocationIndex % SIDE, ty = gl_LocalInvocationIndex / SIDE;
    float sums[TM * TN];
    [[unroll]] for (uint i = 0; i < TM * TN; ++i) sums[i] = 0;

    for (uint c0 = 0; c0 < k; c0 += BK) {
        // Neighbours read neighbouring columns, and write a row further.
        for (uint e = gl_LocalInvocationIndex; e < FOURS * BM; e += THREADS) {
            const uint t = e / FOURS, c = c0 + 4 * (e % FOURS);
            xt[e % FOURS * BM + t] = x_at(min(gl_WorkGroupID.y * BM + t, tokens - 1), c);
        }
        for (uint e = gl_LocalInvocationIndex; e < FOURS * BN; e += THREADS) {
            const uint r = e / FOURS, c = c0 + 4 * (e % FOURS);
            const uint row = min(gl_WorkGroupID.x * BN + r, n - 1);
            wt[e % FOURS * BN + r] = c < k ? load4(planes, row, k, c) : vec4(0);
        }
        barrier();
        [[unroll]] for (uint f = 0; f < FOURS; ++f) {
            vec4 w[TN];
            [[unroll]] for (uint j = 0; j < TN; ++j) w[j] = wt[f * BN + tx + SIDE * j];
            [[unroll]] for (uint i = 0; i < TM; ++i) {
                const vec4 v = xt[f * BM + ty + SIDE * i];
                [[unroll]] for (uint j = 0; j < TN; ++j) sums[i * TN + j] += dot(v, w[j]);
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
