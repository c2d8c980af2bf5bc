// Activation rows as signed bytes, with a scale for 16 columns.
//! constants: 64 1
//! budget: vgpr 48 lds 0
#include "quantise.h"

struct Push {
    u32 groups;   // of 16 columns, for each of the counted rows
    u32 counter;  // word of the frame with the number of rows
};

INLINE void run(
    const u32* __restrict__ frame, const f4* __restrict__ x4, u4* __restrict__ codes,
    f2* __restrict__ scales, const Push push
) {
    const u32 at = (group_y() * GROUPS_X + group_x()) * THREADS + thread();
    if (at >= push.groups * frame[push.counter]) return;
    f4 v[4];
    UNROLL for (u32 i = 0; i < 4; ++i) v[i] = x4[(u64)4 * at + i];
    u4 made;
    scales[at] = quantised(v, made);
    codes[at] = made;
}
