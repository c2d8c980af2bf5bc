#version 460
// The best USED experts of each token by their scores, and how much each of them counts; besides,
// if wanted, the token's row as signed bytes.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "quantise.glsl"

layout(constant_id = 2) const uint EXPERTS = 8;
layout(constant_id = 3) const uint USED = 2;
layout(constant_id = 4) const uint GATING = 0;  // 0 softmax, 1 sigmoid, 2 softmax of the chosen
layout(constant_id = 5) const uint NORMALIZE = 1;
layout(constant_id = 6) const uint GROUPS = 0;  // of 16 columns of a row; 0: it is not wanted

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer Scores { float scores[]; };
layout(binding = 2) writeonly buffer Chosen { uint chosen[]; };
layout(binding = 3) writeonly buffer Weights { float weights[]; };
layout(binding = 4) readonly buffer X { vec4 x4[]; };
layout(binding = 5) writeonly buffer Codes { uvec4 x_codes[]; };
layout(binding = 6) writeonly buffer Scales { vec2 x_scales[]; };
layout(push_constant) uniform Push {
    uint counter;  // word of the frame with the number of tokens
    float factor;  // of the weights
};

shared float score[EXPERTS];
shared uint key[EXPERTS];  // larger is better; NaN is the worst
shared float best[USED];
shared float partial[THREADS];

uint ordered(float x) {
    const uint bits = floatBitsToUint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0;
    if ((bits & 0x7fffffffu) == 0) return 0x80000000u;  // both zeros
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// In a fixed order, in every invocation.
float summed(float own) {
    partial[gl_LocalInvocationIndex] = own;
    barrier();
    float sum = 0;
    for (uint i = 0; i < THREADS; ++i) sum += partial[i];
    barrier();
    return sum;
}

void main() {
    const uint token = gl_WorkGroupID.x, me = gl_LocalInvocationIndex;
    if (token >= frame[counter]) return;
    for (uint g = me; g < GROUPS; g += THREADS) {
        const uint at = token * GROUPS + g;
        vec4 v[4];
        [[unroll]] for (uint i = 0; i < 4; ++i) v[i] = x4[4 * at + i];
        uvec4 codes;
        x_scales[at] = quantised(v, codes);
        x_codes[at] = codes;
    }
    for (uint e = me; e < EXPERTS; e += THREADS) {
        score[e] = scores[token * EXPERTS + e];
        key[e] = ordered(score[e]);
    }
    barrier();
    for (uint e = me; e < EXPERTS; e += THREADS) {
        uint rank = 0;  // the lower number first among equals
        for (uint other = 0; other < EXPERTS; ++other)
            rank += uint(key[other] > key[e] || (key[other] == key[e] && other < e));
        if (rank < USED) {
            chosen[token * USED + rank] = e;
            best[rank] = score[e];
        }
    }
    barrier();
    const float top = best[0];
    float below = 1;
    if (GATING == 0) {
        float own = 0;
        for (uint e = me; e < EXPERTS; e += THREADS) own += exp(score[e] - top);
        below = summed(own);
    }
    float mine = 0;
    if (me < USED) mine = GATING == 1 ? 1.0 / (1.0 + exp(-best[me])) : exp(best[me] - top);
    if (GATING == 2) below = summed(mine);
    mine /= below;
    if (NORMALIZE == 1) mine /= summed(mine);
    if (me < USED) weights[token * USED + me] = mine * factor;
}
