// What tiles of a product y[T, n] = x[T, k] W[n, k]^T share: a work group of 16 x 16 invocations
// computes 16 * TM rows of x by 64 rows of W, one invocation every sixteenth of both.
//
// GROUPED: W is one matrix of n rows for each expert. A work group takes a block of an expert's
// choices (group.comp); choice c reads row c / SHARE of x, and makes row c of y.

layout(constant_id = 2) const uint TM = 4;  // rows of x of an invocation
layout(constant_id = 3) const uint BIAS = 0;
layout(constant_id = 4) const uint RESIDUAL = 0;
layout(constant_id = 5) const uint GROUPED = 0;
layout(constant_id = 6) const uint SHARE = 1;

layout(binding = 0) readonly buffer Frame { uint frame[]; };
#define WEIGHTS_BINDING 1
#include "weights.glsl"
layout(binding = 2) readonly buffer Bias { float bias[]; };
layout(binding = 3) readonly buffer Residual { float residual[]; };
layout(binding = 4) writeonly buffer Out { float y[]; };
layout(binding = 5) readonly buffer Groups { uint groups[]; };
layout(push_constant) uniform Push {
    Planes planes;
    uint n;        // rows of W, of each expert
    uint k;        // columns
    uint counter;  // word of the frame with the number of tokens
    uint width;    // of a row of y
    uint first;    // row of all of W that this part of it begins with
    uint rows;     // of this part
    uint order;    // word of `groups` where the choices in the experts' order begin
};

const uint SIDE = 16;
const uint TN = 4;  // rows of W of an invocation
const uint BM = SIDE * TM;
const uint BN = SIDE * TN;

uint begin = 0;   // of the block: a token, or a place in the order
uint end = 0;
uint expert = 0;
float sums[TM * TN];

// False where there is nothing to do.
bool started() {
    [[unroll]] for (uint i = 0; i < TM * TN; ++i) sums[i] = 0;
    if (GROUPED == 0) {
        begin = gl_WorkGroupID.y * BM;
        end = frame[counter];
        return begin < end;
    }
    if (gl_WorkGroupID.y >= groups[0]) return false;
    const uint at = 1 + 3 * gl_WorkGroupID.y;  // as group.comp wrote it
    expert = groups[at];
    begin = groups[at + 1];
    end = groups[at + 2];
    return true;
}

// The row of x (and of y, before SHARE) at place t of the block, or one that is there instead.
uint made(uint t) {
    const uint at = min(begin + t, end - 1);
    return GROUPED == 1 ? groups[order + at] : at;
}
uint x_row(uint t) { return GROUPED == 1 ? made(t) / SHARE : made(t); }

// Row r of W's or of the expert's in this part; it wraps before the first.
uint in_part(uint r) { return GROUPED == 1 ? expert * n + r - first : r; }
uint w_row(uint r) { return min(in_part(gl_WorkGroupID.x * BN + r), rows - 1); }

void finish(uint tx, uint ty) {
    [[unroll]] for (uint i = 0; i < TM; ++i) {
        const uint t = ty + SIDE * i;
        if (begin + t >= end) continue;
        const uint to = made(t) * width;
        [[unroll]] for (uint j = 0; j < TN; ++j) {
            const uint r = gl_WorkGroupID.x * BN + tx + SIDE * j;
            if (in_part(r) >= rows || (GROUPED == 1 && r >= n)) continue;
            const uint column = GROUPED == 1 ? r : first + r;
            float v = sums[i * TN + j];
            if (BIAS == 1) v += bias[expert * n + column];
            if (RESIDUAL == 1) v += residual[to + column];
            y[to + column] = v;
        }
    }
}
