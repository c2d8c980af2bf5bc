#version 460
// Rows of a table by the frame's ids, as float32: of one part of a table, the rows that it holds.
//! TYPE: f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#define WEIGHTS_BINDING 1
#include "weights.glsl"

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 2) writeonly buffer Out { float y[]; };
layout(push_constant) uniform Push {
    Planes planes;
    uint first;    // row of the table that this part begins with
    uint rows;     // of this part
    uint k;        // columns
    uint counter;  // word of the frame with the number of ids
    uint field;    // of the frame: 0 tokens, 1 positions, …
};

void main() {
    const uint token = gl_WorkGroupID.y;
    if (token >= frame[counter]) return;
    const uint id = frame[FRAME_HEADER + field * frame[FRAME_CHUNK] + token];
    const uint row = id - first;  // wraps below the first, and is no row then
    if (row >= rows) return;
    const uint to = token * k;
#if QUANTISED
    const uint g = gl_GlobalInvocationID.x;
    if (16 * g >= k) return;
    uvec4 codes;
    float scale, offset;
    load16(planes, row, k, g, codes, scale, offset);
    [[unroll]] for (uint i = 0; i < 16; i++) {
        const int code = bitfieldExtract(int(codes[i / 4]), int(8 * (i % 4)), 8);
#if CENTRE
        y[to + 16 * g + i] = scale * float(code - CENTRE);  // the offset would round once more
#else
        y[to + 16 * g + i] = scale * float(code) + offset;
#endif
    }
#else
    const uint c = 4 * gl_GlobalInvocationID.x;
    if (c >= k) return;
    const vec4 four = load4(planes, row, k, c);
    [[unroll]] for (uint i = 0; i < 4; i++) {
        if (c + i < k) y[to + c + i] = four[i];
    }
#endif
}
