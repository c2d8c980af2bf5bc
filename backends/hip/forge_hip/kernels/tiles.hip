// Many tokens times a quantised matrix: y[T, n] = x[T, k] W[n, k]^T, by products of signed bytes.
//
// Along k it goes by pairs of groups of 16 columns, in the order in which they lie in W's bytes.
//! TYPE: q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4
//! constants: 256 1 4 0 0 0 1
//! constants: 256 1 1 1 1 0 1
//! constants: 256 1 2 1 0 1 4
//! uses: dot4
//! budget: vgpr 128 lds 12288 plain 144
#include "tile.h"

constexpr u32 PAIRS = 2;  // of a tile
constexpr u32 GROUPS = 2 * PAIRS;

__shared__ u4 xc[GROUPS * BM];
__shared__ f2 xs[GROUPS * BM];
__shared__ u4 wc[GROUPS * BN];
__shared__ f2 ws[GROUPS * BN];

INLINE void fetch(
    const Block& block, const u4* w4, const u4* x_codes, const f2* x_scales, u32 p0,
    const Push& push
) {
    for (u32 e = thread(); e < GROUPS * BM; e += THREADS) {
        const u32 of_pair = e / BM, t = e % BM, p = p0 + of_pair / 2;
        u32 ga, gb;
        pair(p, ga, gb);
        const u32 g = block.x_row(t, push) * (push.k / 16) + (of_pair % 2 == 0 ? ga : gb);
        u4 codes = four(0u);
        f2 scales = {{0.0f, 0.0f}};
        if (32 * p < push.k) {
            codes = x_codes[g];
            scales = x_scales[g];
        }
        xc[e] = codes;
        xs[e] = scales;
    }
    for (u32 e = thread(); e < PAIRS * BN; e += THREADS) {
        const u32 of_tile = e / BN, r = e % BN, p = p0 + of_tile;
        u4 a = four(0u), b = four(0u);
        f2 scale = {{0.0f, 0.0f}}, offset = {{0.0f, 0.0f}};
        if (32 * p < push.k) load32(w4, push.planes, block.w_row(r, push), push.k, p, a, b, scale, offset);
        const u32 to = 2 * of_tile * BN + r;
        wc[to] = a;
        wc[to + BN] = b;
        ws[to] = {{scale[0], offset[0]}};
        ws[to + BN] = {{scale[1], offset[1]}};
    }
}

INLINE void run(
    const u32* __restrict__ frame, const u4* __restrict__ w4, const float* __restrict__ bias,
    const float* residual, float* y, const u32* __restrict__ groups,
    const u4* __restrict__ x_codes, const f2* __restrict__ x_scales, const Push push
) {
    Block block;
    block.groups = groups;
    if (!block.started(frame, push)) return;
    const u32 tx = thread() % SIDE, ty = thread() / SIDE;
    for (u32 p = 0; p < push.k / 32; p += PAIRS) {
        fetch(block, w4, x_codes, x_scales, p, push);
        barrier();
        for (u32 g = 0; g < GROUPS; ++g) {
            u4 codes[TN];
            f2 scale[TN];
            UNROLL for (u32 j = 0; j < TN; ++j) {
                codes[j] = wc[g * BN + tx + SIDE * j];
                scale[j] = ws[g * BN + tx + SIDE * j];
            }
            UNROLL for (u32 i = 0; i < TM; ++i) {
                const u4 c = xc[g * BM + ty + SIDE * i];
                const f2 s = xs[g * BM + ty + SIDE * i];
                UNROLL for (u32 j = 0; j < TN; ++j) {
                    float& sum = block.sums[i * TN + j];
                    sum += scale[j][0] * s[0] * (float)dot16(codes[j], c);
#if HAS_OFFSET
                    sum += scale[j][1] * s[1];
#endif
                }
            }
        }
        barrier();
    }
    block.finish(bias, residual, y, push);
}
