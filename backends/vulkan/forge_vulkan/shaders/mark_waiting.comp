#version 460
// As mark.comp, when the kernels that it waits for have finished.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#define FLOW_ID 2
#define FLOW_BINDING 1
#include "awaited.glsl"

layout(binding = 0) writeonly buffer Mark { int mark; };
layout(push_constant) uniform Push {
    int number;
    Awaited awaited;
};
#include "flow.glsl"

void main() {
    lateness(awaited);
    mark = number;
}
