#version 460
// Zeros, for the counters of flow.glsl.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(binding = 0) writeonly buffer Words { uint words[]; };
layout(push_constant) uniform Push { uint count; };

void main() {
    for (uint i = gl_LocalInvocationIndex; i < count; i += THREADS) words[i] = 0;
}
