#version 460
// RMS and layer norms of runs of columns, on request of a sum with a residual: a work group a run.
//! KIND: rms layer
//! SUBGROUPS: 0 1
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "sums.glsl"

layout(constant_id = 2) const uint EACH = 4;      // columns of a run for one invocation
layout(constant_id = 3) const uint RESIDUAL = 0;  // 1: of x + residual, and the sum written out
layout(constant_id = 4) const uint WEIGHT = 1;
layout(constant_id = 5) const uint BIAS = 0;

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer X { float x[]; };
layout(binding = 2) readonly buffer Residual { float residual[]; };
layout(binding = 3) readonly buffer Weight { float weight[]; };
layout(binding = 4) readonly buffer Bias { float bias[]; };
layout(binding = 5) buffer Sum { float added[]; };
layout(binding = 6) writeonly buffer Out { float y[]; };
layout(push_constant) uniform Push {
    uint run;      // columns that are normed together
    uint counter;  // word of the frame with the number of rows
    float epsilon;
};

void main() {
    const uint row = gl_WorkGroupID.y, runs = gl_NumWorkGroups.x;
    if (row >= frame[counter]) return;
    const uint start = (row * runs + gl_WorkGroupID.x) * run, me = gl_LocalInvocationIndex;
    float own[EACH];
    float sum = 0.0;
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        const uint column = me + i * THREADS;
        own[i] = 0.0;
        if (column >= run) continue;
        own[i] = x[start + column];
        if (RESIDUAL == 1) {
            own[i] += residual[start + column];
            added[start + column] = own[i];
        }
#if KIND_LAYER
        sum += own[i];
#else
        sum += own[i] * own[i];
#endif
    }
#if KIND_LAYER
    const float mean = total(sum) / float(run);
    sum = 0.0;
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        if (me + i * THREADS >= run) continue;
        own[i] -= mean;
        sum += own[i] * own[i];
    }
#endif
    const float over = 1.0 / sqrt(total(sum) / float(run) + epsilon);
    [[unroll]] for (uint i = 0; i < EACH; i++) {
        const uint column = me + i * THREADS;
        if (column >= run) continue;
        float scaled = own[i] * over;
        if (WEIGHT == 1) scaled *= weight[column];
        if (BIAS == 1) scaled += bias[column];
        y[start + column] = scaled;
    }
}
