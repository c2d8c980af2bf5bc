#version 460
// All of one row of logits that reach the bar, in any order, as far as there is room; all are counted.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "numbers.glsl"
#include "logits.glsl"

layout(binding = 0) readonly buffer Logits { float logits[]; };
layout(binding = 1) coherent buffer Scratch { uint scratch[]; };  // as candidates_bar has left it
layout(binding = 2) writeonly buffer Result { uint result[]; };
layout(push_constant) uniform Push {
    uint width;
    uint room;  // candidates
};

void main() {
    const uint at = gl_GlobalInvocationID.x;
    if (at < width && ordered(logits[at]) >= scratch[2]) {
        // Counted here: the result may be memory of the host, where not every bus has atomics.
        const uint place = atomicAdd(scratch[3], 1);
        if (place < room) {
            result[2 + 2 * place] = at;
            result[3 + 2 * place] = floatBitsToUint(logits[at]);
        }
    }
    memoryBarrierBuffer();
    barrier();
    if (gl_LocalInvocationIndex > 0) return;
    if (atomicAdd(scratch[0], 1) + 1 < gl_NumWorkGroups.x) return;
    memoryBarrierBuffer();
    result[0] = atomicExchange(scratch[3], 0);  // for the next replay
    scratch[0] = 0;
}
