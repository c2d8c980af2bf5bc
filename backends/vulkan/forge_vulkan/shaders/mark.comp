#version 460
// Writes a number that the host looks at when the device does not come back.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(binding = 0) writeonly buffer Mark { int mark; };
layout(push_constant) uniform Push { int number; };

void main() { mark = number; }
