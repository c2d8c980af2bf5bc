// RMS and layer norms of runs of columns, on request of a sum with a residual: a work group a run.
//! KIND: rms layer
//! constants: 512 32 8 1 1 1
//! constants: 64 32 2 0 1 0
//! budget: vgpr 64 lds 64
#include "sums.h"

constexpr u32 EACH = C2;              // columns of a run for one thread
constexpr bool RESIDUAL = C3 == 1;    // of x + residual, and the sum written out
constexpr bool WEIGHT = C4 == 1, BIAS = C5 == 1;

struct Push {
    u32 run;      // columns that are normed together
    u32 counter;  // word of the frame with the number of rows
    float epsilon;
};

INLINE void run(
    const u32* __restrict__ frame, const float* x, const float* residual,
    const float* __restrict__ weight, const float* __restrict__ bias, float* added, float* y,
    const Push push
) {
    const u32 row = group_y(), me = thread(), run = push.run;
    if (row >= frame[push.counter]) return;
    const u64 start = ((u64)row * GROUPS_X + group_x()) * run;
    float own[EACH];
    float sum = 0.0f;
    UNROLL for (u32 i = 0; i < EACH; i++) {
        const u32 column = me + i * THREADS;
        own[i] = column < run ? x[start + column] : 0.0f;
        if (RESIDUAL && column < run) own[i] += residual[start + column];
    }
    UNROLL for (u32 i = 0; i < EACH; i++) {
        const u32 column = me + i * THREADS;
        if (RESIDUAL && column < run) added[start + column] = own[i];
#if KIND_LAYER
        sum += own[i];
#else
        sum += own[i] * own[i];
#endif
    }
#if KIND_LAYER
    const float mean = total(sum) / (float)run;
    sum = 0.0f;
    UNROLL for (u32 i = 0; i < EACH; i++) {
        own[i] = me + i * THREADS < run ? own[i] - mean : 0.0f;
        sum += own[i] * own[i];
    }
#endif
    const float over = 1.0f / sqrt_(total(sum) / (float)run + push.epsilon);
    UNROLL for (u32 i = 0; i < EACH; i++) {
        const u32 column = me + i * THREADS;
        if (column >= run) continue;
        float scaled = own[i] * over;
        if (WEIGHT) scaled *= weight[column];
        if (BIAS) scaled += bias[column];
        y[start + column] = scaled;
    }
}
