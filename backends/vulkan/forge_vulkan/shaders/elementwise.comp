#version 460
// Sums, products, gates: a number of each activation, and one comes out.
//! OP: add mul scale softcap silu gelu_tanh gelu_quick gelu_none
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "numbers.glsl"

layout(constant_id = 2) const uint SECOND = 1;  // 0: a alone; 1: b is a matrix; 2: b is one row
const uint EACH = 4;

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer A { float a[]; };
layout(binding = 2) readonly buffer B { float b[]; };
layout(binding = 3) writeonly buffer Out { float y[]; };
layout(push_constant) uniform Push {
    uint width;
    uint counter;  // word of the frame with the number of rows
    float factor;  // of scale; the bound of softcap
};

float changed(float x) {
#if OP_SCALE
    return x * factor;
#elif OP_SOFTCAP
    return tanh_(x / factor) * factor;
#elif OP_SILU
    return silu_(x);
#elif OP_GELU_TANH
    return x * 0.5 * (1.0 + tanh_(0.79788456 * (x + 0.044715 * x * x * x)));
#elif OP_GELU_QUICK
    return silu_(x * 1.702) / 1.702;
#elif OP_GELU_NONE
    return x * normal_(x);
#else
    return x;
#endif
}

void main() {
    const uint row = gl_WorkGroupID.y;
    if (row >= frame[counter]) return;
    const uint first = gl_WorkGroupID.x * THREADS * EACH + gl_LocalInvocationIndex;
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        const uint column = first + i * THREADS;
        if (column >= width) return;
        const uint at = row * width + column;
        const float one = changed(a[at]);
        const float other = SECOND == 0 ? 1.0 : b[SECOND == 2 ? column : at];
#if OP_ADD
        y[at] = one + other;
#else
        y[at] = SECOND == 0 ? one : one * other;
#endif
    }
}
