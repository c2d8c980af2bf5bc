#version 460
// An expert's gate and up, a row for each choice, become what goes down; in the place of the gate.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "experts.glsl"

layout(constant_id = 2) const uint ACTIVATION = 1;  // as in experts.glsl

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) buffer Gate { float gate[]; };
layout(binding = 2) readonly buffer Up { float up[]; };
layout(push_constant) uniform Push {
    uint numbers;  // of a token
    uint counter;  // word of the frame with the number of tokens
};

void main() {
    const uint group = gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x;
    const uint at = group * THREADS + gl_LocalInvocationIndex;
    if (at < numbers * frame[counter]) gate[at] = activated(ACTIVATION, gate[at], up[at]);
}
