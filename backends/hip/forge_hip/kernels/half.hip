// Rows as halves for matrix instructions: a norm or a gate first, if one is fused. Each row is
// divided by the power of two that brings its largest number under 4096, and `scales` has that.
//! constants: 256 1 4096 1 0
//! constants: 256 1 14336 0 1
//! constants: 256 1 2048 0 0
//! budget: vgpr 128 lds 2048
#include "gates.h"

constexpr u32 WIDTH = C2;        // a multiple of 8
constexpr bool NORM = C3 == 1;   // by the root mean square, times g
constexpr u32 GATE = C4;         // as in gates.h; of x, times up

struct Push {
    u32 counter;  // word of the frame with the number of rows
    float epsilon;
};

constexpr u32 FOURS = WIDTH / 4;
constexpr u32 EACH = (FOURS + THREADS - 1) / THREADS;

__shared__ f2 room[THREADS / LANES];

// The sum of the first and the largest of the second numbers, over the work group.
INLINE f2 sum_and_largest(float sum, float largest) {
    sum = wave_sum(sum);
    largest = wave_max(largest);
    if (lane() == 0) room[wave()] = {{sum, largest}};
    barrier();
    f2 all = room[0];
    UNROLL for (u32 i = 1; i < THREADS / LANES; ++i) {
        all = {{all[0] + room[i][0], max_(all[1], room[i][1])}};
    }
    return all;
}

// 2 to the power of -126 to 127.
INLINE float power_of_two(i32 exponent) { return as_float((u32)(exponent + 127) << 23); }

// g: a norm's weight, or up.
INLINE void run(
    const u32* __restrict__ frame, const f4* __restrict__ x, const f4* __restrict__ g,
    u2* __restrict__ halves, float* __restrict__ scales, const Push push
) {
    const u32 row = group_x();
    if (row >= frame[push.counter]) return;
    f4 v[EACH];
    float sum = 0.0f, largest = 0.0f;
    UNROLL for (u32 i = 0; i < EACH; ++i) {
        const u32 c = thread() + i * THREADS;
        v[i] = four(0.0f);
        if (c >= FOURS) continue;
        v[i] = x[(u64)row * FOURS + c];
        if (NORM) {
            sum += dot(v[i], v[i]);
            v[i] = v[i] * g[c];
        } else if (GATE) {
            const f4 up = g[(u64)row * FOURS + c];
            UNROLL for (u32 j = 0; j < 4; ++j) v[i][j] = gated(GATE, v[i][j], up[j]);
        }
        // A comparison with NaN is false: what is not finite stays as it is, and so does its row.
        UNROLL for (u32 j = 0; j < 4; ++j) {
            if (abs_(v[i][j]) < 1e38f) largest = max_(largest, abs_(v[i][j]));
        }
    }
    const f2 found = sum_and_largest(sum, largest);
    const float inverse = NORM ? 1.0f / sqrt_(found[0] / (float)WIDTH + push.epsilon) : 1.0f;
    // The largest is below 2 to this power, or next to nothing.
    i32 exponent = found[1] > 0.0f ? (i32)(as_bits(found[1]) >> 23) - 126 : 0;
    exponent = most(-100, least(100, exponent - 12));
    const float down = power_of_two(-exponent);
    UNROLL for (u32 i = 0; i < EACH; ++i) {
        const u32 c = thread() + i * THREADS;
        if (c >= FOURS) continue;
        const f4 s = v[i] * down;
        halves[(u64)row * FOURS + c] = {{as_halves(s[0], s[1]), as_halves(s[2], s[3])}};
    }
    if (thread() == 0) scales[row] = inverse * power_of_two(exponent);
}
