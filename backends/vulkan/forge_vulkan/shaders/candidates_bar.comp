#version 460
// A bar that at least `wanted` of one row of logits reach: the wanted-th of the largest of each
// block. Each work group looks at some blocks; the last to finish at the largest of all. For 256
// invocations.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "numbers.glsl"
#include "logits.glsl"

layout(binding = 0) readonly buffer Logits { float logits[]; };
layout(binding = 1) coherent buffer Scratch { uint scratch[]; };  // counter, flags, bar, count; blocks' largest
layout(binding = 2) writeonly buffer Result { uint result[]; };  // count, flags; id and bits each
layout(push_constant) uniform Push {
    uint width;
    uint size;  // of a block
    uint blocks;
    uint wanted;
};

shared uint seen, arrived, counts[256], chosen, left;

void main() {
    const uint me = gl_LocalInvocationIndex, block = gl_GlobalInvocationID.x;
    if (me == 0) seen = 0;
    barrier();
    if (block < blocks) {
        const float any_ = logits[0];
        uint largest = 0, flags = 0;
        for (uint i = 0; i < size; i++) {
            // Neighbours read neighbours: a block is every `blocks`-th number.
            const uint at = i * blocks + block;
            if (at >= width) break;
            largest = max(largest, ordered(logits[at]));
            flags |= flags_of(logits[at], any_);
        }
        scratch[4 + block] = largest;
        atomicOr(seen, flags);
    }
    memoryBarrierBuffer();
    barrier();
    if (me == 0) {
        atomicOr(scratch[1], seen);
        memoryBarrierBuffer();
        arrived = atomicAdd(scratch[0], 1);
    }
    barrier();
    if (arrived + 1 < gl_NumWorkGroups.x) return;

    // Eight bits at a time from the top: how many have more, and the digit of the wanted-th.
    memoryBarrierBuffer();
    uint bar = 0;
    if (me == 0) left = wanted;
    for (int shift = 24; shift >= 0; shift -= 8) {
        counts[me] = 0;
        barrier();
        const uint above = shift == 24 ? 0 : 0xffffffffu << (shift + 8);
        for (uint i = me; i < blocks; i += THREADS) {
            const uint order = scratch[4 + i];
            if ((order & above) == bar) atomicAdd(counts[order >> shift & 255u], 1);
        }
        barrier();
        // Sums from each digit up to the last; one digit's passes `left`, and the next one's does not.
        for (uint step_ = 1; step_ < 256; step_ *= 2) {
            const uint further = me + step_ < 256 ? counts[me + step_] : 0;
            barrier();
            counts[me] += further;
            barrier();
        }
        const uint more = me < 255 ? counts[me + 1] : 0, needed = left;
        const bool here = counts[me] >= needed;
        barrier();
        if (here && more < needed) {
            chosen = me;
            left = needed - more;
        }
        barrier();
        bar |= chosen << shift;
    }
    if (me > 0) return;
    result[1] = scratch[1];
    scratch[0] = 0;  // for the next replay
    scratch[1] = 0;
    scratch[2] = bar;
}
