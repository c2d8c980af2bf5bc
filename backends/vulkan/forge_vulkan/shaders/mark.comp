#version 460
// Writes a number that the host looks at when the device does not come back.
//! FLOW: 0 1
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(binding = 0) writeonly buffer Mark { int mark; };
#if FLOW
#define FLOW_ID 2
#define FLOW_BINDING 1
#include "awaited.glsl"
layout(push_constant) uniform Push {
    int number;
    Awaited awaited;
};
#include "flow.glsl"

void main() {
    lateness(awaited);
    mark = number;
}
#else
layout(push_constant) uniform Push { int number; };

void main() { mark = number; }
#endif
