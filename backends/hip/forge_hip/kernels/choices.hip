// A few tokens with their experts, in work groups of four waves.
//
// DOWN 0: the choice in group_y() gets act(gate x, up x), of both from one kernel; each wave has
//         NROWS rows. If the work group's are 16, they can be left quantised.
// DOWN 1: the token in group_y() gets the sum of its experts' down h, by their weights; the waves
//         share out the experts, and all have the same NROWS rows.
//! TYPE: q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4 f16 bf16 f32
//! constants: 128 32 2048 4 8 0 1 0 1
//! constants: 128 32 768 2 8 1 1 0 0
//! constants: 128 32 2880 4 4 0 3 1 0
//! uses: dot4
//! budget: vgpr 152 lds 128 plain 208
#include "experts.h"
#include "weights.h"
#include "quantise.h"

constexpr u32 K = C2;           // columns
constexpr u32 NROWS = C3;       // rows of a wave
constexpr u32 USED = C4;        // experts of a token
constexpr bool DOWN = C5 == 1;
constexpr u32 ACTIVATION = C6;  // as in experts.h
constexpr bool BIAS = C7 == 1;
constexpr bool PACK = C8 == 1;  // what comes out of DOWN 0 is quantised

struct Push {
    Planes planes;
    Planes second;  // up, where DOWN is 0
    u32 n;          // rows of an expert
    u32 counter;    // word of the frame with the number of tokens
};

constexpr u32 WAVES = THREADS / LANES;
__shared__ float made[WAVES * NROWS];

#if QUANTISED
// The lane's share of the rows `row` on, times row `of` of x.
INLINE void add(
    const u4* w4, const Planes& at, const u32 row[NROWS], const u4* x_codes, const f2* x_scales,
    u32 of, float by, float sums[NROWS]
) {
    for (u32 p = lane(); p < K / 32; p += LANES) {
        u32 ga, gb;
        pair(p, ga, gb);
        const u32 xa = of * (K / 16) + ga, xb = of * (K / 16) + gb;
        const u4 ca = x_codes[xa], cb = x_codes[xb];
        const f2 sa = x_scales[xa], sb = x_scales[xb];
        UNROLL for (u32 r = 0; r < NROWS; ++r) {
            u4 a, b;
            f2 scale, offset;
            load32(w4, at, row[r], K, p, a, b, scale, offset);
            float sum = scale[0] * sa[0] * (float)dot16(a, ca) + scale[1] * sb[0] * (float)dot16(b, cb);
#if HAS_OFFSET
            sum += offset[0] * sa[1] + offset[1] * sb[1];
#endif
            sums[r] += by * sum;
        }
    }
}
#else
INLINE void add(
    const u4* w4, const Planes& at, const u32 row[NROWS], const u4* x_codes, const f2*, u32 of,
    float by, float sums[NROWS]
) {
    const float* x = (const float*)x_codes + (u64)of * K;
    for (u32 c = 4 * lane(); c < K; c += 4 * LANES) {
        f4 v;
        UNROLL for (u32 i = 0; i < 4; ++i) v[i] = c + i < K ? x[c + i] : 0.0f;
        UNROLL for (u32 r = 0; r < NROWS; ++r) sums[r] += by * dot(v, load4(w4, at, row[r], K, c));
    }
}
#endif

// x_codes are float32 where weights are numbers, and y codes where PACK.
INLINE void run(
    const u32* __restrict__ frame, const u4* __restrict__ w4, const u32* __restrict__ chosen,
    const float* __restrict__ chosen_weights, const float* __restrict__ bias,
    const float* __restrict__ up_bias, float* y, const u4* __restrict__ x_codes,
    const f2* __restrict__ x_scales, f2* y_scales, const Push push
) {
    const u32 token = DOWN ? group_y() : group_y() / USED, n = push.n;
    if (token >= frame[push.counter]) return;
    const u32 rows = DOWN ? NROWS : WAVES * NROWS;  // of the work group
    const u32 r0 = group_x() * rows + (DOWN ? 0 : wave() * NROWS);
    float sums[NROWS], more[NROWS], biases[NROWS];
    UNROLL for (u32 r = 0; r < NROWS; ++r) sums[r] = more[r] = biases[r] = 0;
    u32 row[NROWS] = {};
    for (u32 i = DOWN ? wave() : 0; i < (DOWN ? USED : 1); i += WAVES) {
        const u32 choice = DOWN ? token * USED + i : group_y();
        const u32 first = chosen[choice] * n;
        UNROLL for (u32 r = 0; r < NROWS; ++r) row[r] = first + least(r0 + r, n - 1);
        if (DOWN) {
            const float weight = chosen_weights[choice];
            add(w4, push.planes, row, x_codes, x_scales, choice, weight, sums);
            if (BIAS) {
                UNROLL for (u32 r = 0; r < NROWS; ++r) biases[r] += weight * bias[row[r]];
            }
        } else {
            add(w4, push.planes, row, x_codes, x_scales, token, 1.0f, sums);
            add(w4, push.second, row, x_codes, x_scales, token, 1.0f, more);
        }
    }
    UNROLL for (u32 r = 0; r < NROWS; ++r) {
        float total = wave_sum(sums[r]);
        if (DOWN) {
            total += biases[r];
        } else {
            float up = wave_sum(more[r]);
            if (BIAS) {
                total += bias[row[r]];
                up += up_bias[row[r]];
            }
            total = activated(ACTIVATION, total, up);
        }
        if (lane() == 0) made[wave() * NROWS + r] = total;
    }
    barrier();
    const u32 me = thread();
    if (PACK) {
        if (me > 0) return;
        f4 v[4];
        UNROLL for (u32 i = 0; i < 16; ++i) v[i / 4][i % 4] = made[PACK ? i : 0];
        const u32 to = group_y() * (n / 16) + group_x();
        u4 codes;
        y_scales[to] = quantised(v, codes);
        ((u4*)y)[to] = codes;
    } else if (me < rows && group_x() * rows + me < n) {
        float total = made[me];
        if (DOWN) {
            UNROLL for (u32 i = 1; i < WAVES; ++i) total += made[i * NROWS + me];
        }
        y[(u64)group_y() * n + group_x() * rows + me] = total;
    }
}
