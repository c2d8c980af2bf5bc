// Rotation of every head's pairs; columns past the pairs are copied.
//! constants: 64 1
//! budget: vgpr 32 lds 0
#include "rope.h"

struct Push {
    u32 heads;
    u32 size;   // of a head
    u32 pairs;  // that turn
    u32 neox;   // 1: pairs are halves (i, i + pairs), else neighbours
    float magnitude;
};

// `frequencies` are radians a token; y may be x.
INLINE void run(
    const u32* __restrict__ frame, const float* x, const float* __restrict__ frequencies,
    float* y, const Push push
) {
    const u32 token = group_y(), pairs = push.pairs;
    if (token >= frame[FRAME_TOKENS]) return;
    const u32 units = push.size - pairs;  // of a head: its pairs, and each column that stays
    const u32 at = group_x() * THREADS + thread(), head = at / units, unit = at % units;
    if (head >= push.heads) return;
    const u64 start = ((u64)token * push.heads + head) * push.size;
    if (unit >= pairs) {
        y[start + pairs + unit] = x[start + pairs + unit];
        return;
    }
    const float position = (float)frame[FRAME_HEADER + frame[FRAME_CHUNK] + token];
    const u64 one = start + (push.neox == 1 ? unit : 2 * unit), other = one + (push.neox == 1 ? pairs : 1);
    const f2 made = rotated(x[one], x[other], turned(position, frequencies[unit]), push.magnitude);
    y[one] = made[0];
    y[other] = made[1];
}
