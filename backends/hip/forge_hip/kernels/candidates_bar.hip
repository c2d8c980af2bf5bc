// A bar that at least `wanted` of one row of logits reach: the wanted-th of the largest of each
// block. Each work group looks at some blocks; the last to finish at the largest of all. For 256
// threads.
//! constants: 256 1
//! budget: vgpr 40 lds 1056
#include "logits.h"

struct Push {
    u32 width;
    u32 size;  // of a block
    u32 blocks;
    u32 wanted;
};

__shared__ u32 seen, arrived, counts[256], chosen, left;

// scratch: counter, flags, bar, count; blocks' largest. result: count, flags; id and bits each.
INLINE void run(const float* __restrict__ logits, u32* scratch, u32* result, const Push push) {
    const u32 me = thread(), block = group_x() * THREADS + me, blocks = push.blocks;
    if (me == 0) seen = 0;
    barrier();
    if (block < blocks) {
        const float any = logits[0];
        u32 largest = 0, flags = 0;
        for (u32 i = 0; i < push.size; i++) {
            // Neighbours read neighbours: a block is every `blocks`-th number.
            const u32 at = i * blocks + block;
            if (at >= push.width) break;
            largest = most(largest, ordered(logits[at]));
            flags |= flags_of(logits[at], any);
        }
        scratch[4 + block] = largest;
        or_shared(&seen, flags);
    }
    device_fence();
    barrier();
    if (me == 0) {
        or_device(scratch + 1, seen);
        device_fence();
        arrived = add_device(scratch, 1);
    }
    barrier();
    if (arrived + 1 < GROUPS_X) return;

    // Eight bits at a time from the top: how many have more, and the digit of the wanted-th.
    device_fence();
    u32 bar = 0;
    if (me == 0) left = push.wanted;
    for (i32 shift = 24; shift >= 0; shift -= 8) {
        counts[me] = 0;
        barrier();
        const u32 above = shift == 24 ? 0 : 0xffffffffu << (shift + 8);
        for (u32 i = me; i < blocks; i += THREADS) {
            const u32 order = scratch[4 + i];
            if ((order & above) == bar) add_shared(&counts[order >> shift & 255u], 1);
        }
        barrier();
        // Sums from each digit up to the last; one digit's passes `left`, and the next one's does not.
        for (u32 step = 1; step < 256; step *= 2) {
            const u32 further = me + step < 256 ? counts[me + step] : 0;
            barrier();
            counts[me] += further;
            barrier();
        }
        const u32 more = me < 255 ? counts[me + 1] : 0, needed = left;
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
