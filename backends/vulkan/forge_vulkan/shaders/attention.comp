#version 460
// Attention of many tokens over the caches, tile by tile (arXiv 2205.14135). Rows are the heads that
// share a kv head, of one token after the other; a work group has 16 ROWS_EACH of them.
//! CACHE: f32 f16 q8_0
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "numbers.glsl"
#include "cache.glsl"

layout(constant_id = 2) const uint SIZE = 64;        // of a key
layout(constant_id = 3) const uint VALUE_SIZE = 64;  // of a value
layout(constant_id = 4) const uint ROWS_EACH = 4;    // of one invocation: 64 rows a work group
layout(constant_id = 5) const uint SOFTCAP = 0;
layout(constant_id = 6) const uint REST = 0;         // 1: only what attention_coopmat.comp left

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer Q { float q[]; };
layout(binding = 2) readonly buffer Keys { uint keys[]; };
layout(binding = 3) readonly buffer Values { uint values[]; };
layout(binding = 4) readonly buffer Sinks { float sinks[]; };
layout(binding = 5) writeonly buffer Out { float y[]; };
layout(binding = 6) readonly buffer Left { uint left[]; };  // by kv head and 64 rows
layout(push_constant) uniform Push {
    uint kv_heads;
    uint group;  // heads that share a kv head
    uint capacity;
    int window;     // 0: all
    uint causal;    // 1: nothing that comes later is seen
    uint has_sinks;
    float scale;
    float cap;
};

const uint ROWS = 16 * ROWS_EACH, TILE = 32, WIDE = 32;  // keys, and columns that are shared at once
const uint STEP = WIDE / 4 + 1;                          // a row of shared memory in vec4
const uint KEY_WORDS = ROW_WORDS(SIZE), VALUE_WORDS = ROW_WORDS(VALUE_SIZE);
const uint CHUNKS = (VALUE_SIZE + WIDE - 1) / WIDE;
const float LEAST = -1e30;     // before any score
const float HIDDEN = -3.4e38;  // a score that the row must not see

shared vec4 queries[ROWS * STEP];
shared vec4 tile[TILE * STEP];
shared vec4 weights[ROWS * STEP];
shared float row_top[ROWS], row_sum[ROWS], row_kept[ROWS];
shared uint row_head[ROWS];  // of q: row after row, head after head
shared int row_position[ROWS], row_slot[ROWS];
shared uint spoiled;  // 1: a value is no number; times a weight of 0 it is none either

// Whether a row before it has its slot: then it was seen to together with that one.
bool is_done(uint row) {
    for (uint i = row; i > 0; i--) {
        if (row_slot[i - 1] == row_slot[row]) return true;
    }
    return false;
}

int reach(int slot) {
    int most = 0;
    const uint chunk = frame[FRAME_CHUNK];
    for (uint i = 0; i < frame[FRAME_TOKENS]; i++) {
        if (int(frame[FRAME_HEADER + 2 * chunk + i]) != slot) continue;
        most = max(most, int(frame[FRAME_HEADER + chunk + i]));
    }
    return most;
}

void share_queries(uint column) {
    for (uint i = gl_LocalInvocationIndex; i < ROWS * (WIDE / 4); i += THREADS) {
        const uint row = i / (WIDE / 4), d = column + i % (WIDE / 4) * 4;
        const uint at = row_head[row] * SIZE + d;
        vec4 found = vec4(0.0);
        [[unroll]] for (uint e = 0; e < 4; e++) {
            if (d + e < SIZE) found[e] = q[at + e];
        }
        queries[row * STEP + i % (WIDE / 4)] = found;
    }
}

// Columns of a tile of rows from `base` on, 0 where `count` rows and `size` columns are over; `place`
// is where `row` goes.
#define SHARE(array, base, words, size, column, count, watched, place)                    \
    for (uint i = gl_LocalInvocationIndex; i < TILE * (WIDE / 4); i += THREADS) {          \
        const uint row = i / (WIDE / 4), d = (column) + i % (WIDE / 4) * 4;                \
        const uint at = (base) + row * (words);                                            \
        vec4 found = vec4(0.0);                                                            \
        if (row < (count) && d < (size)) found = QUAD(array, at, size, d / 4);             \
        if ((watched) && !(dot(abs(found), vec4(1.0)) < INFINITY)) spoiled = 1;            \
        tile[(place) * STEP + i % (WIDE / 4)] = found;                                     \
    }

// Whether a row must not see a key at `ahead`.
bool hides(uint row, int slot, int ahead, int last) {
    const int position = row_position[row];
    const bool other = row_slot[row] != slot, over = ahead > last;
    const bool later = ahead > position, left = position - ahead >= window;
    const bool future = causal == 1 ? later : false, past = window > 0 ? left : false;
    const bool outside = other || over, unseen = future || past;
    return outside || unseen;
}

void main() {
    const uint me = gl_LocalInvocationIndex, mine = me / 8, across = me % 8;
    const uint rows = frame[FRAME_TOKENS] * group;
    // The last rows see most: they begin first.
    const uint first = (gl_NumWorkGroups.x - 1 - gl_WorkGroupID.x) * ROWS;
    const uint kv = gl_WorkGroupID.y, chunk = frame[FRAME_CHUNK];
    if (first >= rows) return;
    if (REST == 1 && left[kv * ((gl_NumWorkGroups.x * ROWS + 63) / 64) + first / 64] == 0) return;
    for (uint i = me; i < ROWS; i += THREADS) {
        const uint row = min(first + i, rows - 1), token = row / group;  // idle rows repeat the last
        row_position[i] = int(frame[FRAME_HEADER + chunk + token]);
        row_slot[i] = int(frame[FRAME_HEADER + 2 * chunk + token]);
        const uint head = kv * group + row % group;
        row_head[i] = token * kv_heads * group + head;
        row_top[i] = has_sinks == 1 ? sinks[head] : LEAST;
        row_sum[i] = has_sinks == 1 ? 1.0 : 0.0;
    }
    if (me == 0) spoiled = 0;
    vec4 sums[CHUNKS * ROWS_EACH];
    [[unroll]] for (uint i = 0; i < CHUNKS * ROWS_EACH; i++) sums[i] = vec4(0.0);
    barrier();
    for (uint of_slot = 0; of_slot < ROWS; of_slot++) {
        if (is_done(of_slot)) continue;
        const int slot = row_slot[of_slot];
        int low = row_position[of_slot], high = low;
        bool alone = true;
        for (uint i = 0; i < ROWS; i++) {
            const bool same = row_slot[i] == slot;
            alone = alone && same;
            low = same ? min(low, row_position[i]) : low;
            high = same ? max(high, row_position[i]) : high;
        }
        const int last = causal == 1 ? high : reach(slot);
        const int start = window > 0 ? max(0, low + 1 - window) : 0;
        const uint before = (uint(slot) * kv_heads + kv) * capacity;
        for (int at = start / int(TILE) * int(TILE); at <= last; at += int(TILE)) {
            const uint count = uint(last - at + 1);
            const bool whole = alone && at + int(TILE) - 1 <= (causal == 1 ? low : last)
                && (window == 0 || high - at < window);
            float scores[ROWS_EACH * 4];
            [[unroll]] for (uint i = 0; i < ROWS_EACH * 4; i++) scores[i] = 0.0;
            for (uint column = 0; column < SIZE; column += WIDE) {
                barrier();
                share_queries(column);
                SHARE(keys, (before + uint(at)) * KEY_WORDS, KEY_WORDS, SIZE, column, count, false, row % 4 * 8 + row / 4)
                barrier();
                [[unroll]] for (uint d = 0; d < WIDE / 4; d++) {
                    if (SIZE % WIDE != 0 && column + 4 * d >= SIZE) break;
                    vec4 key[4];
                    [[unroll]] for (uint j = 0; j < 4; j++) key[j] = tile[(across + 8 * j) * STEP + d];
                    [[unroll]] for (uint i = 0; i < ROWS_EACH; i++) {
                        const vec4 query = queries[(mine + 16 * i) * STEP + d];
                        [[unroll]] for (uint j = 0; j < 4; j++) scores[4 * i + j] += dot(query, key[j]);
                    }
                }
            }
            [[unroll]] for (uint i = 0; i < ROWS_EACH; i++) {
                const uint row = mine + 16 * i;
                vec4 score = vec4(scores[4 * i], scores[4 * i + 1], scores[4 * i + 2], scores[4 * i + 3]);
                [[unroll]] for (uint j = 0; j < 4; j++) {
                    score[j] *= scale;
                    if (SOFTCAP == 1) score[j] = tanh_(score[j] / cap) * cap;
                    const bool hidden = hides(row, slot, at + int(4 * across + j), last);
                    score[j] = hidden ? HIDDEN : score[j];
                }
                weights[row * STEP + across] = score;
            }
            barrier();
            for (uint row = me; row < ROWS; row += THREADS) {
                const float before_ = row_top[row];
                float top = before_;
                for (uint j = 0; j < TILE / 4; j++) {
                    const vec4 w = weights[row * STEP + j];
                    top = max(top, max(max(w.x, w.y), max(w.z, w.w)));
                }
                const float kept = exp(before_ - top);
                float sum = row_sum[row] * kept;
                for (uint j = 0; j < TILE / 4; j++) {
                    vec4 w = weights[row * STEP + j];
                    [[unroll]] for (uint e = 0; e < 4; e++) {
                        w[e] = w[e] == HIDDEN ? 0.0 : exp(w[e] - top);
                        sum += w[e];
                    }
                    weights[row * STEP + j] = w;
                }
                row_top[row] = top;
                row_sum[row] = sum;
                row_kept[row] = kept;
            }
            barrier();
            const uint base = (before + uint(at)) * VALUE_WORDS;
            [[unroll]] for (uint c = 0; c < CHUNKS; c++) {
                SHARE(values, base, VALUE_WORDS, VALUE_SIZE, c * WIDE, count, !whole, row)
                barrier();
                [[unroll]] for (uint i = 0; i < ROWS_EACH; i++) {
                    sums[c * ROWS_EACH + i] *= row_kept[mine + 16 * i];
                }
                if (!whole && spoiled == 1) {
                    for (uint j = 0; j < count; j++) {
                        const vec4 value = tile[j * STEP + across];
                        [[unroll]] for (uint i = 0; i < ROWS_EACH; i++) {
                            const uint row = mine + 16 * i, at_sum = c * ROWS_EACH + i;
                            const vec4 sum = fma(vec4(weights[row * STEP + j / 4][j % 4]), value, sums[at_sum]);
                            sums[at_sum] = hides(row, slot, at + int(j), last) ? sums[at_sum] : sum;
                        }
                    }
                } else {
                    for (uint j = 0; j < TILE / 4; j++) {
                        vec4 value[4];
                        [[unroll]] for (uint e = 0; e < 4; e++) value[e] = tile[(4 * j + e) * STEP + across];
                        [[unroll]] for (uint i = 0; i < ROWS_EACH; i++) {
                            const vec4 w = weights[(mine + 16 * i) * STEP + j];
                            [[unroll]] for (uint e = 0; e < 4; e++) {
                                sums[c * ROWS_EACH + i] = fma(vec4(w[e]), value[e], sums[c * ROWS_EACH + i]);
                            }
                        }
                    }
                }
                barrier();
            }
        }
    }
    [[unroll]] for (uint i = 0; i < ROWS_EACH; i++) {
        const uint row = first + mine + 16 * i;
        if (row >= rows) continue;
        const uint to = row_head[mine + 16 * i] * VALUE_SIZE;
        const float sum = row_sum[mine + 16 * i];
        [[unroll]] for (uint c = 0; c < CHUNKS; c++) {
            [[unroll]] for (uint e = 0; e < 4; e++) {
                const uint column = c * WIDE + 4 * across + e;
                if (column < VALUE_SIZE) y[to + column] = sums[c * ROWS_EACH + i][e] / sum;
            }
        }
    }
}
