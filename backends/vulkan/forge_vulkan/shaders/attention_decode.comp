#version 460
// Attention of one token, its new key and value appended on the way (arXiv 2311.01282: the keys are
// split among work groups). A work group has heads that share a kv head and a share of the keys; the
// last to finish merges what all have found, in their order.
//
// Waiting is what costs: all reads of memory that can be are under way before the first is needed, a
// tile's next keys and values as soon as its own are used.
//! CACHE: f32 f16 q8_0
//! SUBGROUPS: 0 1
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "numbers.glsl"
#include "rope.glsl"
#include "cache.glsl"
#include "quads.glsl"

layout(constant_id = 2) const uint SIZE = 64;        // of a key
layout(constant_id = 3) const uint VALUE_SIZE = 64;  // of a value
layout(constant_id = 4) const uint HEADS = 1;        // of one work group, all of a kv head's, up to 8
layout(constant_id = 5) const uint TILE = 32;        // keys at a time, a power of two up to THREADS
layout(constant_id = 6) const uint SOFTCAP = 0;
layout(constant_id = 7) const uint NEXT = 0;         // 1: the row goes out as int8 too
#define FLOW_ID 8
#define FLOW_BINDING 11
#include "awaited.glsl"
const uint STAGED = SIZE + VALUE_SIZE;

#include "pack.glsl"
#include "quantise.glsl"

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer Q { float q[]; };
layout(binding = 2) readonly buffer K { float k[]; };
layout(binding = 3) readonly buffer V { float v[]; };
layout(binding = 4) readonly buffer Frequencies { float frequencies[]; };
layout(binding = 5) readonly buffer Sinks { float sinks[]; };
layout(binding = 6) buffer Keys { uint keys[]; };
layout(binding = 6) readonly buffer KeyLines { LINE key_lines[]; };
layout(binding = 7) buffer Values { uint values[]; };
layout(binding = 7) readonly buffer ValueLines { LINE value_lines[]; };
// Counters, what each work group found of its heads, and how much that counts.
layout(binding = 8) coherent buffer Scratch { uint arrivals[]; };
layout(binding = 8) coherent buffer Scratch4 { vec4 found_there[]; };
layout(binding = 8) coherent buffer Scratch2 { vec2 sums_there[]; };
layout(binding = 9) writeonly buffer Out { float y[]; };
layout(binding = 9) writeonly buffer Out4 { vec4 y4[]; };
layout(binding = 10) writeonly buffer Coded4 { uvec4 coded4[]; };
layout(binding = 10) writeonly buffer Coded2 { vec2 coded2[]; };
layout(push_constant) uniform Push {
    uint kv_heads;
    uint group;  // heads that share a kv head
    uint capacity;
    uint window;     // 0: all
    uint has_sinks;  // 1: there are
    uint pairs;      // that turn; 0: none
    uint neox;       // 1: pairs are halves (i, i + pairs), else neighbours
    float magnitude;
    float scale;
    float cap;
    uint chunk;  // room of the frame's arrays: not worth a read that others wait for
    Awaited awaited;
};
#include "flow.glsl"

const uint KEY_WORDS = ROW_WORDS(SIZE), VALUE_WORDS = ROW_WORDS(VALUE_SIZE);
const uint QUADS = (SIZE + 3) / 4, COLUMNS = (VALUE_SIZE + 3) / 4;  // four numbers each
const uint SCORERS = THREADS / TILE, QUADS_EACH = (QUADS + SCORERS - 1) / SCORERS;  // of a key
const uint ACROSS = THREADS / COLUMNS, PARTS = ACROSS < TILE ? ACROSS : TILE;  // of a tile's values
const uint ROWS_EACH = (TILE + PARTS - 1) / PARTS;
const uint FOURS = (HEADS + 3) / 4, ROUND = HEADS < 4 ? HEADS : 4;  // heads four at a time
const uint FOUND = HEADS * COLUMNS;                                // never more than THREADS
const uint MERGERS = THREADS / FOUND, AHEAD = 8;
const uint TURNING = 2 * QUADS, TO_TURN = (HEADS + 1) * TURNING;  // pairs of columns
const uint MOST_SHARES = 64;
const float LEAST = -1e30, HIDDEN = -3.4e38;

shared vec4 queries[HEADS * QUADS];
shared vec4 area[THREADS * ROUND];  // scores in parts; what was found in parts; in shares
shared vec4 weights[FOURS * TILE];
shared float head_kept[HEADS], head_top[HEADS], head_sum[HEADS], head_scale[HEADS];
shared float share_kept[MOST_SHARES * HEADS];
shared vec4 finished[FOUND];
shared uint fresh[KEY_WORDS + VALUE_WORDS];
shared uint arrived;
uint late = 0;  // see flow.glsl

#if SUBGROUPS
#define TEAM gl_SubgroupID
#define MEMBER gl_SubgroupInvocationID
const uint MEMBERS = LANES;
float largest(float x) { return subgroupMax(x); }
float added(float x) { return subgroupAdd(x); }
#else
#define TEAM gl_LocalInvocationIndex
#define MEMBER 0
const uint MEMBERS = 1;
float largest(float x) { return x; }
float added(float x) { return x; }
#endif

#include "decode_queries.glsl"
#include "decode_tile.glsl"
#include "decode_shares.glsl"

void attend() {
    const uint me = gl_LocalInvocationIndex, shares = gl_NumWorkGroups.x, split = gl_WorkGroupID.x;
    const uint blocks = (group + HEADS - 1) / HEADS;
    const uint kv = gl_WorkGroupID.y / blocks, block = gl_WorkGroupID.y % blocks;
    const uint first = kv * group + block * HEADS, most_heads = group - block * HEADS;
    const uint tokens = frame[FRAME_TOKENS];
    const uint position = frame[FRAME_HEADER + chunk], slot = frame[FRAME_HEADER + 2 * chunk];
    if (WAITS == 0) fetch_queries(first, kv);  // before the branches wait for what the frame says
    if (tokens == 0) return;
    const uint oldest = window > 0 && position + 1 > window ? position + 1 - window : 0;
    const uint begin = oldest / TILE * TILE, length = position + 1 - begin;
    const uint share = ((length + shares - 1) / shares + TILE - 1) / TILE * TILE;
    const uint sharing = (length + share - 1) / share;
    if (split >= sharing) return;
    const uint cached = (slot * kv_heads + kv) * capacity;
    const uint from = begin + split * share, to = min(from + share, position + 1);
    fetch_keys(cached, from, to - 1);
    fetch_values(cached, from, to - 1);
    if (WAITS == 1) {
        late = lateness(awaited);
        fetch_queries(first, kv);
        if (late > 0) held[0] = vec2(uintBitsToFloat(0x7fc00000u));
    }
    stage(float(position));
    if (me < HEADS) {
        head_top[me] = LEAST;
        head_sum[me] = 0.0;
    }
    barrier();
    if (to == position + 1) {
        pack(cached + position, block == 0);
        barrier();
    }

    const uint column = me % COLUMNS, part = me / COLUMNS;
    vec4 found[4 * FOURS];
    [[unroll]] for (uint h = 0; h < 4 * FOURS; h++) found[h] = vec4(0.0);
    for (uint at = from; at < to; at += TILE) {
        score(at + me % TILE == position);
        if (at + TILE < to) fetch_keys(cached, at + TILE, to - 1);
        barrier();
        weigh(oldest > at ? oldest - at : 0, to - at);
        barrier();
        [[unroll]] for (uint h = 0; h < HEADS; h++) found[h] *= head_kept[h];
        [[unroll]] for (uint n = 0; n < ROWS_EACH; n++) {
            const uint row = part + n * PARTS;
            if (at + row == position) {
                held_values[n] = LINE_OF(fresh, KEY_WORDS, column);
                value_scales[n] = SCALES(fresh, KEY_WORDS, VALUE_SIZE, column);
            }
            // What is not seen may be no number, and times 0 it would still be none.
            if (row < TILE && at + row >= oldest && at + row < to) {
                const vec4 value = four(held_values[n], value_scales[n], column);
                [[unroll]] for (uint i = 0; i < FOURS; i++) {
                    const vec4 weight = weights[i * TILE + row];
                    [[unroll]] for (uint j = 0; j < 4; j++) {
                        if (4 * i + j < HEADS) found[4 * i + j] += weight[j] * value;
                    }
                }
            }
        }
        if (at + TILE < to) fetch_values(cached, at + TILE, to - 1);
    }

    // The parts of the values, one after the other.
    const uint of_shares = (gl_NumWorkGroups.y + 3) / 4 + gl_WorkGroupID.y * shares * FOUND;
    const uint all = (gl_NumWorkGroups.y + 3) / 4 + gl_NumWorkGroups.y * shares * FOUND;
    const uint sums_at = 2 * all + gl_WorkGroupID.y * shares * HEADS;
    if (me < HEADS) {
        const bool sinking = has_sinks == 1 && me < most_heads;
        const float sink = sinking ? sinks[first + me] : LEAST, top = max(sink, head_top[me]);
        const float kept = exp(head_top[me] - top);
        head_scale[me] = kept / (head_sum[me] * kept + (sinking ? exp(sink - top) : 0.0));
        if (sharing > 1) sums_there[sums_at + split * HEADS + me] = vec2(head_sum[me], head_top[me]);
    }
    [[unroll]] for (uint i = 0; i < FOURS; i++) {
        if (i > 0) barrier();
        [[unroll]] for (uint j = 0; j < ROUND; j++) {
            if (4 * i + j < HEADS && part < PARTS) area[(part * ROUND + j) * COLUMNS + column] = found[4 * i + j];
        }
        barrier();
        for (uint e = me; e < ROUND * COLUMNS; e += THREADS) {
            vec4 sum = vec4(0.0);
            for (uint p = 0; p < PARTS; p++) sum += area[p * ROUND * COLUMNS + e];
            const uint h = 4 * i + e / COLUMNS, to_there = 4 * i * COLUMNS + e;
            if (h < HEADS && sharing > 1) found_there[of_shares + split * FOUND + to_there] = sum;
            if (h < HEADS && sharing == 1) finished[to_there] = sum * head_scale[h];
        }
    }
    if (sharing > 1) {
        memoryBarrierBuffer();
        barrier();
        if (me == 0) arrived = atomicAdd(arrivals[gl_WorkGroupID.y], 1);
        barrier();
        if (arrived + 1 < sharing) return;
        memoryBarrierBuffer();
        if (me == 0) arrivals[gl_WorkGroupID.y] = 0;  // for the next replay
        merge(of_shares, sums_at, first, most_heads, sharing);
    }
    barrier();
    if (me < FOUND && me / COLUMNS < most_heads) {
        const vec4 made = finished[me];
        const uint row = (first + me / COLUMNS) * VALUE_SIZE, d = me % COLUMNS * 4;
        if (VALUE_SIZE % 4 == 0) {
            y4[(row + d) / 4] = made;
        } else {
            [[unroll]] for (uint e = 0; e < 4; e++) {
                if (d + e < VALUE_SIZE) y[row + d + e] = made[e];
            }
        }
    }
    if (NEXT == 1 && me < FOUND / 4 && me * 16 / VALUE_SIZE < most_heads) {
        const vec4 line[4] = vec4[4](
            finished[4 * me], finished[4 * me + 1], finished[4 * me + 2], finished[4 * me + 3]
        );
        const uint to_line = first * VALUE_SIZE / 16 + me;
        uvec4 codes;
        coded2[2 * (kv_heads * group * VALUE_SIZE / 16) + to_line] = quantised(line, codes);
        coded4[to_line] = codes;
    }
}

void main() {
    attend();
    say_finished(awaited);
}
