#version 460
// A matrix times one activation row: y[n] = W[n, k] * x, for tokens that come one at a time.
//
// Quantised types: each work group first turns x (times a norm's weight, if one is fused) into int8
// with a scale for 16 columns, in shared memory; then each subgroup computes NROWS rows, its lanes
// side by side along k. A fused norm's 1/rms multiplies the sums at the end.
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

layout(binding = 0) readonly buffer X { vec4 x4[]; };
layout(binding = 0) readonly buffer X1 { float x1[]; };
layout(binding = 1) readonly buffer G { vec4 g4[]; };
layout(binding = 1) readonly buffer G1 { float g1[]; };
#define WEIGHTS_BINDING 2
#include "weights.glsl"
layout(binding = 3) readonly buffer Bias { float bias[]; };
layout(binding = 4) readonly buffer Residual { float residual[]; };
layout(binding = 5) writeonly buffer Out { float y[]; };
layout(push_constant) uniform Push {
    Planes planes;
    Planes second;    // V, where GATE is not 0
    uint n;           // rows
    uint start;       // place of the first of them in y, bias and residual
    float epsilon;
};

#include "reduce.glsl"
#include "gates.glsl"

shared float squares[THREADS];

float squared(vec4 v) { return dot(v, v); }

#if QUANTISED
#include "dot.glsl"
const uint GROUPS = K / 16;
shared uvec4 codes[GROUPS];
shared vec2 scales[GROUPS];  // of a code, and that times the sum of the group's codes

void quantise() {
    float sum = 0;
    for (uint g = gl_LocalInvocationIndex; g < GROUPS; g += THREADS) {
        vec4 v[4];
        float most = 0;
        bool finite = true;
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            v[i] = x4[4 * g + i];
            if (NORM == 1) {
                sum += squared(v[i]);
                v[i] *= g4[4 * g + i];
            }
            const vec4 a = abs(v[i]);
            most = max(most, max(max(a.x, a.y), max(a.z, a.w)));
            const uvec4 bits = floatBitsToUint(v[i]) & 0x7f800000u;
            finite = finite && all(lessThan(bits, uvec4(0x7f800000u)));
        }
        const float inverse = most > 0 ? 127.0 / most : 0.0;
        uvec4 packed;
        int total = 0;
        [[unroll]] for (uint i = 0; i < 4; ++i) {
            const ivec4 c = ivec4(roundEven(v[i] * inverse));
            total += c.x + c.y + c.z + c.w;
            const uvec4 u = uvec4(c) & 0xFFu;
            packed[i] = u.x | u.y << 8 | u.z << 16 | u.w << 24;
        }
        const float scale = finite ? most / 127.0 : uintBitsToFloat(0x7fc00000u);
        codes[g] = packed;
        scales[g] = vec2(scale, scale * float(total));
    }
    if (NORM == 1) squares[gl_LocalInvocationIndex] = sum;
    barrier();
}

float part(const Planes at, uint row, uint p, uint ga, uint gb) {
    uvec4 a, b;
    vec2 scale, offset;
    load32(at, row, K, p, a, b, scale, offset);
    float sum = scale.x * scales[ga].x * float(dot16(a, codes[ga]));
    sum += scale.y * scales[gb].x * float(dot16(b, codes[gb]));
#if HAS_OFFSET
    sum += offset.x * scales[ga].y + offset.y * scales[gb].y;
#endif
    return sum;
}
#else
void quantise() {
    if (NORM == 0) return;
    float sum = 0;
    for (uint i = gl_LocalInvocationIndex; i < K; i += THREADS) sum += x1[i] * x1[i];
    squares[gl_LocalInvocationIndex] = sum;
    barrier();
}

float part(const Planes at, uint row, uint c, vec4 v) {
    return dot(load4(at, row, K, c), v);
}
#endif

void main() {
    quantise();
    const uint of_group = THREADS / LANES;
    const uint lane = gl_LocalInvocationIndex % LANES;
    const uint mine = gl_LocalInvocationIndex / LANES;
    float inverse = 1.0;
    if (NORM == 1) {
        float sum = 0;
        for (uint i = lane; i < THREADS; i += LANES) sum += squares[i];
        inverse = inversesqrt(reduced(sum) / float(K) + epsilon);
    }
    for (uint loop = 0; loop < LOOPS; ++loop) {
        const uint first = ((gl_WorkGroupID.x * LOOPS + loop) * of_group + mine) * NROWS;
        float sums[NROWS], more[NROWS];
        [[unroll]] for (uint r = 0; r < NROWS; ++r) sums[r] = more[r] = 0;
#if QUANTISED
        for (uint p = lane; p < K / 32; p += LANES) {
            uint ga, gb;
            pair(p, ga, gb);
            [[unroll]] for (uint r = 0; r < NROWS; ++r) {
                const uint row = min(first + r, n - 1);
                sums[r] += part(planes, row, p, ga, gb);
                if (GATE != 0) more[r] += part(second, row, p, ga, gb);
            }
        }
#else
        for (uint c = 4 * lane; c < K; c += 4 * LANES) {
            vec4 v;
            if (K % 4 == 0) {
                v = x4[c / 4];
                if (NORM == 1) v *= g4[c / 4];
            } else {
                [[unroll]] for (uint i = 0; i < 4; ++i) {
                    v[i] = c + i < K ? x1[c + i] : 0.0;
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
                if (RESIDUAL == 1) total += residual[at];
                y[at] = total;
            }
        }
    }
}
