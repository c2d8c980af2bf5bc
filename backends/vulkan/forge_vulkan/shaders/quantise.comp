#version 460
// Activation rows as signed bytes, with a scale for 16 columns.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "quantise.glsl"

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer X { vec4 x4[]; };
layout(binding = 2) writeonly buffer Codes { uvec4 codes[]; };
layout(binding = 3) writeonly buffer Scales { vec2 scales[]; };
layout(push_constant) uniform Push {
    uint groups;   // of 16 columns, for each of the counted rows
    uint counter;  // word of the frame with the number of rows
};

void main() {
    const uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    const uint at = group * THREADS + gl_LocalInvocationIndex;
    if (at >= groups * frame[counter]) return;
    vec4 v[4];
    [[unroll]] for (uint i = 0; i < 4; ++i) v[i] = x4[4 * at + i];
    uvec4 made;
    scales[at] = quantised(v, made);
    codes[at] = made;
}
