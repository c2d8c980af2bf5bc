#version 460
// Sums and products, elementwise; b may be one row for all.
//! OP: add mul
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer A { float a[]; };
layout(binding = 2) readonly buffer B { float b[]; };
layout(binding = 3) writeonly buffer Out { float y[]; };
layout(push_constant) uniform Push {
    uint width;    // columns of a row
    uint counter;  // word of the frame with the number of rows
    uint one_row;  // 1: b is one row
};

void main() {
    const uint at = gl_GlobalInvocationID.x;
    if (at >= width * frame[counter]) return;
    const float other = b[one_row == 1 ? at % width : at];
#if OP_ADD
    y[at] = a[at] + other;
#else
    y[at] = a[at] * other;
#endif
}
