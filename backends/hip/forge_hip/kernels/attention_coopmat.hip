// Causal attention of many tokens over caches of 16-bit floats, by matrix instructions with 32-bit
// sums (arXiv 2205.14135, 2307.08691). Rows are the heads that share a kv head, of one token after
// the other; a wave has 16 of them, a work group 16 for each of its waves.
//
// Everything is computed transposed, keys by rows and then values by rows: a lane has one row's scores,
// weights and findings in its registers, which are nearly laid out as the next product takes them
// (matrix.h). Rows of several slots, or a value that is not finite beside a row that does not see it,
// are left to attention.hip: `left` says so.
//! needs: wmma
//! constants: 128 32 128 128 32 0 1
//! constants: 128 32 64 64 32 1 1
//! constants: 128 32 128 128 32 1 1
//! constants: 128 32 96 96 32 1 1
//! constants: 128 32 192 128 32 0 0
//! constants: 128 32 256 256 32 0 0
//! budget: vgpr 256 lds 57344
#include "numbers.h"
#include "matrix.h"

constexpr u32 SIZE = C2, VALUE_SIZE = C3;  // of a key, of a value: multiples of 16
constexpr u32 TILE = C4;                   // keys at a time, a multiple of 32
constexpr bool SOFTCAP = C5 == 1;
constexpr bool EARLY = C6 == 1;            // a tile is on its way while one is worked on

struct Push {
    u32 kv_heads;
    u32 group;  // heads that share a kv head
    u32 capacity;
    i32 window;  // 0: all
    u32 has_sinks;
    float scale;
    float cap;
};

constexpr u32 WAVES = THREADS / LANES, ROWS = 16 * WAVES;
// In 16 bytes: rows of keys, and a step of a line more, against conflicts; columns of values.
constexpr u32 KEY_LINES = SIZE / 8, KEY_STEP = KEY_LINES + 1;
constexpr u32 VALUE_LINES = VALUE_SIZE / 8, COLUMN_STEP = TILE / 8 + 1;
constexpr u32 KEY_ROOM = TILE * KEY_STEP, VALUE_ROOM = VALUE_SIZE * COLUMN_STEP, QUERY_ROOM = ROWS * KEY_STEP;
// Queries stay in registers where there are enough (on RDNA3 they are there twice), else in shared
// memory, where keys and values then have one place in turn.
#if RDNA4
constexpr u32 STAYING = 128;
#else
constexpr u32 STAYING = SOFTCAP ? 96 : 128;
#endif
constexpr bool STAY = SIZE <= STAYING && VALUE_SIZE <= STAYING;
constexpr u32 VALUES_AT = STAY ? KEY_ROOM : QUERY_ROOM, KEYS_AT = STAY ? 0 : QUERY_ROOM;
constexpr u32 TILE_ROOM = STAY ? KEY_ROOM + VALUE_ROOM : KEY_ROOM > VALUE_ROOM ? KEY_ROOM : VALUE_ROOM;
constexpr u32 ROOM = STAY ? (TILE_ROOM > QUERY_ROOM ? TILE_ROOM : QUERY_ROOM) : QUERY_ROOM + TILE_ROOM;
constexpr u32 KEYS_EACH = (TILE * KEY_LINES + THREADS - 1) / THREADS;
constexpr u32 PAIRS = TILE / 2, VALUES_EACH = (PAIRS * VALUE_LINES + THREADS - 1) / THREADS;
constexpr float LEAST = -1e30f, HIDDEN = -3.4e38f;

__shared__ u4 room[ROOM];
__shared__ i32 least_position, most_position, least_slot, most_slot;
__shared__ u32 largest;
__shared__ u32 spoiled;  // 1: a value is not finite

#include "attention_tiles.h"

// Where a row's query begins and what it finds goes, in rows of a head.
INLINE u64 place(u32 row, u32 kv, const Push& push) {
    return (u64)(row / push.group) * push.kv_heads * push.group + kv * push.group + row % push.group;
}

// Bits of the largest finite number of the work group's queries, which order as numbers do.
INLINE u32 largest_query(const f4* q4, u32 first, u32 rows, u32 kv, const Push& push) {
    u32 found = 0;
    for (u32 e = thread(); e < ROWS * SIZE / 4; e += THREADS) {
        const u32 row = least(first + e / (SIZE / 4), rows - 1);
        const f4 four = q4[place(row, kv, push) * (SIZE / 4) + e % (SIZE / 4)];
        UNROLL for (u32 i = 0; i < 4; i++) {
            const u32 bits = as_bits(four[i]) & 0x7fffffffu;
            found = bits < 0x7f800000u ? most(found, bits) : found;
        }
    }
    return found;
}

// The queries as halves, times a factor.
INLINE void put_queries(const f4* q4, u32 first, u32 rows, u32 kv, float factor, const Push& push) {
    for (u32 e = thread(); e < ROWS * KEY_LINES; e += THREADS) {
        const u32 row = least(first + e / KEY_LINES, rows - 1), line = e % KEY_LINES;
        const f4* from = q4 + place(row, kv, push) * (SIZE / 4) + 2 * line;
        const f4 a = from[0] * factor, b = from[1] * factor;
        room[e / KEY_LINES * KEY_STEP + line] = {{as_halves(a[0], a[1]), as_halves(a[2], a[3]),
            as_halves(b[0], b[1]), as_halves(b[2], b[3])}};
    }
}

// 16 columns of all of the tile's keys times those of the queries.
INLINE void score(Sums8 scores[TILE / 16], const Operand& query, u32 d) {
    UNROLL for (u32 k = 0; k < TILE / 16; k++) {
        const u4* key = room + KEYS_AT + 16 * k * KEY_STEP + 2 * d;
        scores[k] = multiplied(operand(key, KEY_STEP), query, scores[k]);
    }
}

INLINE void run(
    const u32* __restrict__ frame, const f4* __restrict__ q4, const u4* __restrict__ keys,
    const u4* __restrict__ values, const float* __restrict__ sinks, float* __restrict__ y,
    u32* __restrict__ left, const Push push
) {
    const u32 me = thread(), group = push.group, window = (u32)push.window;
    const u32 rows = frame[FRAME_TOKENS] * group, chunk = frame[FRAME_CHUNK], kv = group_y();
    // The last rows see most: they begin first.
    const u32 block = GROUPS_X - 1 - group_x(), first = block * ROWS;
    if (first >= rows) return;
    const u32 own = first + wave() * 16 + lane() % 16, row = least(own, rows - 1);
    const i32 position = (i32)frame[FRAME_HEADER + chunk + row / group];
    const i32 own_slot = (i32)frame[FRAME_HEADER + 2 * chunk + row / group];
    if (me == 0) {
        spoiled = largest = 0;
        least_position = least_slot = 0x7fffffff;
        most_position = most_slot = 0;
    }
    barrier();
    if (lane() < 16) {
        min_shared(&least_position, position);
        max_shared(&most_position, position);
        min_shared(&least_slot, own_slot);
        max_shared(&most_slot, own_slot);
    }
    max_shared(&largest, largest_query(q4, first, rows, kv, push));
    barrier();
    // A power of two that brings the largest between 2^7 and 2^8: finite, and far from too small.
    const i32 power = most(-100, least((i32)(largest >> 23) - 134, 120));
    put_queries(q4, first, rows, kv, as_float((u32)(127 - power) << 23), push);
    const float unscaled = as_float((u32)(127 + power) << 23) * push.scale;
    barrier();
    const u4* my_queries = room + wave() * 16 * KEY_STEP;
    Operand queries[STAY ? SIZE / 16 : 1];
    if (STAY) {
        UNROLL for (u32 d = 0; d < SIZE / 16; d++) queries[STAY ? d : 0] = operand(my_queries + 2 * d, KEY_STEP);
    }
    const i32 low = (i32)uniform((u32)least_position), last = (i32)uniform((u32)most_position);
    const i32 slot = (i32)uniform((u32)least_slot);
    u32* told = left + kv * GROUPS_X + block;
    const bool one_slot = slot == (i32)uniform((u32)most_slot);
    if (me == 0) *told = one_slot ? 0 : 1;
    if (!one_slot) return;

    float top = LEAST, sum = 0.0f;
    if (push.has_sinks == 1) {
        top = sinks[kv * group + row % group];
        sum = lane() < 16 ? 1.0f : 0.0f;
    }
    Sums8 found[VALUE_SIZE / 16];
    UNROLL for (u32 d = 0; d < VALUE_SIZE / 16; d++) found[d] = cleared();
    const u64 cached = ((u64)(u32)slot * push.kv_heads + kv) * push.capacity;
    const u4 *my_keys = keys + cached * KEY_LINES, *my_values = values + cached * VALUE_LINES;
    const i32 start = window > 0 ? most(0, low + 1 - (i32)window) / (i32)TILE * (i32)TILE : 0;
    Keys next_keys;
    Values next_values;
    if (EARLY) {
        next_keys.fetch(my_keys, start, last);
        next_values.fetch(my_values, start, last);
    }
    for (i32 at = start; at <= last; at += (i32)TILE) {
        const bool whole = at + (i32)TILE - 1 <= low && (window == 0 || last - at < (i32)window);
        if (!EARLY) {
            next_keys.fetch(my_keys, at, last);
            if (STAY) next_values.fetch(my_values, at, last);
        }
        barrier();
        next_keys.put();
        if (STAY) next_values.put(at, last);
        barrier();
        if (STAY && !whole && uniform(spoiled) == 1) {
            if (me == 0) *told = 1;
            return;
        }
        if (EARLY && STAY) {
            next_keys.fetch(my_keys, at + (i32)TILE, last);
            next_values.fetch(my_values, at + (i32)TILE, last);
        }
        Sums8 scores[TILE / 16];
        UNROLL for (u32 k = 0; k < TILE / 16; k++) scores[k] = cleared();
        if (STAY) {
            UNROLL for (u32 d = 0; d < SIZE / 16; d++) {
                score(scores, queries[STAY ? d : 0], d);
                keep_order();
            }
        } else {
            ONE_BY_ONE for (u32 d = 0; d < SIZE / 16; d++) score(scores, operand(my_queries + 2 * d, KEY_STEP), d);
        }
        if (!STAY) {
            if (!EARLY) next_values.fetch(my_values, at, last);
            barrier();
            next_values.put(at, last);
            barrier();
            if (!whole && uniform(spoiled) == 1) {
                if (me == 0) *told = 1;
                return;
            }
            if (EARLY) {
                next_keys.fetch(my_keys, at + (i32)TILE, last);
                next_values.fetch(my_values, at + (i32)TILE, last);
            }
        }
        const float before = top;
        UNROLL for (u32 k = 0; k < TILE / 16; k++) {
            UNROLL for (u32 i = 0; i < 8; i++) {
                float score = scores[k][i] * unscaled;
                if (SOFTCAP) score = tanh_(score / push.cap) * push.cap;
                const i32 ahead = at + (i32)(16 * k + row_of(i));
                const bool hidden = ahead > position || (window > 0 && position - ahead >= (i32)window);
                score = !whole && hidden ? HIDDEN : score;
                scores[k][i] = score;
                top = max_(top, score);
            }
        }
        top = max_(top, of_other<16>(top));
        const float kept = exp_(before - top);
        sum *= kept;
        Operand weights[TILE / 16];
        UNROLL for (u32 k = 0; k < TILE / 16; k++) {
            UNROLL for (u32 i = 0; i < 8; i++) {
                scores[k][i] = scores[k][i] == HIDDEN ? 0.0f : exp_(scores[k][i] - top);
                sum += scores[k][i];
            }
            weights[k] = as_operand(scores[k]);
        }
        UNROLL for (u32 d = 0; d < VALUE_SIZE / 16; d++) {
            found[d] = found[d] * kept;
            UNROLL for (u32 k = 0; k < TILE / 16; k++) {
                const Operand value = operand(room + VALUES_AT + 16 * d * COLUMN_STEP + 2 * k, COLUMN_STEP);
                found[d] = multiplied(value, weights[k], found[d]);
            }
            keep_order();
        }
    }
    sum += of_other<16>(sum);
    float* to = y + place(row, kv, push) * VALUE_SIZE + 8 * (lane() / 16);
    UNROLL for (u32 d = 0; d < VALUE_SIZE / 16; d++) {
        f4 line[2];
        neighbours(found[d] * (1.0f / sum), line);
        if (own < rows) {
            ((f4*)(to + 16 * d))[0] = line[0];
            ((f4*)(to + 16 * d))[1] = line[1];
        }
    }
}
