// The rows whose outputs are wanted.
//! constants: 64 1
//! budget: vgpr 16 lds 0

struct Push { u32 width; };

INLINE void run(
    const u32* __restrict__ frame, const float* __restrict__ x, float* __restrict__ y,
    const Push push
) {
    const u32 row = group_y(), column = group_x() * THREADS + thread();
    if (row >= frame[FRAME_ROWS] || column >= push.width) return;
    const u32 from = frame[FRAME_HEADER + 3 * frame[FRAME_CHUNK] + row];
    y[(u64)row * push.width + column] = x[(u64)from * push.width + column];
}
