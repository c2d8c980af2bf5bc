#version 460
// Many tokens times a matrix of numbers: y[T, n] = x[T, k] W[n, k]^T in float32, any k, 16 columns
// at a time.
//! TYPE: f32 f16 bf16
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "tile.glsl"
layout(binding = 6) readonly buffer X { float x[]; };

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
    if (!started()) return;
    const uint tx = gl_LocalInvocationIndex % SIDE, ty = gl_LocalInvocationIndex / SIDE;

    for (uint c0 = 0; c0 < k; c0 += BK) {
        // Neighbours read neighbouring columns, and write a row further.
        for (uint e = gl_LocalInvocationIndex; e < FOURS * BM; e += THREADS) {
            const uint t = e / FOURS, c = c0 + 4 * (e % FOURS);
            xt[e % FOURS * BM + t] = x_at(x_row(t), c);
        }
        for (uint e = gl_LocalInvocationIndex; e < FOURS * BN; e += THREADS) {
            const uint r = e / FOURS, c = c0 + 4 * (e % FOURS);
            wt[e % FOURS * BN + r] = c < k ? load4(planes, w_row(r), k, c) : vec4(0);
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

    finish(tx, ty);
}
