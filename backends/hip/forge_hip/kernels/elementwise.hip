// Sums, products, gates: a number of each activation, and one comes out.
//! OP: add mul scale softcap silu gelu_tanh gelu_quick gelu_none
//! constants: 64 1 0
//! constants: 64 1 1
//! constants: 64 1 2
//! budget: vgpr 40 lds 0
#include "numbers.h"

constexpr u32 SECOND = C2;  // 0: a alone; 1: b is a matrix; 2: b is one row
constexpr u32 EACH = 4;

struct Push {
    u32 width;
    u32 counter;   // word of the frame with the number of rows
    float factor;  // of scale; the bound of softcap
};

INLINE float changed(float x, float factor) {
#if OP_SCALE
    return x * factor;
#elif OP_SOFTCAP
    return tanh_(x / factor) * factor;
#elif OP_SILU
    return silu_(x);
#elif OP_GELU_TANH
    return gelu_tanh(x);
#elif OP_GELU_QUICK
    return silu_(x * 1.702f) / 1.702f;
#elif OP_GELU_NONE
    return x * normal_(x);
#else
    return x;
#endif
}

INLINE void run(
    const u32* __restrict__ frame, const float* a, const float* b, float* y, const Push push
) {
    const u32 row = group_y();
    if (row >= frame[push.counter]) return;
    const u32 first = group_x() * THREADS * EACH + thread();
    UNROLL for (u32 i = 0; i < EACH; i++) {
        const u32 column = first + i * THREADS;
        if (column >= push.width) return;
        const u64 at = (u64)row * push.width + column;
        const float one = changed(a[at], push.factor);
        const float other = SECOND == 0 ? 1.0f : b[SECOND == 2 ? column : at];
#if OP_ADD
        y[at] = one + other;
#else
        y[at] = SECOND == 0 ? one : one * other;
#endif
    }
}
