// A token's sum over its experts' rows, each by its weight, from the best on.
//! constants: 64 1 8
//! constants: 64 1 2
//! budget: vgpr 48 lds 0

constexpr u32 USED = C2;

struct Push {
    u32 width;
    u32 counter;  // word of the frame with the number of tokens
};

INLINE void run(
    const u32* __restrict__ frame, const float* __restrict__ rows,
    const float* __restrict__ weights, float* __restrict__ y, const Push push
) {
    const u32 token = group_y(), column = group_x() * THREADS + thread();
    if (token >= frame[push.counter] || column >= push.width) return;
    float sum = 0;
    for (u32 i = 0; i < USED; ++i) {
        const u32 choice = token * USED + i;
        sum += weights[choice] * rows[(u64)choice * push.width + column];
    }
    y[(u64)token * push.width + column] = sum;
}
