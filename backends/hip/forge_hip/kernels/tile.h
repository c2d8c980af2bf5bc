// What tiles of a product y[T, n] = x[T, k] W[n, k]^T share: a work group of 16 x 16 threads
// computes 16 * TM rows of x by 64 rows of W, one thread every sixteenth of both.
//
// GROUPED: W is one matrix of n rows for each expert. A work group takes a block of an expert's
// choices (group.hip); choice c reads row c / SHARE of x, and makes row c of y.
#include "weights.h"

constexpr u32 TM = C2;  // rows of x of a thread
constexpr bool BIAS = C3 == 1, RESIDUAL = C4 == 1, GROUPED = C5 == 1;
constexpr u32 SHARE = C6;

struct Push {
    Planes planes;
    u32 n;        // rows of W, of each expert
    u32 k;        // columns
    u32 counter;  // word of the frame with the number of tokens
    u32 width;    // of a row of y
    u32 first;    // row of all of W that this part of it begins with
    u32 rows;     // of this part
    u32 order;    // word of `groups` where the choices in the experts' order begin
};

constexpr u32 SIDE = 16;
constexpr u32 TN = 4;  // rows of W of a thread
constexpr u32 BM = SIDE * TM, BN = SIDE * TN;

struct Block {
    const u32* groups;
    u32 begin, end;  // a token, or a place in the order
    u32 expert;
    float sums[TM * TN];

    // False where there is nothing to do.
    INLINE bool started(const u32* frame, const Push& push) {
        UNROLL for (u32 i = 0; i < TM * TN; ++i) sums[i] = 0;
        expert = 0;
        if (!GROUPED) {
            begin = group_y() * BM;
            end = frame[push.counter];
            return begin < end;
        }
        if (group_y() >= groups[0]) return false;
        const u32* at = groups + 1 + 3 * group_y();  // as group.hip wrote it
        expert = at[0];
        begin = at[1];
        end = at[2];
        return true;
    }

    // The row of x (and of y, before SHARE) at place t of the block, or one that is there instead.
    INLINE u32 made(u32 t, const Push& push) const {
        const u32 at = least(begin + t, end - 1);
        return GROUPED ? groups[push.order + at] : at;
    }
    INLINE u32 x_row(u32 t, const Push& push) const { return GROUPED ? made(t, push) / SHARE : made(t, push); }

    // Row r of W's or of the expert's in this part; it wraps before the first.
    INLINE u32 in_part(u32 r, const Push& push) const { return GROUPED ? expert * push.n + r - push.first : r; }
    INLINE u32 w_row(u32 r, const Push& push) const { return least(in_part(group_x() * BN + r, push), push.rows - 1); }

    // `residual` may be y.
    INLINE void finish(const float* bias, const float* residual, float* y, const Push& push) const {
        const u32 tx = thread() % SIDE, ty = thread() / SIDE;
        UNROLL for (u32 i = 0; i < TM; ++i) {
            const u32 t = ty + SIDE * i;
            if (begin + t >= end) continue;
            const u64 to = (u64)made(t, push) * push.width;
            UNROLL for (u32 j = 0; j < TN; ++j) {
                const u32 r = group_x() * BN + tx + SIDE * j;
                if (in_part(r, push) >= push.rows || (GROUPED && r >= push.n)) continue;
                const u32 column = GROUPED ? r : push.first + r;
                float v = sums[i * TN + j];
                if (BIAS) v += bias[expert * push.n + column];
                if (RESIDUAL) v += residual[to + column];
                y[to + column] = v;
            }
        }
    }
};
