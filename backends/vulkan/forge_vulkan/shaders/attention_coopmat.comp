#version 460
// Causal attention of many tokens over caches of 16-bit floats, in cooperative matrices with 32-bit
// sums (arXiv 2205.14135, 2307.08691). Rows are the heads that share a kv head, of one token after
// the other; a subgroup has 16 of them, a work group 16 for each of its subgroups.
//
// What a row finds stays in a subgroup's matrices. Nobody knows which invocation holds which element
// of these: scores and weights go through shared memory, and a row's factor comes as a matrix that
// has it in each column. Rows of several slots, or a value that is not finite beside a row that does
// not see it, are left to attention.comp: `left` says so.
//! target: vulkan1.3
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_shader_16bit_storage : require
#define SUBGROUPS 1
#include "common.glsl"
#include "numbers.glsl"

layout(constant_id = 2) const uint SIZE = 64;        // of a key, a multiple of 16
layout(constant_id = 3) const uint VALUE_SIZE = 64;  // of a value, a multiple of 16
layout(constant_id = 4) const uint TILE = 32;        // keys at a time, a multiple of 32
layout(constant_id = 5) const uint SOFTCAP = 0;
layout(constant_id = 6) const uint EARLY = 1;        // 1: a tile is on its way while one is worked on

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer Q { vec4 q4[]; };
layout(binding = 2) readonly buffer Keys { uvec4 keys[]; };
layout(binding = 3) readonly buffer Values { uvec4 values[]; };
layout(binding = 4) readonly buffer Sinks { float sinks[]; };
layout(binding = 5) writeonly buffer Out { vec4 y4[]; };
layout(binding = 6) writeonly buffer Left { uint left[]; };  // by kv head and work group
layout(push_constant) uniform Push {
    uint kv_heads;
    uint group;  // heads that share a kv head
    uint capacity;
    int window;  // 0: all
    uint has_sinks;
    float scale;
    float cap;
};

#define ACCUMULATOR coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>
#define LEFT_SIDE coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA>
#define RIGHT_SIDE coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB>

const uint TEAMS = THREADS / LANES, ROWS = 16 * TEAMS;
// Rows in 16 bytes, in memory and, with 16 bytes more against conflicts, in shared memory.
const uint KEY_LINES = SIZE / 8, KEY_STEP = KEY_LINES + 1;
const uint VALUE_LINES = VALUE_SIZE / 8, VALUE_STEP = VALUE_LINES + 1;
const uint SCORE_STEP = TILE / 4 + 1, WEIGHT_STEP = TILE / 8 + 1;
const uint BOTH = TILE * (KEY_STEP + VALUE_STEP), QUERIES = ROWS * KEY_STEP;
const uint KEYS_EACH = (TILE * KEY_LINES + THREADS - 1) / THREADS;
const uint VALUES_EACH = (TILE * VALUE_LINES + THREADS - 1) / THREADS;
const uint EACH = TILE / 8;  // fours of a row's scores, of which an invocation has every other few
const float LEAST = -1e30, HIDDEN = -3.4e38;

shared uvec4 tile[BOTH > QUERIES ? BOTH : QUERIES];  // keys, then values; the queries at first
shared vec4 scores[TEAMS * 16 * SCORE_STEP];
shared uvec4 weights[TEAMS * 16 * WEIGHT_STEP];
shared float exchanged[THREADS];
shared ivec4 seen[TEAMS];
shared uint spoiled;  // 1: a value is not finite

uvec4 next_keys[KEYS_EACH], next_values[VALUES_EACH];

void fetch(uint cached, int at, int last) {
    [[unroll]] for (uint i = 0; i < KEYS_EACH; i++) {
        const uint e = gl_LocalInvocationIndex + i * THREADS, row = e / KEY_LINES;
        next_keys[i] = keys[(cached + min(at + row, last)) * KEY_LINES + e % KEY_LINES];
    }
    [[unroll]] for (uint i = 0; i < VALUES_EACH; i++) {
        const uint e = gl_LocalInvocationIndex + i * THREADS, row = e / VALUE_LINES;
        next_values[i] = values[(cached + min(at + row, last)) * VALUE_LINES + e % VALUE_LINES];
    }
}

bool finite(uvec4 halves) {
    const uvec4 low = halves & 0x7c00u, high = halves & 0x7c000000u;
    return all(notEqual(low, uvec4(0x7c00u))) && all(notEqual(high, uvec4(0x7c000000u)));
}

void put(int at, int last) {
    [[unroll]] for (uint i = 0; i < KEYS_EACH; i++) {
        const uint e = gl_LocalInvocationIndex + i * THREADS;
        if (e < TILE * KEY_LINES) tile[e / KEY_LINES * KEY_STEP + e % KEY_LINES] = next_keys[i];
    }
    [[unroll]] for (uint i = 0; i < VALUES_EACH; i++) {
        const uint e = gl_LocalInvocationIndex + i * THREADS, row = e / VALUE_LINES;
        const uvec4 line = at + int(row) <= last ? next_values[i] : uvec4(0);
        if (e < TILE * VALUE_LINES) {
            if (!finite(line)) spoiled = 1;
            tile[TILE * KEY_STEP + row * VALUE_STEP + e % VALUE_LINES] = line;
        }
    }
}

// The memory of this subgroup alone.
void meet() {
    subgroupMemoryBarrierShared();
    subgroupBarrier();
}

float of_other(float x) {
    const uint own = gl_SubgroupID * LANES + gl_SubgroupInvocationID;
    exchanged[own] = x;
    meet();
    const float other = exchanged[own ^ 1];
    meet();
    return other;
}

// Where a row's query begins and what it finds goes, in rows of a head.
uint place(uint row, uint kv) { return row / group * kv_heads * group + kv * group + row % group; }

uint halves(vec2 x) { return packHalf2x16(x); }

// The subgroup's queries as halves, times a power of two that keeps them finite; returns its inverse.
float put_queries(uint first, uint rows, uint kv) {
    float most = 0.0;
    for (uint e = gl_SubgroupInvocationID; e < 16 * SIZE / 4; e += LANES) {
        const uint row = min(first + e / (SIZE / 4), rows - 1);
        const uvec4 bits = floatBitsToUint(q4[place(row, kv) * (SIZE / 4) + e % (SIZE / 4)]) & 0x7fffffffu;
        [[unroll]] for (uint i = 0; i < 4; i++) {
            if (bits[i] < 0x7f800000u) most = max(most, uintBitsToFloat(bits[i]));
        }
    }
    most = subgroupMax(most);
    // Of the exponent, to be between 2^7 and 2^8; within what its inverse can be.
    const int power = clamp(int(floatBitsToUint(most) >> 23) - 134, -100, 120);
    const float factor = uintBitsToFloat(uint(127 - power) << 23);
    for (uint e = gl_SubgroupInvocationID; e < 16 * KEY_LINES; e += LANES) {
        const uint row = min(first + e / KEY_LINES, rows - 1), line = e % KEY_LINES;
        const uint from = place(row, kv) * (SIZE / 4) + 2 * line;
        const vec4 a = q4[from] * factor, b = q4[from + 1] * factor;
        tile[(gl_SubgroupID * 16 + e / KEY_LINES) * KEY_STEP + line] =
            uvec4(halves(a.xy), halves(a.zw), halves(b.xy), halves(b.zw));
    }
    return uintBitsToFloat(uint(127 + power) << 23);
}

void main() {
    const uint me = gl_LocalInvocationIndex, lane = gl_SubgroupInvocationID, team = gl_SubgroupID;
    const uint rows = frame[FRAME_TOKENS] * group, chunk = frame[FRAME_CHUNK], kv = gl_WorkGroupID.y;
    // The last rows see most: they begin first.
    const uint block = gl_NumWorkGroups.x - 1 - gl_WorkGroupID.x, first = block * ROWS;
    if (first >= rows) return;
    const uint row = min(first + team * 16 + lane / 2, rows - 1), half_ = lane % 2;
    const int position = int(frame[FRAME_HEADER + chunk + row / group]);
    const int own_slot = int(frame[FRAME_HEADER + 2 * chunk + row / group]);
    seen[team] = ivec4(
        subgroupMin(position), subgroupMax(position), subgroupMin(own_slot), subgroupMax(own_slot)
    );
    if (me == 0) spoiled = 0;
    const float unscaled = put_queries(first + team * 16, rows, kv) * scale;
    barrier();
    LEFT_SIDE queries[SIZE / 16];
    [[unroll]] for (uint d = 0; d < SIZE / 16; d++) {
        coopMatLoad(queries[d], tile, team * 16 * KEY_STEP + 2 * d, KEY_STEP, gl_CooperativeMatrixLayoutRowMajor);
    }
    ivec4 all_seen = seen[0];
    [[unroll]] for (uint i = 1; i < TEAMS; i++) {
        all_seen = ivec4(
            min(all_seen.x, seen[i].x), max(all_seen.y, seen[i].y),
            min(all_seen.z, seen[i].z), max(all_seen.w, seen[i].w)
        );
    }
    const int low = all_seen.x, last = all_seen.y, slot = all_seen.z;
    const uint told = kv * gl_NumWorkGroups.x + block;
    if (me == 0) left[told] = slot == all_seen.w ? 0 : 1;
    if (slot != all_seen.w) return;

    float top = LEAST, sum = 0.0;
    if (has_sinks == 1) {
        top = sinks[kv * group + row % group];
        sum = half_ == 0 ? 1.0 : 0.0;
    }
    ACCUMULATOR found[VALUE_SIZE / 16];
    [[unroll]] for (uint d = 0; d < VALUE_SIZE / 16; d++) found[d] = ACCUMULATOR(0.0);
    const uint cached = (uint(slot) * kv_heads + kv) * capacity;
    const uint my_scores = team * 16 * SCORE_STEP, my_weights = team * 16 * WEIGHT_STEP;
    const int start = window > 0 ? max(0, low + 1 - window) / int(TILE) * int(TILE) : 0;
    if (EARLY == 1) fetch(cached, start, last);
    for (int at = start; at <= last; at += int(TILE)) {
        const bool whole = at + int(TILE) - 1 <= low && (window == 0 || last - at < window);
        if (EARLY == 0) fetch(cached, at, last);
        barrier();
        put(at, last);
        barrier();
        if (!whole && spoiled == 1) {
            if (me == 0) left[told] = 1;
            return;
        }
        if (EARLY == 1) fetch(cached, at + int(TILE), last);
        [[unroll]] for (uint k = 0; k < TILE / 16; k++) {
            ACCUMULATOR product = ACCUMULATOR(0.0);
            [[unroll]] for (uint d = 0; d < SIZE / 16; d++) {
                RIGHT_SIDE key;
                coopMatLoad(key, tile, 16 * k * KEY_STEP + 2 * d, KEY_STEP, gl_CooperativeMatrixLayoutColumnMajor);
                product = coopMatMulAdd(queries[d], key, product);
            }
            coopMatStore(product, scores, my_scores + 4 * k, SCORE_STEP, gl_CooperativeMatrixLayoutRowMajor);
        }
        meet();
        // Of 32 columns each of two invocations has 16 that lie together: no two in one bank.
        vec4 mine[EACH];
        float now = top;
        [[unroll]] for (uint j = 0; j < EACH; j++) {
            const uint four = j / 4 * 8 + half_ * 4 + j % 4;
            vec4 score = scores[my_scores + lane / 2 * SCORE_STEP + four] * unscaled;
            [[unroll]] for (uint e = 0; e < 4; e++) {
                if (SOFTCAP == 1) score[e] = tanh_(score[e] / cap) * cap;
                const int ahead = at + int(4 * four + e);
                const bool past = window > 0 ? position - ahead >= window : false;
                score[e] = !whole && (ahead > position || past) ? HIDDEN : score[e];
                now = max(now, score[e]);
            }
            mine[j] = score;
        }
        now = max(now, of_other(now));
        const float kept = exp(top - now);
        sum *= kept;
        top = now;
        [[unroll]] for (uint j = 0; j < EACH; j++) {
            [[unroll]] for (uint e = 0; e < 4; e++) {
                mine[j][e] = mine[j][e] == HIDDEN ? 0.0 : exp(mine[j][e] - now);
                sum += mine[j][e];
            }
        }
        [[unroll]] for (uint j = 0; j < EACH; j += 2) {
            const uint line = j / 4 * 4 + half_ * 2 + j % 4 / 2;
            weights[my_weights + lane / 2 * WEIGHT_STEP + line] = uvec4(
                halves(mine[j].xy), halves(mine[j].zw), halves(mine[j + 1].xy), halves(mine[j + 1].zw)
            );
        }
        // All of the subgroup have read their scores.
        scores[my_scores + 2 * lane] = scores[my_scores + 2 * lane + 1] = vec4(kept);
        meet();
        ACCUMULATOR factor;
        coopMatLoad(factor, scores, my_scores, 4, gl_CooperativeMatrixLayoutRowMajor);
        LEFT_SIDE weight[TILE / 16];
        [[unroll]] for (uint k = 0; k < TILE / 16; k++) {
            coopMatLoad(weight[k], weights, my_weights + 2 * k, WEIGHT_STEP, gl_CooperativeMatrixLayoutRowMajor);
        }
        [[unroll]] for (uint d = 0; d < VALUE_SIZE / 16; d++) {
            found[d] = found[d] * factor;
            [[unroll]] for (uint k = 0; k < TILE / 16; k++) {
                RIGHT_SIDE value;
                coopMatLoad(value, tile, TILE * KEY_STEP + 16 * k * VALUE_STEP + 2 * d, VALUE_STEP, gl_CooperativeMatrixLayoutRowMajor);
                found[d] = coopMatMulAdd(weight[k], value, found[d]);
            }
        }
        meet();
    }
    sum += of_other(sum);
    scores[my_scores + 2 * lane] = scores[my_scores + 2 * lane + 1] = vec4(1.0 / sum);
    meet();
    ACCUMULATOR factor;
    coopMatLoad(factor, scores, my_scores, 4, gl_CooperativeMatrixLayoutRowMajor);
    [[unroll]] for (uint d = 0; d < VALUE_SIZE / 16; d++) {
        found[d] = found[d] * factor;
        meet();
        coopMatStore(found[d], scores, my_scores, 4, gl_CooperativeMatrixLayoutRowMajor);
        meet();
        [[unroll]] for (uint i = 0; i < 64 / LANES; i++) {
            const uint e = i * LANES + lane, to = first + team * 16 + e / 4;
            if (to < rows) y4[place(to, kv) * (VALUE_SIZE / 4) + 4 * d + e % 4] = scores[my_scores + e];
        }
    }
}
