// Attention of one token, its new key and value appended on the way (arXiv 2311.01282: the keys are
// split among work groups). A work group has heads that share a kv head and a share of the keys; the
// last to finish merges what all have found, in their order.
//
// Waiting is what costs: all reads of memory that can be are under way before the first is needed, a
// tile's next keys and values as soon as its own are used.
//! CACHE: f32 f16 q8_0
//! constants: 256 32 128 128 4 32 0 1
//! constants: 256 32 64 64 8 32 0 0
//! constants: 256 32 256 256 2 32 1 0
//! budget: vgpr 192 lds 40960
#include "numbers.h"
#include "rope.h"
#include "cache.h"
#include "quantise.h"

constexpr u32 SIZE = C2, VALUE_SIZE = C3;  // of a key, of a value
constexpr u32 HEADS = C4;                  // of one work group, all of a kv head's, up to 8
constexpr u32 TILE = C5;                   // keys at a time, a power of two up to THREADS
constexpr bool SOFTCAP = C6 == 1;
constexpr bool NEXT = C7 == 1;             // the row goes out as int8 too
constexpr u32 STAGED = SIZE + VALUE_SIZE;

#include "pack.h"

struct Push {
    u32 kv_heads;
    u32 group;  // heads that share a kv head
    u32 capacity;
    u32 window;     // 0: all
    u32 has_sinks;  // 1: there are
    u32 pairs;      // that turn; 0: none
    u32 neox;       // 1: pairs are halves (i, i + pairs), else neighbours
    float magnitude;
    float scale;
    float cap;
    u32 chunk;  // room of the frame's arrays: not worth a read that others wait for
};

constexpr u32 KEY_WORDS = row_words(SIZE), VALUE_WORDS = row_words(VALUE_SIZE);
constexpr u32 QUADS = (SIZE + 3) / 4, COLUMNS = (VALUE_SIZE + 3) / 4;  // four numbers each
constexpr u32 SCORERS = THREADS / TILE, QUADS_EACH = (QUADS + SCORERS - 1) / SCORERS;  // of a key
constexpr u32 ACROSS = THREADS / COLUMNS, PARTS = ACROSS < TILE ? ACROSS : TILE;  // of a tile's values
constexpr u32 ROWS_EACH = (TILE + PARTS - 1) / PARTS;
constexpr u32 FOURS = (HEADS + 3) / 4, ROUND = HEADS < 4 ? HEADS : 4;  // heads four at a time
constexpr u32 FOUND = HEADS * COLUMNS;                                // never more than THREADS
constexpr u32 MERGERS = THREADS / FOUND, AHEAD = 8;
constexpr u32 TURNING = 2 * QUADS, TO_TURN = (HEADS + 1) * TURNING;  // pairs of columns
constexpr u32 MOST_SHARES = 64, WAVES = THREADS / LANES;
constexpr float LEAST = -1e30f, HIDDEN = -3.4e38f;

__shared__ f4 queries[HEADS * QUADS];
__shared__ f4 area[THREADS * ROUND];  // scores in parts; what was found in parts; in shares
__shared__ f4 weights[FOURS * TILE];
__shared__ float head_kept[HEADS], head_top[HEADS], head_sum[HEADS], head_scale[HEADS];
__shared__ float share_kept[MOST_SHARES * HEADS];
__shared__ f4 finished[FOUND];
__shared__ u4 fresh_lines[(KEY_WORDS + VALUE_WORDS + 3) / 4];
__shared__ u32 arrived;

// The new key as the cache has it, and behind it the new value.
INLINE u32* fresh() { return (u32*)fresh_lines; }

#include "decode_queries.h"
#include "decode_tile.h"
#include "decode_shares.h"

// What a work group has found of its heads, from all its parts of the values.
INLINE void gather(const f4 found[4 * FOURS], f4* found_there, bool alone) {
    const u32 me = thread(), column = me % COLUMNS, part = me / COLUMNS;
    UNROLL for (u32 i = 0; i < FOURS; i++) {
        if (i > 0) barrier();
        UNROLL for (u32 j = 0; j < ROUND; j++) {
            if (4 * i + j < HEADS && part < PARTS) area[(part * ROUND + j) * COLUMNS + column] = found[4 * i + j];
        }
        barrier();
        for (u32 e = me; e < ROUND * COLUMNS; e += THREADS) {
            f4 sum = four(0.0f);
            for (u32 p = 0; p < PARTS; p++) sum = sum + area[p * ROUND * COLUMNS + e];
            const u32 h = 4 * i + e / COLUMNS, to = 4 * i * COLUMNS + e;
            if (h < HEADS && !alone) found_there[to] = sum;
            if (h < HEADS && alone) finished[to] = sum * head_scale[h];
        }
    }
}

INLINE void hand_on(u32 first, u32 most_heads, float* y, u4* coded, const Push& push) {
    const u32 me = thread();
    if (me < FOUND && me / COLUMNS < most_heads) {
        const f4 made = finished[me];
        float* to = y + (first + me / COLUMNS) * VALUE_SIZE + me % COLUMNS * 4;
        if (VALUE_SIZE % 4 == 0) {
            *(f4*)to = made;
        } else {
            UNROLL for (u32 e = 0; e < 4; e++) {
                if (me % COLUMNS * 4 + e < VALUE_SIZE) to[e] = made[e];
            }
        }
    }
    if (NEXT && me < FOUND / 4 && me * 16 / VALUE_SIZE < most_heads) {
        f4 line[4];
        UNROLL for (u32 i = 0; i < 4; i++) line[i] = finished[4 * me + i];
        const u32 to = first * VALUE_SIZE / 16 + me;
        u4 codes;
        ((f2*)(coded + push.kv_heads * push.group * VALUE_SIZE / 16))[to] = quantised(line, codes);
        coded[to] = codes;
    }
}

// scratch: a counter for each work group of y, then what each work group found, and how much that
// counts; its first words are 0 at first.
INLINE void run(
    const u32* __restrict__ frame, const float* __restrict__ q, const float* __restrict__ k,
    const float* __restrict__ v, const float* __restrict__ frequencies,
    const float* __restrict__ sinks, u32* keys, u32* values, u32* scratch, float* y, u4* coded,
    const Push push
) {
    const u32 me = thread(), shares = GROUPS_X, split = group_x(), group = push.group;
    const u32 blocks = (group + HEADS - 1) / HEADS;
    const u32 kv = group_y() / blocks, block = group_y() % blocks;
    const u32 first = kv * group + block * HEADS, most_heads = group - block * HEADS;
    const u32 tokens = frame[FRAME_TOKENS];
    const u32 position = frame[FRAME_HEADER + push.chunk], slot = frame[FRAME_HEADER + 2 * push.chunk];
    Queries held;
    held.fetch(q, k, v, frequencies, first, kv, push);  // before the branches wait for what the frame says
    if (tokens == 0) return;
    const u32 oldest = push.window > 0 && position + 1 > push.window ? position + 1 - push.window : 0;
    const u32 begin = oldest / TILE * TILE, length = position + 1 - begin;
    const u32 share = ((length + shares - 1) / shares + TILE - 1) / TILE * TILE;
    const u32 sharing = (length + share - 1) / share;
    if (split >= sharing) return;
    const u64 cached = ((u64)slot * push.kv_heads + kv) * push.capacity;
    u32 *my_keys = keys + cached * KEY_WORDS, *my_values = values + cached * VALUE_WORDS;
    const u32 from = begin + split * share, to = least(from + share, position + 1);
    Tile tile;
    tile.fetch_keys(my_keys, from, to - 1);
    tile.fetch_values(my_values, from, to - 1);
    held.stage((float)position, push);
    if (me < HEADS) {
        head_top[me] = LEAST;
        head_sum[me] = 0.0f;
    }
    barrier();
    if (to == position + 1) {
        keep_new(my_keys + position * KEY_WORDS, my_values + position * VALUE_WORDS, block == 0);
        barrier();
    }

    f4 found[4 * FOURS];
    UNROLL for (u32 h = 0; h < 4 * FOURS; h++) found[h] = four(0.0f);
    for (u32 at = from; at < to; at += TILE) {
        tile.score(at + me % TILE == position);
        if (at + TILE < to) tile.fetch_keys(my_keys, at + TILE, to - 1);
        barrier();
        weigh(oldest > at ? oldest - at : 0, to - at, push);
        barrier();
        tile.add_values(found, at, position, oldest, to);
        if (at + TILE < to) tile.fetch_values(my_values, at + TILE, to - 1);
    }

    // The parts of the values, one after the other.
    const u32 lines = (GROUPS_Y + 3) / 4;
    f4* found_there = (f4*)scratch + lines + group_y() * shares * FOUND;
    f2* sums_there = (f2*)((f4*)scratch + lines + GROUPS_Y * shares * FOUND) + group_y() * shares * HEADS;
    const bool alone = sharing == 1;
    if (me < HEADS) {
        const bool sinking = push.has_sinks == 1 && me < most_heads;
        const float sink = sinking ? sinks[first + me] : LEAST, top = max_(sink, head_top[me]);
        const float kept = exp_(head_top[me] - top);
        head_scale[me] = kept / (head_sum[me] * kept + (sinking ? exp_(sink - top) : 0.0f));
        if (!alone) sums_there[split * HEADS + me] = {{head_sum[me], head_top[me]}};
    }
    gather(found, found_there + split * FOUND, alone);
    if (!alone) {
        device_fence();
        barrier();
        if (me == 0) arrived = add_device(scratch + group_y(), 1);
        barrier();
        if (arrived + 1 < sharing) return;
        device_fence();
        if (me == 0) scratch[group_y()] = 0;  // for the next replay
        merge(found_there, sums_there, sinks, first, most_heads, sharing, push.has_sinks == 1);
    }
    barrier();
    hand_on(first, most_heads, y, coded, push);
}
