// Many tokens times a matrix of numbers: y[T, n] = x[T, k] W[n, k]^T in float32, any k, 16 columns
// at a time.
//! TYPE: f32 f16 bf16
//! constants: 256 1 4 0 0 0 1
//! constants: 256 1 1 1 1 1 4
//! budget: vgpr 128 lds 8192
#include "tile.h"

constexpr u32 BK = 16, FOURS = BK / 4;

__shared__ f4 xt[FOURS * BM];
__shared__ f4 wt[FOURS * BN];

INLINE f4 x_at(const float* x, u32 token, u32 c, u32 k) {
    const float* row = x + (u64)token * k;
    f4 v;
    UNROLL for (u32 i = 0; i < 4; ++i) v[i] = c + i < k ? row[c + i] : 0.0f;
    return v;
}

INLINE void run(
    const u32* __restrict__ frame, const u4* __restrict__ w4, const float* __restrict__ bias,
    const float* residual, float* y, const u32* __restrict__ groups, const float* __restrict__ x,
    const Push push
) {
    Block block;
    block.groups = groups;
    if (!block.started(frame, push)) return;
    const u32 tx = thread() % SIDE, ty = thread() / SIDE, k = push.k;
    for (u32 c0 = 0; c0 < k; c0 += BK) {
        // Neighbours read neighbouring columns, and write a row further.
        for (u32 e = thread(); e < FOURS * BM; e += THREADS) {
            const u32 t = e / FOURS, c = c0 + 4 * (e % FOURS);
            xt[e % FOURS * BM + t] = x_at(x, block.x_row(t, push), c, k);
        }
        for (u32 e = thread(); e < FOURS * BN; e += THREADS) {
            const u32 r = e / FOURS, c = c0 + 4 * (e % FOURS);
            f4 w = four(0.0f);
            if (c < k) w = load4(w4, push.planes, block.w_row(r, push), k, c);
            wt[e % FOURS * BN + r] = w;
        }
        barrier();
        UNROLL for (u32 f = 0; f < FOURS; ++f) {
            f4 w[TN];
            UNROLL for (u32 j = 0; j < TN; ++j) w[j] = wt[f * BN + tx + SIDE * j];
            UNROLL for (u32 i = 0; i < TM; ++i) {
                const f4 v = xt[f * BM + ty + SIDE * i];
                UNROLL for (u32 j = 0; j < TN; ++j) block.sums[i * TN + j] += dot(v, w[j]);
            }
        }
        barrier();
    }
    block.finish(bias, residual, y, push);
}
