// The largest of one row of logits, the first of equals; on request the next step's frame is set to
// it. Each work group looks at a part; the last to finish at what the others have found.
//! constants: 256 1
//! budget: vgpr 40 lds 3088
#include "logits.h"

struct Push {
    u32 width;
    u32 share;   // numbers of a work group
    u32 onward;  // 1: the next step is set up
    u32 at;      // the result's place, in words
};

__shared__ u32 best[THREADS], best_id[THREADS], seen[THREADS];
__shared__ u32 arrived;

// The better of two in best[0] and best_id[0], and all flags in seen[0].
INLINE void merge() {
    const u32 me = thread();
    barrier();
    for (u32 step = THREADS / 2; step > 0; step /= 2) {
        if (me < step) {
            const u32 other = me + step;
            const bool first = best_id[other] < best_id[me];
            if (best[other] > best[me] || (best[other] == best[me] && first)) {
                best[me] = best[other];
                best_id[me] = best_id[other];
            }
            seen[me] |= seen[other];
        }
        barrier();
    }
}

// scratch: a counter; value, id, flags of each work group. result: id, flags, the logit's bits.
INLINE void run(
    u32* frame, const float* __restrict__ logits, u32* scratch, u32* result, const Push push
) {
    const u32 me = thread(), groups = GROUPS_X, group = group_x();
    const u32 start = group * push.share, end = least(start + push.share, push.width);
    const float any = logits[0];
    u32 mine = 0, mine_id = 0xffffffffu, flags = 0;
    for (u32 i = start + me; i < end; i += THREADS) {
        const float x = logits[i];
        const u32 order = ordered(x);
        if (order > mine || mine_id == 0xffffffffu) {
            mine = order;
            mine_id = i;
        }
        flags |= flags_of(x, any);
    }
    best[me] = mine;
    best_id[me] = mine_id;
    seen[me] = flags;
    merge();
    if (me == 0) {
        scratch[1 + 3 * group] = best[0];
        scratch[2 + 3 * group] = best_id[0];
        scratch[3 + 3 * group] = seen[0];
        device_fence();
        arrived = add_device(scratch, 1);
    }
    barrier();
    if (arrived + 1 < groups) return;

    device_fence();
    const bool there = me < groups;
    best[me] = there ? scratch[1 + 3 * me] : 0;
    best_id[me] = there ? scratch[2 + 3 * me] : 0xffffffffu;
    seen[me] = there ? scratch[3 + 3 * me] : 0;
    merge();
    if (me > 0) return;
    scratch[0] = 0;  // for the next replay
    result[push.at] = best_id[0];
    result[push.at + 1] = seen[0];
    result[push.at + 2] = as_bits(logits[best_id[0]]);
    if (push.onward == 1) {
        const u32 chunk = frame[FRAME_CHUNK];
        frame[FRAME_HEADER] = best_id[0];
        frame[FRAME_HEADER + chunk] += 1;
        frame[FRAME_REACH] += 1;
    }
}
