#version 460
// A few tokens with their experts, in work groups of four subgroups.
//
// DOWN 0: the choice in gl_WorkGroupID.y gets act(gate x, up x), of both from one kernel; each
//         subgroup has NROWS rows. If the work group's are 16, they can be left quantised.
// DOWN 1: the token in gl_WorkGroupID.y gets the sum of its experts' down h, by their weights;
//         the subgroups share out the experts, and all have the same NROWS rows.
//! TYPE: q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4 f16 bf16 f32
//! SUBGROUPS: 0 1
//! DOT: 0 1
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "experts.glsl"

layout(constant_id = 2) const uint K = 32;          // columns
layout(constant_id = 3) const uint NROWS = 1;       // rows of a subgroup
layout(constant_id = 4) const uint USED = 2;        // experts of a token
layout(constant_id = 5) const uint DOWN = 0;
layout(constant_id = 6) const uint ACTIVATION = 1;  // as in experts.glsl
layout(constant_id = 7) const uint BIAS = 0;
layout(constant_id = 8) const uint PACK = 0;        // 1: what comes out of DOWN 0 is quantised

layout(binding = 0) readonly buffer Frame { uint frame[]; };
#define WEIGHTS_BINDING 1
#include "weights.glsl"
layout(binding = 2) readonly buffer Chosen { uint chosen[]; };
layout(binding = 3) readonly buffer ChosenWeights { float chosen_weights[]; };
layout(binding = 4) readonly buffer Bias { float bias[]; };
layout(binding = 5) readonly buffer UpBias { float up_bias[]; };
layout(binding = 6) writeonly buffer Out { float y[]; };
layout(binding = 6) writeonly buffer OutCodes { uvec4 y_codes[]; };
layout(binding = 7) readonly buffer X { float x[]; };
layout(binding = 7) readonly buffer Codes { uvec4 x_codes[]; };
layout(binding = 8) readonly buffer Scales { vec2 x_scales[]; };
layout(binding = 9) writeonly buffer OutScales { vec2 y_scales[]; };
layout(push_constant) uniform Push {
    Planes planes;
    Planes second;  // up, where DOWN is 0
    uint n;         // rows of an expert
    uint counter;   // word of the frame with the number of tokens
};

#include "quantise.glsl"
#include "reduce.glsl"

const uint SUBS = THREADS / LANES;
shared float made[SUBS * NROWS];

#if QUANTISED
#include "dot.glsl"

// The lane's share of the rows `row` on, times row `of` of x.
void add(const Planes at, uint row[NROWS], uint of, uint lane, float by, inout float sums[NROWS]) {
    for (uint p = lane; p < K / 32; p += LANES) {
        uint ga, gb;
        pair(p, ga, gb);
        const uint xa = of * (K / 16) + ga, xb = of * (K / 16) + gb;
        const uvec4 ca = x_codes[xa], cb = x_codes[xb];
        const vec2 sa = x_scales[xa], sb = x_scales[xb];
        [[unroll]] for (uint r = 0; r < NROWS; ++r) {
            uvec4 a, b;
            vec2 scale, offset;
            load32(at, row[r], K, p, a, b, scale, offset);
            float sum = scale.x * sa.x * float(dot16(a, ca)) + scale.y * sb.x * float(dot16(b, cb));
#if HAS_OFFSET
            sum += offset.x * sa.y + offset.y * sb.y;
#endif
            sums[r] += by * sum;
        }
    }
}
#else
void add(const Planes at, uint row[NROWS], uint of, uint lane, float by, inout float sums[NROWS]) {
    for (uint c = 4 * lane; c < K; c += 4 * LANES) {
        vec4 v = vec4(0);
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            if (c + i < K) v[i] = x[of * K + c + i];
        }
        [[unroll]] for (uint r = 0; r < NROWS; ++r) sums[r] += by * dot(v, load4(at, row[r], K, c));
    }
}
#endif

void main() {
    const uint token = DOWN == 1 ? gl_WorkGroupID.y : gl_WorkGroupID.y / USED;
    if (token >= frame[counter]) return;
    const uint lane = gl_LocalInvocationIndex % LANES;
    const uint mine = gl_LocalInvocationIndex / LANES;
    const uint rows = DOWN == 1 ? NROWS : SUBS * NROWS;  // of the work group
    const uint r0 = gl_WorkGroupID.x * rows + (DOWN == 1 ? 0 : mine * NROWS);
    float sums[NROWS], more[NROWS], biases[NROWS];
    [[unroll]] for (uint r = 0; r < NROWS; ++r) sums[r] = more[r] = biases[r] = 0;
    uint row[NROWS];
    for (uint i = DOWN == 1 ? mine : 0; i < (DOWN == 1 ? USED : 1); i += SUBS) {
        const uint choice = DOWN == 1 ? token * USED + i : gl_WorkGroupID.y;
        const uint first = chosen[choice] * n;
        [[unroll]] for (uint r = 0; r < NROWS; ++r) row[r] = first + min(r0 + r, n - 1);
        if (DOWN == 1) {
            const float weight = chosen_weights[choice];
            add(planes, row, choice, lane, weight, sums);
            if (BIAS == 1) {
                [[unroll]] for (uint r = 0; r < NROWS; ++r) biases[r] += weight * bias[row[r]];
            }
        } else {
            add(planes, row, token, lane, 1.0, sums);
            add(second, row, token, lane, 1.0, more);
        }
    }
    [[unroll]] for (uint r = 0; r < NROWS; ++r) {
        float total = reduced(sums[r]);
        if (DOWN == 1) {
            total += biases[r];
        } else {
            float up = reduced(more[r]);
            if (BIAS == 1) {
                total += bias[row[r]];
                up += up_bias[row[r]];
            }
            total = activated(ACTIVATION, total, up);
        }
        if (lane == 0) made[mine * NROWS + r] = total;
    }
    barrier();
    const uint me = gl_LocalInvocationIndex;
    if (PACK == 1) {
        if (me > 0) return;
        vec4 v[4];
        [[unroll]] for (uint i = 0; i < 16; ++i) v[i / 4][i % 4] = made[i];
        const uint to = gl_WorkGroupID.y * (n / 16) + gl_WorkGroupID.x;
        uvec4 codes;
        y_scales[to] = quantised(v, codes);
        y_codes[to] = codes;
    } else if (me < rows && gl_WorkGroupID.x * rows + me < n) {
        float total = made[me];
        if (DOWN == 1) {
            for (uint i = 1; i < SUBS; ++i) total += made[i * NROWS + me];
        }
        y[gl_WorkGroupID.y * n + gl_WorkGroupID.x * rows + me] = total;
    }
}
