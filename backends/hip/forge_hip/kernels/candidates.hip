// All of one row of logits that reach the bar, in any order, as far as there is room; all are counted.
//! constants: 256 1
//! budget: vgpr 24 lds 0
#include "logits.h"

struct Push {
    u32 width;
    u32 room;  // candidates
};

// scratch: as candidates_bar has left it.
INLINE void run(const float* __restrict__ logits, u32* scratch, u32* result, const Push push) {
    const u32 at = group_x() * THREADS + thread();
    if (at < push.width && ordered(logits[at]) >= scratch[2]) {
        // Counted here: the result may be memory of the host, where not every bus has atomics.
        const u32 place = add_device(scratch + 3, 1);
        if (place < push.room) {
            result[2 + 2 * place] = at;
            result[3 + 2 * place] = as_bits(logits[at]);
        }
    }
    barrier();
    if (thread() > 0) return;
    device_fence();
    if (add_device(scratch, 1) + 1 < GROUPS_X) return;
    device_fence();
    result[0] = exchange_device(scratch + 3, 0);  // for the next replay
    scratch[0] = 0;
}
