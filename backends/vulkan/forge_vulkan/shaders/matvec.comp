#version 460
// A matrix times one activation row: y[n] = W[n, k] * x, for tokens that come one at a time.
//
// Quantised types: x (times a norm's weight, if one is fused) comes as int8 with a scale for 16
// columns from the kernel that made it, else each work group first turns it into that, in shared
// memory; then each subgroup computes NROWS rows, its lanes side by side along k. A fused norm's
// 1/rms multiplies the sums at the end. On request y goes out as int8 for the next product as well.
//! TYPE: q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k q4_k q5_k q6_k iq4_nl iq4_xs mxfp4 f16 bf16 f32
//! SUBGROUPS: 0 1
//! DOT: 0 1
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 2) const uint K = 32;        // columns
layout(constant_id = 3) const uint NROWS = 2;     // rows of a subgroup
layout(constant_id = 4) const uint LOOPS = 1;     // times that a work group goes on to further rows
layout(constant_id = 5) const uint NORM = 0;      // 1: x is normed by its root mean square
layout(constant_id = 6) const uint GATE = 0;      // 1 silu, 2 gelu (tanh), 3 gelu quick: of W x, times V x
layout(constant_id = 7) const uint BIAS = 0;
layout(constant_id = 8) const uint RESIDUAL = 0;
layout(constant_id = 9) const uint CODED = 0;     // 1: x comes as int8, see Coded in steps/products.py
layout(constant_id = 10) const uint NEXT = 0;     // y as int8 too: 1 as it is, 2 times a norm's weight
#define FLOW_ID 11
#define FLOW_BINDING 8
#include "awaited.glsl"

layout(binding = 0) readonly buffer X { vec4 x4[]; };
layout(binding = 0) readonly buffer X1 { float x1[]; };
layout(binding = 0) readonly buffer XCodes { uvec4 xc[]; };
layout(binding = 0) readonly buffer XScales { vec2 xs[]; };
layout(binding = 1) readonly buffer G { vec4 g4[]; };
layout(binding = 1) readonly buffer G1 { float g1[]; };
#define WEIGHTS_BINDING 2
#include "weights.glsl"
layout(binding = 3) readonly buffer Bias { float bias[]; };
layout(binding = 4) readonly buffer Residual { float residual[]; };
layout(binding = 5) writeonly buffer Out { float y[]; };
layout(binding = 6) readonly buffer NextNorm { float next_norm[]; };
layout(binding = 7) writeonly buffer Coded4 { uvec4 coded4[]; };
layout(binding = 7) writeonly buffer Coded2 { vec2 coded2[]; };
layout(binding = 7) writeonly buffer Coded1 { float coded1[]; };
layout(push_constant) uniform Push {
    Planes planes;
    Planes second;    // V, where GATE is not 0
    uint n;           // rows
    uint start;       // place of the first of them in y, bias and residual
    float epsilon;
    Awaited awaited;
};

#include "reduce.glsl"
#include "flow.glsl"
#include "gates.glsl"

shared float squares[THREADS];
uint late = 0;  // see flow.glsl

float squared(vec4 v) { return dot(v, v); }

#include "quantise.glsl"

#if QUANTISED
#include "dot.glsl"
const uint GROUPS = K / 16;
shared uvec4 codes[GROUPS];
shared vec2 scales[GROUPS];  // of a code, and that times the sum of the group's codes

void quantise() {
    if (CODED == 1) {
        for (uint g = gl_LocalInvocationIndex; g < GROUPS; g += THREADS) {
            codes[g] = xc[g + late];
            scales[g] = xs[2 * GROUPS + g + late];
        }
        barrier();
        return;
    }
    float sum = 0;
    for (uint g = gl_LocalInvocationIndex; g < GROUPS; g += THREADS) {
        vec4 v[4];
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            v[i] = x4[4 * g + i + late];
            if (NORM == 1) {
                sum += squared(v[i]);
                v[i] *= g4[4 * g + i];
            }
        }
        uvec4 line;
        scales[g] = quantised(v, line);
        codes[g] = line;
    }
    if (NORM == 1) squares[gl_LocalInvocationIndex] = sum;
    barrier();
}

struct Group { uvec4 codes; vec2 scale; };

Group group_of(uint g) {
    return Group(codes[g], scales[g]);
}

#if LOADS64
const uint PIECE = 64;  // weights of a lane at a time
struct Activations { Group g[4]; };

Activations activations(uint t) {
    return Activations(
        Group[4](group_of(4 * t), group_of(4 * t + 1), group_of(4 * t + 2), group_of(4 * t + 3)));
}

float part(const Planes at, uint row, uint t, const Activations x) {
    uvec4 a0, a1, b0, b1;
    vec2 scale, offset;
    load64(at, row, K, t, a0, a1, b0, b1, scale, offset);
    const float low = x.g[0].scale.x * float(dot16(a0, x.g[0].codes))
        + x.g[1].scale.x * float(dot16(a1, x.g[1].codes));
    const float high = x.g[2].scale.x * float(dot16(b0, x.g[2].codes))
        + x.g[3].scale.x * float(dot16(b1, x.g[3].codes));
    return scale.x * low + scale.y * high + offset.x * (x.g[0].scale.y + x.g[1].scale.y)
        + offset.y * (x.g[2].scale.y + x.g[3].scale.y);
}
#else
const uint PIECE = 32;
struct Activations { Group u, v; };

Activations activations(uint p) {
    uint ga, gb;
    pair(p, ga, gb);
    return Activations(group_of(ga), group_of(gb));
}

float part(const Planes at, uint row, uint p, const Activations x) {
    uvec4 a, b;
    vec2 scale, offset;
    load32(at, row, K, p, a, b, scale, offset);
    float sum = scale.x * x.u.scale.x * float(dot16(a, x.u.codes));
    sum += scale.y * x.v.scale.x * float(dot16(b, x.v.codes));
#if HAS_OFFSET
    sum += offset.x * x.u.scale.y + offset.y * x.v.scale.y;
#endif
    return sum;
}
#endif
#else
void quantise() {
    if (NORM == 0) return;
    float sum = 0;
    for (uint i = gl_LocalInvocationIndex; i < K; i += THREADS) sum += x1[i + late] * x1[i + late];
    squares[gl_LocalInvocationIndex] = sum;
    barrier();
}

float part(const Planes at, uint row, uint c, vec4 v) {
    return dot(load4(at, row, K, c), v);
}
#endif

const uint MADE = NEXT == 0 ? 1 : THREADS / LANES * NROWS;
shared float made[MADE];

// The rows of this work group, 16 at a time, as the next product reads them.
void hand_on() {
    barrier();
    const uint g = gl_LocalInvocationIndex, group = gl_WorkGroupID.x * (MADE / 16) + g;
    if (g >= MADE / 16 || 16 * group >= n) return;
    float sum = 0;
    vec4 v[4];
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        [[unroll]] for (uint j = 0; j < 4; ++j) {
            v[i][j] = made[16 * g + 4 * i + j];
            if (NEXT == 2) {
                sum += v[i][j] * v[i][j];
                v[i][j] *= next_norm[16 * group + 4 * i + j];
            }
        }
    }
    uvec4 line;
    coded2[2 * (n / 16) + group] = quantised(v, line);
    coded4[group] = line;
    if (NEXT == 2) coded1[6 * (n / 16) + group] = sum;
}

void main() {
    const uint of_group = THREADS / LANES;
    const uint lane = gl_LocalInvocationIndex % LANES;
    const uint mine = gl_LocalInvocationIndex / LANES;
    late = lateness(awaited);
    quantise();
    float inverse = 1.0;
    if (NORM == 1) {
        float sum = 0;
        if (CODED == 1) {
            for (uint g = lane; g < K / 16; g += LANES) sum += x1[6 * (K / 16) + g + late];
        } else {
            for (uint i = lane; i < THREADS; i += LANES) sum += squares[i];
        }
        inverse = inversesqrt(reduced(sum) / float(K) + epsilon);
    }
    if (late > 0) inverse = uintBitsToFloat(0x7fc00000u);
    for (uint loop = 0; loop < LOOPS; ++loop) {
        const uint first = ((gl_WorkGroupID.x * LOOPS + loop) * of_group + mine) * NROWS;
        float sums[NROWS], more[NROWS];
        [[unroll]] for (uint r = 0; r < NROWS; ++r) sums[r] = more[r] = 0;
#if QUANTISED
        for (uint p = lane; p < K / PIECE; p += LANES) {
            const Activations x = activations(p);
            [[unroll]] for (uint r = 0; r < NROWS; ++r) {
                const uint row = min(first + r, n - 1);
                sums[r] += part(planes, row, p, x);
                if (GATE != 0) more[r] += part(second, row, p, x);
            }
        }
#else
        for (uint c = 4 * lane; c < K; c += 4 * LANES) {
            vec4 v;
            if (K % 4 == 0) {
                v = x4[c / 4 + late];
                if (NORM == 1) v *= g4[c / 4];
            } else {
                [[unroll]] for (uint i = 0; i < 4; ++i) {
                    v[i] = c + i < K ? x1[c + i + late] : 0.0;
                    if (NORM == 1 && c + i < K) v[i] *= g1[c + i];
                }
            }
            [[unroll]] for (uint r = 0; r < NROWS; ++r) {
                const uint row = min(first + r, n - 1);
                sums[r] += part(planes, row, c, v);
                if (GATE != 0) more[r] += part(second, row, c, v);
            }
        }
#endif
        [[unroll]] for (uint r = 0; r < NROWS; ++r) {
            float total = reduced(sums[r]) * inverse;
            if (GATE != 0) total = gated(GATE, total, reduced(more[r]) * inverse);
            if (lane == 0 && first + r < n) {
                const uint at = start + first + r;
                if (BIAS == 1) total += bias[at];
                if (RESIDUAL == 1) total += residual[at + late];
                y[at] = total;
            }
            if (NEXT != 0 && lane == 0) made[mine * NROWS + r] = first + r < n ? total : 0.0;
        }
        if (NEXT != 0) hand_on();
    }
    say_finished(awaited);
}
