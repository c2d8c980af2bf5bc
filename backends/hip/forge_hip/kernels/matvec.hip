// A matrix times one activation row: y[n] = W[n, k] * x, for tokens that come one at a time.
//
// Quantised types: x (times a norm's weight, if one is fused) comes as int8 with a scale for 16
// columns from the kernel that made it, else each work group first turns it into that, in shared
// memory; then each wave computes NROWS rows, its lanes side by side along k. A fused norm's 1/rms
// multiplies the sums at the end. On request y goes out as int8 for the next product as well.
//! TYPE: q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4 f16 bf16 f32
//! constants: 256 32 4096 2 1 1 0 0 0 0 2
//! constants: 128 32 4096 2 1 0 1 0 0 1 0
//! constants: 512 32 14336 1 1 0 0 1 1 0 0
//! uses: dot4
//! budget: vgpr 160 lds 21504 plain 168
#include "weights.h"
#include "gates.h"
#include "quantise.h"

constexpr u32 K = C2;       // columns
constexpr u32 NROWS = C3;   // rows of a wave
constexpr u32 LOOPS = C4;   // times that a work group goes on to further rows
constexpr bool NORM = C5 == 1;      // x is normed by its root mean square
constexpr u32 GATE = C6;            // as in gates.h: of W x, times V x
constexpr bool BIAS = C7 == 1, RESIDUAL = C8 == 1;
constexpr bool CODED = C9 == 1;     // x comes as int8
constexpr u32 NEXT = C10;           // y as int8 too: 1 as it is, 2 times a norm's weight

struct Push {
    Planes planes;
    Planes second;  // V, where GATE is not 0
    u32 n;          // rows
    u32 start;      // place of the first of them in y, bias and residual
    float epsilon;
};

constexpr u32 WAVES = THREADS / LANES;
__shared__ float squares[NORM ? THREADS : 1];

#if QUANTISED
constexpr u32 GROUPS = K / 16;
__shared__ u4 codes[GROUPS];
__shared__ f2 scales[GROUPS];  // of a code, and that times the sum of the group's codes

INLINE void stage(const f4* x4, const f4* g4) {
    if (CODED) {
        const u4* xc = (const u4*)x4;
        const f2* xs = (const f2*)(xc + GROUPS);
        for (u32 g = thread(); g < GROUPS; g += THREADS) {
            codes[g] = xc[g];
            scales[g] = xs[g];
        }
    } else {
        float sum = 0;
        for (u32 g = thread(); g < GROUPS; g += THREADS) {
            f4 v[4];
            UNROLL for (u32 i = 0; i < 4; ++i) v[i] = x4[4 * g + i];
            if (NORM) {
                UNROLL for (u32 i = 0; i < 4; ++i) {
                    sum += dot(v[i], v[i]);
                    v[i] = v[i] * g4[4 * g + i];
                }
            }
            u4 line;
            scales[g] = quantised(v, line);
            codes[g] = line;
        }
        if (NORM) squares[thread()] = sum;
    }
    barrier();
}

#if LOADS64
constexpr u32 PIECE = 64, OF_PIECE = 4;  // weights of a lane at a time, and groups

INLINE float part(const u4* w4, const Planes& at, u32 row, u32 t, const u4 x[4], const f2 s[4]) {
    u4 w[4];
    f2 scale, offset;
    load64(w4, at, row, K, t, w, scale, offset);
    const float low = s[0][0] * (float)dot16(w[0], x[0]) + s[1][0] * (float)dot16(w[1], x[1]);
    const float high = s[2][0] * (float)dot16(w[2], x[2]) + s[3][0] * (float)dot16(w[3], x[3]);
    return scale[0] * low + scale[1] * high + offset[0] * (s[0][1] + s[1][1]) + offset[1] * (s[2][1] + s[3][1]);
}
#else
constexpr u32 PIECE = 32, OF_PIECE = 2;

INLINE float part(const u4* w4, const Planes& at, u32 row, u32 p, const u4 x[2], const f2 s[2]) {
    u4 a, b;
    f2 scale, offset;
    load32(w4, at, row, K, p, a, b, scale, offset);
    float sum = scale[0] * s[0][0] * (float)dot16(a, x[0]);
    sum += scale[1] * s[1][0] * (float)dot16(b, x[1]);
#if HAS_OFFSET
    sum += offset[0] * s[0][1] + offset[1] * s[1][1];
#endif
    return sum;
}
#endif

INLINE void multiply(
    const u4* w4, const Push& push, u32 first, float sums[NROWS], float more[NROWS]
) {
    for (u32 p = lane(); p < K / PIECE; p += LANES) {
        u4 x[OF_PIECE];
        f2 s[OF_PIECE];
        u32 g[OF_PIECE];
#if LOADS64
        UNROLL for (u32 i = 0; i < 4; ++i) g[i] = 4 * p + i;
#else
        pair(p, g[0], g[1]);
#endif
        UNROLL for (u32 i = 0; i < OF_PIECE; ++i) {
            x[i] = codes[g[i]];
            s[i] = scales[g[i]];
        }
        UNROLL for (u32 r = 0; r < NROWS; ++r) {
            const u32 row = least(first + r, push.n - 1);
            sums[r] += part(w4, push.planes, row, p, x, s);
            if (GATE) more[r] += part(w4, push.second, row, p, x, s);
        }
    }
}
#else
INLINE void stage(const f4* x4, const f4*) {
    if (!NORM) return;
    const float* x = (const float*)x4;
    float sum = 0;
    for (u32 i = thread(); i < K; i += THREADS) sum += x[i] * x[i];
    squares[thread()] = sum;
    barrier();
}

INLINE void multiply(
    const f4* x4, const f4* g4, const u4* w4, const Push& push, u32 first, float sums[NROWS],
    float more[NROWS]
) {
    for (u32 c = 4 * lane(); c < K; c += 4 * LANES) {
        f4 v;
        if (K % 4 == 0) {
            v = x4[c / 4];
            if (NORM) v = v * g4[c / 4];
        } else {
            UNROLL for (u32 i = 0; i < 4; ++i) {
                v[i] = c + i < K ? ((const float*)x4)[c + i] : 0.0f;
                if (NORM && c + i < K) v[i] *= ((const float*)g4)[c + i];
            }
        }
        UNROLL for (u32 r = 0; r < NROWS; ++r) {
            const u32 row = least(first + r, push.n - 1);
            sums[r] += dot(load4(w4, push.planes, row, K, c), v);
            if (GATE) more[r] += dot(load4(w4, push.second, row, K, c), v);
        }
    }
}
#endif

// 1 / rms of x: each wave for itself.
INLINE float inverse_of(const f4* x4, float epsilon) {
    float sum = 0;
    if (CODED) {
        const float* made = (const float*)x4 + 6 * (K / 16);
        for (u32 g = lane(); g < K / 16; g += LANES) sum += made[g];
    } else {
        for (u32 i = lane(); i < THREADS; i += LANES) sum += squares[i];
    }
    return 1.0f / sqrt_(wave_sum(sum) / (float)K + epsilon);
}

constexpr u32 MADE = NEXT == 0 ? 1 : WAVES * NROWS;
__shared__ float made[MADE];

// The rows of this work group, 16 at a time, as the next product reads them.
INLINE void hand_on(u32 n, const float* next_norm, u4* coded) {
    barrier();
    const u32 g = thread(), group = group_x() * (MADE / 16) + g;
    if (g >= MADE / 16 || 16 * group >= n) return;
    float sum = 0;
    f4 v[4];
    UNROLL for (u32 i = 0; i < 16; ++i) {
        float one = made[16 * g + i];
        if (NEXT == 2) {
            sum += one * one;
            one *= next_norm[16 * group + i];
        }
        v[i / 4][i % 4] = one;
    }
    u4 line;
    f2* scales_out = (f2*)(coded + n / 16);
    scales_out[group] = quantised(v, line);
    coded[group] = line;
    if (NEXT == 2) ((float*)(scales_out + n / 16))[group] = sum;
}

INLINE void run(
    const f4* __restrict__ x4, const f4* __restrict__ g4, const u4* __restrict__ w4,
    const float* __restrict__ bias, const float* residual, float* y,
    const float* __restrict__ next_norm, u4* coded, const Push push
) {
    stage(x4, g4);
    const float inverse = NORM ? inverse_of(x4, push.epsilon) : 1.0f;
    for (u32 loop = 0; loop < LOOPS; ++loop) {
        const u32 first = ((group_x() * LOOPS + loop) * WAVES + wave()) * NROWS;
        float sums[NROWS], more[NROWS];
        UNROLL for (u32 r = 0; r < NROWS; ++r) sums[r] = more[r] = 0;
#if QUANTISED
        multiply(w4, push, first, sums, more);
#else
        multiply(x4, g4, w4, push, first, sums, more);
#endif
        UNROLL for (u32 r = 0; r < NROWS; ++r) {
            float total = wave_sum(sums[r]) * inverse;
            if (GATE) total = gated(GATE, total, wave_sum(more[r]) * inverse);
            const bool there = lane() == 0 && first + r < push.n;
            if (there) {
                const u32 at = push.start + first + r;
                if (BIAS) total += bias[at];
                if (RESIDUAL) total += residual[at];
                y[at] = total;
            }
            if (NEXT && lane() == 0) made[wave() * NROWS + r] = there ? total : 0.0f;
        }
        if (NEXT) hand_on(push.n, next_norm, coded);
    }
}
