#version 460
// The largest of one row of logits, the first of equals; on request the next step's frame is set to
// it. Each work group looks at a part; the last to finish at what the others have found.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "numbers.glsl"
#include "logits.glsl"

layout(binding = 0) buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer Logits { float logits[]; };
layout(binding = 2) coherent buffer Scratch { uint scratch[]; };  // a counter; value, id, flags each
layout(binding = 3) writeonly buffer Result { uint result[]; };   // id, flags, the logit's bits
layout(push_constant) uniform Push {
    uint width;
    uint share;   // numbers of a work group
    uint onward;  // 1: the next step is set up
    uint at;      // the result's place, in words
};

shared uint best[THREADS], best_id[THREADS], seen[THREADS];

// The better of two in best[0] and best_id[0], and all flags in seen[0].
void merge() {
    const uint me = gl_LocalInvocationIndex;
    barrier();
    for (uint step_ = THREADS / 2; step_ > 0; step_ /= 2) {
        if (me < step_) {
            const uint other = me + step_;
            const bool first = best_id[other] < best_id[me];
            if (best[other] > best[me] || best[other] == best[me] && first) {
                best[me] = best[other];
                best_id[me] = best_id[other];
            }
            seen[me] |= seen[other];
        }
        barrier();
    }
}

shared uint arrived;

void main() {
    const uint me = gl_LocalInvocationIndex, groups = gl_NumWorkGroups.x;
    const uint start = gl_WorkGroupID.x * share, end = min(start + share, width);
    const float any_ = logits[0];
    uint mine = 0, mine_id = 0xffffffffu, flags = 0;
    for (uint i = start + me; i < end; i += THREADS) {
        const float x = logits[i];
        const uint order = ordered(x);
        if (order > mine || mine_id == 0xffffffffu) {
            mine = order;
            mine_id = i;
        }
        flags |= flags_of(x, any_);
    }
    best[me] = mine;
    best_id[me] = mine_id;
    seen[me] = flags;
    merge();
    if (me == 0) {
        scratch[1 + 3 * gl_WorkGroupID.x] = best[0];
        scratch[2 + 3 * gl_WorkGroupID.x] = best_id[0];
        scratch[3 + 3 * gl_WorkGroupID.x] = seen[0];
        memoryBarrierBuffer();
        arrived = atomicAdd(scratch[0], 1);
    }
    barrier();
    if (arrived + 1 < groups) return;

    memoryBarrierBuffer();
    const bool there = me < groups;
    best[me] = there ? scratch[1 + 3 * me] : 0;
    best_id[me] = there ? scratch[2 + 3 * me] : 0xffffffffu;
    seen[me] = there ? scratch[3 + 3 * me] : 0;
    merge();
    if (me > 0) return;
    scratch[0] = 0;  // for the next replay
    result[at] = best_id[0];
    result[at + 1] = seen[0];
    result[at + 2] = floatBitsToUint(logits[best_id[0]]);
    if (onward == 1) {
        const uint chunk = frame[FRAME_CHUNK];
        frame[FRAME_HEADER] = best_id[0];
        frame[FRAME_HEADER + chunk] += 1;
        frame[FRAME_REACH] += 1;
    }
}
