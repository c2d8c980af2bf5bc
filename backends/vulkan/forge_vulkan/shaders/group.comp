#version 460
// Sorts the choices of all tokens by expert, and cuts each expert's into blocks of no more than BM.
//
// In words: the number of blocks; then for each its expert, and the places where it begins and ends
// in the order; from `order` on the choices, a token's USED one after another, in that order.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 2) const uint EXPERTS = 8;
layout(constant_id = 3) const uint USED = 2;
layout(constant_id = 4) const uint BM = 64;

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer Chosen { uint chosen[]; };
layout(binding = 2) writeonly buffer Groups { uint groups[]; };
layout(push_constant) uniform Push {
    uint counter;  // word of the frame with the number of tokens
    uint order;
};

shared uint count[EXPERTS];
shared uint start[EXPERTS];
shared uint block[EXPERTS];  // the expert's first

void main() {
    const uint me = gl_LocalInvocationIndex, choices = frame[counter] * USED;
    for (uint e = me; e < EXPERTS; e += THREADS) count[e] = 0;
    barrier();
    for (uint c = me; c < choices; c += THREADS) atomicAdd(count[chosen[c]], 1);
    barrier();
    if (me == 0) {
        uint at = 0, blocks = 0;
        for (uint e = 0; e < EXPERTS; ++e) {
            start[e] = at;
            block[e] = blocks;
            at += count[e];
            blocks += (count[e] + BM - 1) / BM;
        }
        groups[0] = blocks;
    }
    barrier();
    for (uint e = me; e < EXPERTS; e += THREADS) {
        for (uint at = 0; at < count[e]; at += BM) {
            const uint to = 1 + 3 * (block[e] + at / BM);
            groups[to] = e;
            groups[to + 1] = start[e] + at;
            groups[to + 2] = start[e] + min(at + BM, count[e]);
        }
    }
    barrier();
    // Within an expert in any order: no row's numbers depend on its place.
    for (uint c = me; c < choices; c += THREADS)
        groups[order + atomicAdd(start[chosen[c]], 1)] = c;
}
