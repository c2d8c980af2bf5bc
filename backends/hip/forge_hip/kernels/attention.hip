// Attention of many tokens over the caches, tile by tile (arXiv 2205.14135). Rows are the heads that
// share a kv head, of one token after the other; a work group has 16 ROWS_EACH of them.
//! CACHE: f32 f16 q8_0
//! constants: 128 1 128 128 4 0 0
//! constants: 128 1 64 64 4 1 1
//! constants: 128 1 256 256 2 0 0
//! constants: 128 1 128 128 1 0 0
//! budget: vgpr 224 lds 25600
#include "numbers.h"
#include "cache.h"

constexpr u32 SIZE = C2, VALUE_SIZE = C3;  // of a key, of a value
constexpr u32 ROWS_EACH = C4;              // of one thread: 64 rows a work group
constexpr bool SOFTCAP = C5 == 1;
constexpr bool REST = C6 == 1;             // only what attention_coopmat.hip left

struct Push {
    u32 kv_heads;
    u32 group;  // heads that share a kv head
    u32 capacity;
    i32 window;   // 0: all
    u32 causal;   // 1: nothing that comes later is seen
    u32 has_sinks;
    float scale;
    float cap;
};

constexpr u32 ROWS = 16 * ROWS_EACH, TILE = 32, WIDE = 32;  // keys, and columns that are shared at once
constexpr u32 STEP = WIDE / 4 + 1;                          // a row of shared memory in fours
constexpr u32 KEY_WORDS = row_words(SIZE), VALUE_WORDS = row_words(VALUE_SIZE);
constexpr u32 CHUNKS = (VALUE_SIZE + WIDE - 1) / WIDE;
constexpr float LEAST = -1e30f;     // before any score
constexpr float HIDDEN = -3.4e38f;  // a score that the row must not see

__shared__ f4 queries[ROWS * STEP];
__shared__ f4 tile[TILE * STEP];
__shared__ f4 weights[ROWS * STEP];
__shared__ float row_top[ROWS], row_sum[ROWS], row_kept[ROWS];
__shared__ u32 row_head[ROWS];  // of q: row after row, head after head
__shared__ i32 row_position[ROWS], row_slot[ROWS];
__shared__ u32 spoiled;  // 1: a value is no number; times a weight of 0 it is none either

// Whether a row before it has its slot: then it was seen to together with that one.
INLINE bool is_done(u32 row) {
    for (u32 i = row; i > 0; i--) {
        if (row_slot[i - 1] == row_slot[row]) return true;
    }
    return false;
}

INLINE i32 reach(const u32* frame, i32 slot) {
    i32 furthest = 0;
    const u32 chunk = frame[FRAME_CHUNK];
    for (u32 i = 0; i < frame[FRAME_TOKENS]; i++) {
        if ((i32)frame[FRAME_HEADER + 2 * chunk + i] != slot) continue;
        furthest = most(furthest, (i32)frame[FRAME_HEADER + chunk + i]);
    }
    return furthest;
}

INLINE void share_queries(const float* q, u32 column) {
    for (u32 i = thread(); i < ROWS * (WIDE / 4); i += THREADS) {
        const u32 row = i / (WIDE / 4), d = column + i % (WIDE / 4) * 4;
        const float* from = q + (u64)row_head[row] * SIZE + d;
        f4 found = four(0.0f);
        UNROLL for (u32 e = 0; e < 4; e++) {
            if (d + e < SIZE) found[e] = from[e];
        }
        queries[row * STEP + i % (WIDE / 4)] = found;
    }
}

// Columns of a tile of rows, 0 where `count` rows and `size` columns are over. Keys are put where the
// threads that score them read one after the other.
template <bool KEYS>
INLINE void share(const u32* rows, u32 words, u32 size, u32 column, u32 count, bool watched) {
    for (u32 i = thread(); i < TILE * (WIDE / 4); i += THREADS) {
        const u32 row = i / (WIDE / 4), d = column + i % (WIDE / 4) * 4;
        const u32* from = rows + (u64)row * words;
        f4 found = four(0.0f);
        if (row < count && d < size) found = four_of(line_of(from, d / 4), scales_of(from, size, d / 4), d / 4);
        if (d + 4 > size) {
            UNROLL for (u32 e = 1; e < 4; e++) found[e] = d + e < size ? found[e] : 0.0f;
        }
        const float sizes = abs_(found[0]) + abs_(found[1]) + abs_(found[2]) + abs_(found[3]);
        if (watched && !(sizes < infinity())) spoiled = 1;
        tile[(KEYS ? row % 4 * 8 + row / 4 : row) * STEP + i % (WIDE / 4)] = found;
    }
}

// Whether a row must not see a key at `ahead`.
INLINE bool hides(u32 row, i32 slot, i32 ahead, i32 last, const Push& push) {
    const i32 position = row_position[row];
    const bool outside = row_slot[row] != slot || ahead > last;
    const bool future = push.causal == 1 && ahead > position;
    const bool past = push.window > 0 && position - ahead >= push.window;
    return outside || future || past;
}

struct Scores {
    float of[ROWS_EACH * 4];

    // Four keys of the tile for each row of this thread; no NaN that padding may hold gets in.
    INLINE void add(u32 mine, u32 across) {
        UNROLL for (u32 d = 0; d < WIDE / 4; d++) {
            f4 key[4];
            UNROLL for (u32 j = 0; j < 4; j++) key[j] = tile[(across + 8 * j) * STEP + d];
            UNROLL for (u32 i = 0; i < ROWS_EACH; i++) {
                const f4 query = queries[(mine + 16 * i) * STEP + d];
                UNROLL for (u32 j = 0; j < 4; j++) of[4 * i + j] += dot(query, key[j]);
            }
        }
    }
};

// Scores of a row become weights, and how much what was found before still counts.
INLINE void weigh(u32 row) {
    const float before = row_top[row];
    float top = before;
    for (u32 j = 0; j < TILE / 4; j++) {
        const f4 w = weights[row * STEP + j];
        top = max_(top, max_(max_(w[0], w[1]), max_(w[2], w[3])));
    }
    const float kept = exp_(before - top);
    float sum = row_sum[row] * kept;
    for (u32 j = 0; j < TILE / 4; j++) {
        f4 w = weights[row * STEP + j];
        UNROLL for (u32 e = 0; e < 4; e++) {
            w[e] = w[e] == HIDDEN ? 0.0f : exp_(w[e] - top);
            sum += w[e];
        }
        weights[row * STEP + j] = w;
    }
    row_top[row] = top;
    row_sum[row] = sum;
    row_kept[row] = kept;
}

INLINE f4 plus_times(const f4& sum, const f4& value, float weight) {
    f4 made;
    UNROLL for (u32 e = 0; e < 4; e++) made[e] = fma_(weight, value[e], sum[e]);
    return made;
}

INLINE void run(
    const u32* __restrict__ frame, const float* __restrict__ q, const u32* __restrict__ keys,
    const u32* __restrict__ values, const float* __restrict__ sinks, float* __restrict__ y,
    const u32* __restrict__ left, const Push push
) {
    const u32 me = thread(), mine = me / 8, across = me % 8, group = push.group;
    const u32 rows = frame[FRAME_TOKENS] * group;
    // The last rows see most: they begin first.
    const u32 first = (GROUPS_X - 1 - group_x()) * ROWS, kv = group_y(), chunk = frame[FRAME_CHUNK];
    if (first >= rows) return;
    if (REST && left[kv * ((GROUPS_X * ROWS + 63) / 64) + first / 64] == 0) return;
    for (u32 i = me; i < ROWS; i += THREADS) {
        const u32 row = least(first + i, rows - 1), token = row / group;  // idle rows repeat the last
        row_position[i] = (i32)frame[FRAME_HEADER + chunk + token];
        row_slot[i] = (i32)frame[FRAME_HEADER + 2 * chunk + token];
        const u32 head = kv * group + row % group;
        row_head[i] = token * push.kv_heads * group + head;
        row_top[i] = push.has_sinks == 1 ? sinks[head] : LEAST;
        row_sum[i] = push.has_sinks == 1 ? 1.0f : 0.0f;
    }
    if (me == 0) spoiled = 0;
    f4 sums[CHUNKS * ROWS_EACH];
    UNROLL for (u32 i = 0; i < CHUNKS * ROWS_EACH; i++) sums[i] = four(0.0f);
    barrier();
    for (u32 of_slot = 0; of_slot < ROWS; of_slot++) {
        if (is_done(of_slot)) continue;
        const i32 slot = row_slot[of_slot];
        i32 low = row_position[of_slot], high = low;
        bool alone = true;
        for (u32 i = 0; i < ROWS; i++) {
            const bool same = row_slot[i] == slot;
            alone = alone && same;
            low = same ? least(low, row_position[i]) : low;
            high = same ? most(high, row_position[i]) : high;
        }
        const i32 last = push.causal == 1 ? high : reach(frame, slot);
        const i32 start = push.window > 0 ? most(0, low + 1 - push.window) : 0;
        const u64 before = ((u64)(u32)slot * push.kv_heads + kv) * push.capacity;
        for (i32 at = start / (i32)TILE * (i32)TILE; at <= last; at += (i32)TILE) {
            const u32 count = (u32)(last - at + 1);
            const bool whole = alone && at + (i32)TILE - 1 <= (push.causal == 1 ? low : last)
                && (push.window == 0 || high - at < push.window);
            const u32* key_rows = keys + (before + (u32)at) * KEY_WORDS;
            const u32* value_rows = values + (before + (u32)at) * VALUE_WORDS;
            Scores scores;
            UNROLL for (u32 i = 0; i < ROWS_EACH * 4; i++) scores.of[i] = 0.0f;
            for (u32 column = 0; column < SIZE; column += WIDE) {
                barrier();
                share_queries(q, column);
                share<true>(key_rows, KEY_WORDS, SIZE, column, count, false);
                barrier();
                scores.add(mine, across);
            }
            UNROLL for (u32 i = 0; i < ROWS_EACH; i++) {
                const u32 row = mine + 16 * i;
                f4 score;
                UNROLL for (u32 j = 0; j < 4; j++) {
                    score[j] = scores.of[4 * i + j] * push.scale;
                    if (SOFTCAP) score[j] = tanh_(score[j] / push.cap) * push.cap;
                    const bool hidden = hides(row, slot, at + (i32)(4 * across + j), last, push);
                    score[j] = hidden ? HIDDEN : score[j];
                }
                weights[row * STEP + across] = score;
            }
            barrier();
            for (u32 row = me; row < ROWS; row += THREADS) weigh(row);
            barrier();
            UNROLL for (u32 c = 0; c < CHUNKS; c++) {
                share<false>(value_rows, VALUE_WORDS, VALUE_SIZE, c * WIDE, count, !whole);
                barrier();
                f4* found = sums + c * ROWS_EACH;
                UNROLL for (u32 i = 0; i < ROWS_EACH; i++) found[i] = found[i] * row_kept[mine + 16 * i];
                if (!whole && spoiled == 1) {
                    for (u32 j = 0; j < least(count, TILE); j++) {
                        const f4 value = tile[j * STEP + across];
                        UNROLL for (u32 i = 0; i < ROWS_EACH; i++) {
                            const u32 row = mine + 16 * i;
                            const f4 sum = plus_times(found[i], value, weights[row * STEP + j / 4].v[j % 4]);
                            const bool hidden = hides(row, slot, at + (i32)j, last, push);
                            UNROLL for (u32 e = 0; e < 4; e++) found[i][e] = hidden ? found[i][e] : sum[e];
                        }
                    }
                } else {
                    for (u32 j = 0; j < TILE / 4; j++) {
                        f4 value[4];
                        UNROLL for (u32 e = 0; e < 4; e++) value[e] = tile[(4 * j + e) * STEP + across];
                        UNROLL for (u32 i = 0; i < ROWS_EACH; i++) {
                            const f4 w = weights[(mine + 16 * i) * STEP + j];
                            UNROLL for (u32 e = 0; e < 4; e++) found[i] = plus_times(found[i], value[e], w[e]);
                        }
                    }
                }
                barrier();
            }
        }
    }
    UNROLL for (u32 i = 0; i < ROWS_EACH; i++) {
        const u32 row = first + mine + 16 * i;
        if (row >= rows) continue;
        float* to = y + (u64)row_head[mine + 16 * i] * VALUE_SIZE;
        const float sum = row_sum[mine + 16 * i];
        UNROLL for (u32 c = 0; c < CHUNKS; c++) {
            UNROLL for (u32 e = 0; e < 4; e++) {
                const u32 column = c * WIDE + 4 * across + e;
                if (column < VALUE_SIZE) to[column] = sums[c * ROWS_EACH + i][e] / sum;
            }
        }
    }
}
