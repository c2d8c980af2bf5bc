#version 460
// Rotation of every head's pairs; columns past the pairs are copied.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "rope.glsl"

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer X { float x[]; };
layout(binding = 2) readonly buffer Frequencies { float frequencies[]; };  // radians a token
layout(binding = 3) writeonly buffer Out { float y[]; };
layout(push_constant) uniform Push {
    uint heads;
    uint size;   // of a head
    uint pairs;  // that turn
    uint neox;   // 1: pairs are halves (i, i + pairs), else neighbours
    float magnitude;
};

void main() {
    const uint token = gl_WorkGroupID.y;
    if (token >= frame[FRAME_TOKENS]) return;
    const uint units = size - pairs;  // of a head: its pairs, and each column that stays
    const uint head = gl_GlobalInvocationID.x / units, unit = gl_GlobalInvocationID.x % units;
    if (head >= heads) return;
    const uint start = (token * heads + head) * size;
    if (unit >= pairs) {
        y[start + pairs + unit] = x[start + pairs + unit];
        return;
    }
    const float position = float(frame[FRAME_HEADER + frame[FRAME_CHUNK] + token]);
    const uint one = start + (neox == 1 ? unit : 2 * unit), other = one + (neox == 1 ? pairs : 1);
    const vec2 turn = turned(position, frequencies[unit]) * magnitude;
    const vec2 pair = rotated(vec2(x[one], x[other]), turn);
    y[one] = pair.x;
    y[other] = pair.y;
}
