#version 460
// Rows as halves for cooperative matrices: a norm or a gate first, if one is fused. Each row is
// divided by the power of two that brings its largest number under 4096, and `scales` has that.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 2) const uint WIDTH = 256;  // a multiple of 8
layout(constant_id = 3) const uint NORM = 0;     // 1: by the root mean square, times g
layout(constant_id = 4) const uint GATE = 0;     // as in gates.glsl; of x, times up

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer X { vec4 x[]; };
layout(binding = 2) readonly buffer G { vec4 g[]; };  // a norm's weight, or up
layout(binding = 3) writeonly buffer Out { uvec2 halves[]; };
layout(binding = 4) writeonly buffer Scales { float scales[]; };
layout(push_constant) uniform Push {
    uint counter;
    float epsilon;
};

#include "gates.glsl"

const uint FOURS = WIDTH / 4;
const uint EACH = (FOURS + THREADS - 1) / THREADS;

shared vec2 room[THREADS];

// The sum of the first and the largest of the second numbers, over the work group.
vec2 sum_and_largest(vec2 v) {
    const uint at = gl_LocalInvocationIndex;
    room[at] = v;
    for (uint step_ = THREADS / 2; step_ > 0; step_ /= 2) {
        barrier();
        if (at < step_) {
            const vec2 other = room[at + step_];
            room[at] = vec2(room[at].x + other.x, max(room[at].y, other.y));
        }
    }
    barrier();
    return room[0];
}

void main() {
    const uint row = gl_WorkGroupID.x;
    if (row >= frame[counter]) return;
    vec4 v[EACH];
    vec2 mine = vec2(0);
    [[unroll]] for (uint i = 0; i < EACH; ++i) {
        const uint c = gl_LocalInvocationIndex + i * THREADS;
        if (c >= FOURS) continue;
        v[i] = x[row * FOURS + c];
        if (NORM == 1) {
            mine.x += dot(v[i], v[i]);
            v[i] *= g[c];
        } else if (GATE != 0) {
            const vec4 up = g[row * FOURS + c];
            [[unroll]] for (uint j = 0; j < 4; ++j) v[i][j] = gated(GATE, v[i][j], up[j]);
        }
        // A comparison with NaN is false: what is not finite stays as it is, and so does its row.
        [[unroll]] for (uint j = 0; j < 4; ++j)
            if (abs(v[i][j]) < 1e38) mine.y = max(mine.y, abs(v[i][j]));
    }
    const vec2 found = sum_and_largest(mine);
    const float inverse = NORM == 1 ? inversesqrt(found.x / float(WIDTH) + epsilon) : 1.0;
    int exponent = 0;
    if (found.y > 0.0) frexp(found.y, exponent);
    exponent = clamp(exponent - 12, -100, 100);
    const float down = ldexp(1.0, -exponent);
    [[unroll]] for (uint i = 0; i < EACH; ++i) {
        const uint c = gl_LocalInvocationIndex + i * THREADS;
        if (c >= FOURS) continue;
        const vec4 s = v[i] * down;
        halves[row * FOURS + c] = uvec2(packHalf2x16(s.xy), packHalf2x16(s.zw));
    }
    if (gl_LocalInvocationIndex == 0) scales[row] = ldexp(inverse, exponent);
}
