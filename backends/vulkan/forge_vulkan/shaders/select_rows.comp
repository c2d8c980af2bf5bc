#version 460
// The rows whose outputs are wanted.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer X { float x[]; };
layout(binding = 2) writeonly buffer Out { float y[]; };
layout(push_constant) uniform Push { uint width; };

void main() {
    const uint row = gl_WorkGroupID.y, column = gl_GlobalInvocationID.x;
    if (row >= frame[FRAME_ROWS] || column >= width) return;
    const uint from = frame[FRAME_HEADER + 3 * frame[FRAME_CHUNK] + row];
    y[row * width + column] = x[from * width + column];
}
