#version 460
// All of one row of logits that reach the bar, in any order, as far as there is room; all are counted.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "numbers.glsl"
#include "logits.glsl"

layout(binding = 0) readonly buffer Logits { float logits[]; };
layout(binding = 1) readonly buffer Scratch { uint scratch[]; };
layout(binding = 2) buffer Result { uint result[]; };
layout(push_constant) uniform Push {
    uint width;
    uint room;  // candidates
};

void main() {
    const uint at = gl_GlobalInvocationID.x;
    if (at >= width) return;
    const float x = logits[at];
    if (ordered(x) < scratch[2]) return;
    const uint place = atomicAdd(result[0], 1);
    if (place >= room) return;
    result[2 + 2 * place] = at;
    result[3 + 2 * place] = floatBitsToUint(x);
}
