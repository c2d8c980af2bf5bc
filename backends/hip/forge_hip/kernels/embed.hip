// Rows of a table by the frame's ids, as float32: of one part of a table, the rows that it holds.
//! TYPE: f32 f16 bf16 q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4
//! constants: 64 1
//! budget: vgpr 48 lds 0
#include "weights.h"

struct Push {
    Planes planes;
    u32 first;    // row of the table that this part begins with
    u32 rows;     // of this part
    u32 k;        // columns
    u32 counter;  // word of the frame with the number of ids
    u32 field;    // of the frame: 0 tokens, 1 positions, …
};

INLINE void run(
    const u32* __restrict__ frame, const u4* __restrict__ w4, float* __restrict__ y,
    const Push push
) {
    const u32 token = group_y(), k = push.k;
    if (token >= frame[push.counter]) return;
    const u32 id = frame[FRAME_HEADER + push.field * frame[FRAME_CHUNK] + token];
    const u32 row = id - push.first;  // wraps below the first, and is no row then
    if (row >= push.rows) return;
    float* to = y + (u64)token * k;
    const u32 at = group_x() * THREADS + thread();
#if QUANTISED
    if (16 * at >= k) return;
    u4 codes;
    float scale, offset;
    load16(w4, push.planes, row, k, at, codes, scale, offset);
    UNROLL for (u32 i = 0; i < 4; ++i) {
        f4 made;
        UNROLL for (u32 j = 0; j < 4; ++j) {
            const i32 code = (i8)(codes[i] >> 8 * j);
#if CENTRE
            made[j] = scale * (float)(code - CENTRE);  // the offset would round once more
#elif HAS_OFFSET
            made[j] = product(scale, (float)code) + offset;
#else
            made[j] = scale * (float)code;
#endif
        }
        ((f4*)to)[4 * at + i] = made;
    }
#else
    if (4 * at >= k) return;
    const f4 made = load4(w4, push.planes, row, k, 4 * at);
    UNROLL for (u32 i = 0; i < 4; ++i) {
        if (4 * at + i < k) to[4 * at + i] = made[i];
    }
#endif
}
