// Many tokens times a matrix: y[T, n] = x[T, k] W[n, k]^T, by matrix instructions on halves with
// 32-bit sums. x comes as halves, each row divided by a power of two that is multiplied back.
//
// A work group computes BM tokens by BN rows of W. While its waves multiply one tile of BK columns out
// of shared memory, the next one is on its way into registers.
//! TYPE: q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4 f16
//! needs: wmma
//! constants: 128 32 128 128 64 64 0 0
//! constants: 128 32 128 64 64 32 0 1
//! constants: 128 32 64 64 32 32 1 0
//! budget: vgpr 256 lds 20480
#include "matrix.h"
#include "weights.h"

constexpr u32 BM = C2, BN = C3;  // tokens and rows of W of a work group
constexpr u32 WM = C4, WN = C5;  // and of a wave
constexpr bool BIAS = C6 == 1, RESIDUAL = C7 == 1;

struct Push {
    Planes planes;
    u32 n;        // rows of W
    u32 k;        // columns, a multiple of 32
    u32 counter;  // word of the frame with the number of tokens
    u32 width;    // of a row of y
    u32 first;    // column of y that is the first row of W
};

constexpr u32 BK = 32;
constexpr u32 STEP = (BK + 8) / 8;  // of a row in shared memory, in lines; 8 halves against conflicts
constexpr u32 LINES = BK / 8;       // of a row of x
constexpr u32 GROUPS = BK / 16;     // of a row of W
constexpr u32 AX = BM * LINES / THREADS;
// Each thread expands whole groups of 16 weights, or where there are too few, half of one.
constexpr u32 SHARED_BY = BN * GROUPS < THREADS ? 2 : 1;
constexpr u32 AW = BN * GROUPS * SHARED_BY / THREADS;

__shared__ u4 sx[BM * STEP];
__shared__ u4 sw[BN * STEP];

struct Next {
    u4 x[AX];
#if QUANTISED
    u4 codes[AW];
    float scale[AW], offset[AW];
#else
    u4 w[2 * AW];
#endif

    INLINE void fetch(const u4* x8, const u4* w4, u32 at, const Push& push) {
        UNROLL for (u32 i = 0; i < AX; ++i) {
            const u32 e = thread() + i * THREADS;
            x[i] = x8[(u64)(group_y() * BM + e / LINES) * (push.k / 8) + at / 8 + e % LINES];
        }
        UNROLL for (u32 i = 0; i < AW; ++i) {
            const u32 e = (thread() + i * THREADS) / SHARED_BY;
            const u32 row = least(group_x() * BN + e / GROUPS, push.n - 1), g = at / 16 + e % GROUPS;
#if QUANTISED
            load16(w4, push.planes, row, push.k, g, codes[i], scale[i], offset[i]);
#else
            const u4* from = w4 + push.planes.at[0] + (row * push.k + 16 * g) / 8;
            w[2 * i] = from[0];
            w[2 * i + 1] = from[1];
#endif
        }
    }

#if QUANTISED
    INLINE u32 expanded(u32 word, u32 shift, u32 i) const {
        const float low = (float)(i8)(word >> shift), high = (float)(i8)(word >> (shift + 8));
#if HAS_OFFSET
        return as_halves(low * scale[i] + offset[i], high * scale[i] + offset[i]);
#else
        return as_halves(low * scale[i], high * scale[i]);
#endif
    }
#endif

    // Eight weights as halves, of the first or the second half of a group.
    INLINE u4 line(u32 i, u32 part) const {
#if QUANTISED
        const u32 one = part == 0 ? codes[i][0] : codes[i][2], two = part == 0 ? codes[i][1] : codes[i][3];
        return {{expanded(one, 0, i), expanded(one, 16, i), expanded(two, 0, i), expanded(two, 16, i)}};
#else
        return each(part == 0 ? w[2 * i] : w[2 * i + 1]);
#endif
    }

    INLINE void put() const {
        UNROLL for (u32 i = 0; i < AX; ++i) {
            const u32 e = thread() + i * THREADS;
            sx[e / LINES * STEP + e % LINES] = each(x[i]);
        }
        UNROLL for (u32 i = 0; i < AW; ++i) {
            const u32 mine = thread() + i * THREADS, e = mine / SHARED_BY;
            u4* to = sw + e / GROUPS * STEP + e % GROUPS * 2;
            if (SHARED_BY == 2) {
                to[mine % 2] = line(i, mine % 2);
            } else {
                to[0] = line(i, 0);
                to[1] = line(i, 1);
            }
        }
    }
};

// `residual` may be y.
INLINE void run(
    const u32* __restrict__ frame, const u4* __restrict__ x8, const u4* __restrict__ w4,
    const float* __restrict__ scales, const float* __restrict__ bias, const float* residual,
    float* y, const Push push
) {
    const u32 tokens = frame[push.counter];
    if (group_y() * BM >= tokens) return;
    constexpr u32 ACROSS = BM / WM;
    const u32 row = wave() % ACROSS * WM, column = wave() / ACROSS * WN;

    Sums8 sums[WM / 16][WN / 16];
    UNROLL for (u32 i = 0; i < WM / 16; ++i) {
        UNROLL for (u32 j = 0; j < WN / 16; ++j) sums[i][j] = cleared();
    }
    Next next;
    next.fetch(x8, w4, 0, push);
    for (u32 at = 0; at < push.k; at += BK) {
        next.put();
        barrier();
        if (at + BK < push.k) next.fetch(x8, w4, at + BK, push);
        UNROLL for (u32 kk = 0; kk < BK / 16; ++kk) {
            Operand a[WM / 16];
            UNROLL for (u32 i = 0; i < WM / 16; ++i) a[i] = operand(sx + (row + 16 * i) * STEP + 2 * kk, STEP);
            UNROLL for (u32 j = 0; j < WN / 16; ++j) {
                const Operand b = operand(sw + (column + 16 * j) * STEP + 2 * kk, STEP);
                UNROLL for (u32 i = 0; i < WM / 16; ++i) sums[i][j] = multiplied(a[i], b, sums[i][j]);
            }
        }
        barrier();
    }

    UNROLL for (u32 i = 0; i < WM / 16; ++i) {
        UNROLL for (u32 e = 0; e < 8; ++e) {
            const u32 token = group_y() * BM + row + 16 * i + row_of(e);
            if (token >= tokens) continue;
            const float scale = scales[token];
            const u64 to = (u64)token * push.width + push.first;
            UNROLL for (u32 j = 0; j < WN / 16; ++j) {
                const u32 out = group_x() * BN + column + 16 * j + lane() % 16;
                if (out >= push.n) continue;
                float v = sums[i][j][e] * scale;
                if (BIAS) v += bias[push.first + out];
                if (RESIDUAL) v += residual[to + out];
                y[to + out] = v;
            }
        }
    }
}
