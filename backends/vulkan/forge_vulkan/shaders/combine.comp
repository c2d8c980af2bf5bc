#version 460
// A token's sum over its experts' rows, each by its weight, from the best on.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 2) const uint USED = 2;

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer Rows { float rows[]; };
layout(binding = 2) readonly buffer Weights { float weights[]; };
layout(binding = 3) writeonly buffer Out { float y[]; };
layout(push_constant) uniform Push {
    uint width;
    uint counter;  // word of the frame with the number of tokens
};

void main() {
    const uint token = gl_WorkGroupID.y, column = gl_GlobalInvocationID.x;
    if (token >= frame[counter] || column >= width) return;
    float sum = 0;
    for (uint i = 0; i < USED; ++i) {
        const uint choice = token * USED + i;
        sum += weights[choice] * rows[choice * width + column];
    }
    y[token * width + column] = sum;
}
