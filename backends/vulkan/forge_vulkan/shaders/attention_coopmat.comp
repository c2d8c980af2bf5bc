#version 460
// Causal attention of many tokens over caches of 16-bit floats, in cooperative matrices with 32-bit
// sums (arXiv 2205.14135, 2307.08691). Rows are the heads that share a kv head, of one token after
// the other; a subgroup has 16 of them, a work group 16 for each of its subgroups.
//
// What a row finds stays in a subgroup's matrices. Nobody knows which invocation holds which element
// of these: scores and weights go through shared memory, and a row's factor comes as a matrix that
// has it in each column. Rows of several slots, or a value that is not finite beside a row that does
// not see it, are left to attention.comp: `left` says so.
//! target: vulkan1.2
//! COOPMAT: 0 1
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "coopmat.glsl"
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

const uint TEAMS = THREADS / MATRIX_LANES, ROWS = 16 * TEAMS;
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
shared int least_position, most_position, least_slot, most_slot;
shared uint largest;
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

float of_other(float x) {
    const uint own = MATRIX_GROUP * MATRIX_LANES + MATRIX_LANE;
    exchanged[own] = x;
    MATRIX_BARRIER();
    const float other = exchanged[own ^ 1];
    MATRIX_BARRIER();
    return other;
}

// Where a row's query begins and what it finds goes, in rows of a head.
uint place(uint row, uint kv) { return row / group * kv_heads * group + kv * group + row % group; }

uint halves(vec2 x) { return packHalf2x16(x); }

// Bits of the largest finite number of the work group's queries, which order as numbers do.
uint largest_query(uint first, uint rows, uint kv) {
    uint most = 0;
    for (uint e = gl_LocalInvocationIndex; e < ROWS * SIZE / 4; e += THREADS) {
        const uint row = min(first + e / (SIZE / 4), rows - 1);
        const vec4 four = q4[place(row, kv) * (SIZE / 4) + e % (SIZE / 4)];
        const uvec4 bits = floatBitsToUint(four) & 0x7fffffffu;
        [[unroll]] for (uint i = 0; i < 4; i++) most = bits[i] < 0x7f800000u ? max(most, bits[i]) : most;
    }
    return most;
}

// The queries as halves, times a factor.
void put_queries(uint first, uint rows, uint kv, float factor) {
    for (uint e = gl_LocalInvocationIndex; e < ROWS * KEY_LINES; e += THREADS) {
        const uint row = min(first + e / KEY_LINES, rows - 1), line = e % KEY_LINES;
        const uint from = place(row, kv) * (SIZE / 4) + 2 * line;
        const vec4 a = q4[from] * factor, b = q4[from + 1] * factor;
        tile[e / KEY_LINES * KEY_STEP + line] =
            uvec4(halves(a.xy), halves(a.zw), halves(b.xy), halves(b.zw));
    }
}

void main() {
    const uint me = gl_LocalInvocationIndex, lane = MATRIX_LANE, team = MATRIX_GROUP;
    const uint rows = frame[FRAME_TOKENS] * group, chunk = frame[FRAME_CHUNK], kv = gl_WorkGroupID.y;
    // The last rows see most: they begin first.
    const uint block = gl_NumWorkGroups.x - 1 - gl_WorkGroupID.x, first = block * ROWS;
    if (first >= rows) return;
    const uint row = min(first + team * 16 + lane / 2, rows - 1), half_ = lane % 2;
    const int position = int(frame[FRAME_HEADER + chunk + row / group]);
    const int own_slot = int(frame[FRAME_HEADER + 2 * chunk + row / group]);
    if (me == 0) {
        spoiled = largest = 0;
        least_position = least_slot = 0x7fffffff;
        most_position = most_slot = 0;
    }
    barrier();
    if (half_ == 0) {
        atomicMin(least_position, position);
        atomicMax(most_position, position);
        atomicMin(least_slot, own_slot);
        atomicMax(most_slot, own_slot);
    }
    atomicMax(largest, largest_query(first, rows, kv));
    barrier();
    // A power of two that brings the largest between 2^7 and 2^8: finite, and far from too small.
    const int power = clamp(int(largest >> 23) - 134, -100, 120);
    put_queries(first, rows, kv, uintBitsToFloat(uint(127 - power) << 23));
    const float unscaled = uintBitsToFloat(uint(127 + power) << 23) * scale;
    barrier();
    MATRIX_A queries[SIZE / 16];
    [[unroll]] for (uint d = 0; d < SIZE / 16; d++) {
        LOAD_A(queries[d], tile, team * 16 * KEY_STEP + 2 * d, KEY_STEP);
    }
    const int low = least_position, last = most_position, slot = least_slot;
    const uint told = kv * gl_NumWorkGroups.x + block;
    if (me == 0) left[told] = slot == most_slot ? 0 : 1;
    if (slot != most_slot) return;

    float top = LEAST, sum = 0.0;
    if (has_sinks == 1) {
        top = sinks[kv * group + row % group];
        sum = half_ == 0 ? 1.0 : 0.0;
    }
    MATRIX_C found[VALUE_SIZE / 16];
    [[unroll]] for (uint d = 0; d < VALUE_SIZE / 16; d++) CLEAR_C(found[d]);
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
            MATRIX_C product;
            CLEAR_C(product);
            [[unroll]] for (uint d = 0; d < SIZE / 16; d++) {
                MATRIX_B key;
                LOAD_B(key, tile, 16 * k * KEY_STEP + 2 * d, KEY_STEP);
                MULTIPLY_ADD(queries[d], key, product);
            }
            STORE_C4(product, scores, my_scores + 4 * k, SCORE_STEP);
        }
        MATRIX_BARRIER();
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
        MATRIX_BARRIER();
        MATRIX_C factor;
        LOAD_C4(factor, scores, my_scores, 4);
        MATRIX_A weight[TILE / 16];
        [[unroll]] for (uint k = 0; k < TILE / 16; k++) {
            LOAD_A(weight[k], weights, my_weights + 2 * k, WEIGHT_STEP);
        }
        [[unroll]] for (uint d = 0; d < VALUE_SIZE / 16; d++) {
            MULTIPLY_EACH(found[d], factor);
            [[unroll]] for (uint k = 0; k < TILE / 16; k++) {
                MATRIX_B value;
                LOAD_B_ROWS(value, tile, TILE * KEY_STEP + 16 * k * VALUE_STEP + 2 * d, VALUE_STEP);
                MULTIPLY_ADD(weight[k], value, found[d]);
            }
        }
        MATRIX_BARRIER();
    }
    sum += of_other(sum);
    scores[my_scores + 2 * lane] = scores[my_scores + 2 * lane + 1] = vec4(1.0 / sum);
    MATRIX_BARRIER();
    MATRIX_C factor;
    LOAD_C4(factor, scores, my_scores, 4);
    [[unroll]] for (uint d = 0; d < VALUE_SIZE / 16; d++) {
        MULTIPLY_EACH(found[d], factor);
        MATRIX_BARRIER();
        STORE_C4(found[d], scores, my_scores, 4);
        MATRIX_BARRIER();
        [[unroll]] for (uint i = 0; i < 64 / MATRIX_LANES; i++) {
            const uint e = i * MATRIX_LANES + lane, to = first + team * 16 + e / 4;
            if (to < rows) y4[place(to, kv) * (VALUE_SIZE / 4) + 4 * d + e % 4] = scores[my_scores + e];
        }
    }
}
