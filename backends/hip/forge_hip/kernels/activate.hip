// An expert's gate and up, a row for each choice, become what goes down; in the place of the gate.
//! constants: 256 1 1
//! constants: 256 1 2
//! constants: 256 1 3
//! budget: vgpr 24 lds 0
#include "experts.h"

constexpr u32 ACTIVATION = C2;  // as in experts.h

struct Push {
    u32 numbers;  // of a token
    u32 counter;  // word of the frame with the number of tokens
};

INLINE void run(
    const u32* __restrict__ frame, float* gate, const float* __restrict__ up, const Push push
) {
    const u32 at = (group_y() * GROUPS_X + group_x()) * THREADS + thread();
    if (at < push.numbers * frame[push.counter]) gate[at] = activated(ACTIVATION, gate[at], up[at]);
}
