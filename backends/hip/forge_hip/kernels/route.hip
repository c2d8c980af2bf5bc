// The best USED experts of each token by their scores, and how much each of them counts; besides,
// if wanted, the token's row as signed bytes.
//! constants: 64 1 64 8 0 1 128
//! constants: 64 1 128 4 1 0 0
//! constants: 64 1 32 4 2 1 180
//! budget: vgpr 80 lds 2048
#include "quantise.h"

constexpr u32 EXPERTS = C2, USED = C3;
constexpr u32 GATING = C4;  // 0 softmax, 1 sigmoid, 2 softmax of the chosen
constexpr bool NORMALIZE = C5 == 1;
constexpr u32 GROUPS = C6;  // of 16 columns of a row; 0: it is not wanted

struct Push {
    u32 counter;   // word of the frame with the number of tokens
    float factor;  // of the weights
};

__shared__ float score[EXPERTS];
__shared__ u32 key[EXPERTS];  // larger is better; NaN is the worst
__shared__ float best[USED];
__shared__ float partial[THREADS];

INLINE u32 ordered(float x) {
    const u32 bits = as_bits(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return 0;
    if ((bits & 0x7fffffffu) == 0) return 0x80000000u;  // both zeros
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

// In a fixed order, in every thread.
INLINE float summed(float own) {
    partial[thread()] = own;
    barrier();
    float sum = 0;
    for (u32 i = 0; i < THREADS; ++i) sum += partial[i];
    barrier();
    return sum;
}

INLINE void run(
    const u32* __restrict__ frame, const float* __restrict__ scores, u32* chosen, float* weights,
    const f4* __restrict__ x4, u4* x_codes, f2* x_scales, const Push push
) {
    const u32 token = group_x(), me = thread();
    if (token >= frame[push.counter]) return;
    for (u32 g = me; g < GROUPS; g += THREADS) {
        const u32 at = token * GROUPS + g;
        f4 v[4];
        UNROLL for (u32 i = 0; i < 4; ++i) v[i] = x4[(u64)4 * at + i];
        u4 codes;
        x_scales[at] = quantised(v, codes);
        x_codes[at] = codes;
    }
    for (u32 e = me; e < EXPERTS; e += THREADS) {
        score[e] = scores[token * EXPERTS + e];
        key[e] = ordered(score[e]);
    }
    barrier();
    for (u32 e = me; e < EXPERTS; e += THREADS) {
        u32 rank = 0;  // the lower number first among equals
        for (u32 other = 0; other < EXPERTS; ++other) {
            rank += key[other] > key[e] || (key[other] == key[e] && other < e) ? 1 : 0;
        }
        if (rank < USED) {
            chosen[token * USED + rank] = e;
            best[rank] = score[e];
        }
    }
    barrier();
    const float top = best[0];
    float below = 1;
    if (GATING == 0) {
        float own = 0;
        for (u32 e = me; e < EXPERTS; e += THREADS) own += exp_(score[e] - top);
        below = summed(own);
    }
    float mine = 0;
    if (me < USED) mine = GATING == 1 ? 1.0f / (1.0f + exp_(-best[me])) : exp_(best[me] - top);
    if (GATING == 2) below = summed(mine);
    mine /= below;
    if (NORMALIZE) mine /= summed(mine);
    if (me < USED) weights[token * USED + me] = mine * push.factor;
}
