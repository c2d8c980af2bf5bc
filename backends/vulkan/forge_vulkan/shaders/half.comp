#version 460
// Rows as halves for cooperative matrices: a norm or a gate first, if one is fused. Each row is
// divided by the power of two that brings its largest number under 4096, and `scales` has that.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 2) const uint NORM = 0;  // 1: by the root mean square, times g
layout(constant_id = 3) const uint GATE = 0;  // as in gates.glsl; of x, times up

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer X { float x[]; };
layout(binding = 2) readonly buffer G { float g[]; };  // a norm's weight, or up
layout(binding = 3) writeonly buffer Out { uint halves[]; };
layout(binding = 4) writeonly buffer Scales { float scales[]; };
layout(push_constant) uniform Push {
    uint width;    // a multiple of 8
    uint counter;
    float epsilon;
};

#include "gates.glsl"

shared float room[THREADS];

float total(float v) {
    const uint at = gl_LocalInvocationIndex;
    room[at] = v;
    for (uint step = THREADS / 2; step > 0; step /= 2) {
        barrier();
        if (at < step) room[at] += room[at + step];
    }
    barrier();
    const float sum = room[0];
    barrier();
    return sum;
}

float largest(float v) {
    const uint at = gl_LocalInvocationIndex;
    room[at] = v;
    for (uint step = THREADS / 2; step > 0; step /= 2) {
        barrier();
        if (at < step) room[at] = max(room[at], room[at + step]);
    }
    barrier();
    const float most = room[0];
    barrier();
    return most;
}

float value(uint start, uint c) {
    const float v = x[start + c];
    if (NORM == 1) return v * g[c];
    if (GATE != 0) return gated(GATE, v, g[start + c]);
    return v;
}

void main() {
    const uint row = gl_WorkGroupID.x;
    if (row >= frame[counter]) return;
    const uint start = row * width;
    float squares = 0, most = 0;
    for (uint c = gl_LocalInvocationIndex; c < width; c += THREADS) {
        if (NORM == 1) squares += x[start + c] * x[start + c];
        const float v = abs(value(start, c));
        // A comparison with NaN is false: what is not finite stays as it is, and so does its row.
        if (v < 1e38) most = max(most, v);
    }
    float inverse = 1.0;
    if (NORM == 1) inverse = inversesqrt(total(squares) / float(width) + epsilon);
    most = largest(most);
    int exponent = 0;
    if (most > 0.0) frexp(most, exponent);
    exponent = clamp(exponent - 12, -100, 100);
    const float down = ldexp(1.0, -exponent);
    for (uint c = 2 * gl_LocalInvocationIndex; c < width; c += 2 * THREADS)
        halves[(start + c) / 2] = packHalf2x16(vec2(value(start, c), value(start, c + 1)) * down);
    if (gl_LocalInvocationIndex == 0) scales[row] = ldexp(inverse, exponent);
}
