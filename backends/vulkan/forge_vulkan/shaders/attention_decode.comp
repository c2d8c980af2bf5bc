#version 460
// Attention of one token, its new key and value appended on the way (arXiv 2311.01282: the keys are
// split among work groups). A work group has heads that share a kv head and a share of the keys; the
// last to finish merges what all have found, in their order.
//! CACHE: f32 f16 q8_0
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "numbers.glsl"
#include "rope.glsl"
#include "cache.glsl"

layout(constant_id = 2) const uint SIZE = 64;        // of a key
layout(constant_id = 3) const uint VALUE_SIZE = 64;  // of a value
layout(constant_id = 4) const uint HEADS = 1;        // of one work group, all of a kv head's
layout(constant_id = 5) const uint TILE = 64;        // keys at a time, a power of two
layout(constant_id = 6) const uint AREA = 4160;      // words for a tile, and for what is merged
layout(constant_id = 7) const uint SOFTCAP = 0;
const uint STAGED = SIZE + VALUE_SIZE;

#include "pack.glsl"

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer Q { float q[]; };
layout(binding = 2) readonly buffer K { float k[]; };
layout(binding = 3) readonly buffer V { float v[]; };
layout(binding = 4) readonly buffer Frequencies { float frequencies[]; };
layout(binding = 5) readonly buffer Sinks { float sinks[]; };
layout(binding = 6) buffer Keys { uint keys[]; };
layout(binding = 6) readonly buffer Keys4 { uvec4 keys4[]; };  // the same, for fewer and wider reads
layout(binding = 7) buffer Values { uint values[]; };
layout(binding = 7) readonly buffer Values2 { uvec2 values2[]; };
layout(binding = 7) readonly buffer Values4 { uvec4 values4[]; };
layout(binding = 8) coherent buffer Scratch { uint scratch[]; };  // counters, then what each found
layout(binding = 9) writeonly buffer Out { float y[]; };
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
};

const uint KEY_WORDS = ROW_WORDS(SIZE), VALUE_WORDS = ROW_WORDS(VALUE_SIZE);
const uint STRIDE = KEY_WORDS | 1;  // of a key in shared memory: no two neighbours in one bank
const uint QUADS = (SIZE + 3) / 4;
const uint COLUMNS = (VALUE_SIZE + 3) / 4;  // of a value: four elements, 4 / ELEMENTS words each
const uint PARTS = THREADS / COLUMNS, PER_PART = (TILE + PARTS - 1) / PARTS;
const uint SCORERS = THREADS / TILE, SCORED = (HEADS + SCORERS - 1) / SCORERS;
const uint FOUND = HEADS * (VALUE_SIZE + 2);  // words that a work group leaves to be merged
const float LEAST = -1e30, HIDDEN = -3.4e38;

shared float queries[HEADS * QUADS * 4];
shared uint area[AREA];
shared float scored[HEADS * TILE], weights[HEADS * TILE];
shared float head_kept[HEADS], head_top[HEADS], head_sum[HEADS];
shared uint fresh[VALUE_WORDS];
shared uint arrived;

// Four elements of a value, as they lie in the cache.
#if CACHE_F32
#define VALUE_QUAD uvec4
#define VALUE_AT(base, quad) values4[(base) / 4 + (quad)]
#define FRESH(quad) uvec4(fresh[4 * (quad)], fresh[4 * (quad) + 1], fresh[4 * (quad) + 2], fresh[4 * (quad) + 3])
#define UNPACKED(words, scales, quad) uintBitsToFloat(words)
#elif CACHE_F16
#define VALUE_QUAD uvec2
#define VALUE_AT(base, quad) values2[(base) / 2 + (quad)]
#define FRESH(quad) uvec2(fresh[2 * (quad)], fresh[2 * (quad) + 1])
#define UNPACKED(words, scales, quad) vec4(unpackHalf2x16((words).x), unpackHalf2x16((words).y))
#else
#define VALUE_QUAD uint
#define VALUE_AT(base, quad) values[(base) + (quad)]
#define FRESH(quad) fresh[quad]
#define UNPACKED(words, scales, quad) unpacked(words, scales, quad)
#endif

#define FOUR(array, at) vec4(array[at], array[(at) + 1], array[(at) + 2], array[(at) + 3])

#include "decode_queries.glsl"
#include "decode_shares.glsl"

void main() {
    if (frame[FRAME_TOKENS] == 0) return;
    const uint me = gl_LocalInvocationIndex, splits = gl_NumWorkGroups.x, split = gl_WorkGroupID.x;
    const uint chunk = frame[FRAME_CHUNK];
    const uint position = frame[FRAME_HEADER + chunk], slot = frame[FRAME_HEADER + 2 * chunk];
    const uint oldest = window > 0 && position + 1 > window ? position + 1 - window : 0;
    const uint begin = oldest / TILE * TILE, length = position + 1 - begin;
    const uint share = ((length + splits - 1) / splits + TILE - 1) / TILE * TILE;
    const uint sharing = (length + share - 1) / share;
    if (split >= sharing) return;

    const uint blocks = (group + HEADS - 1) / HEADS;
    const uint kv = gl_WorkGroupID.y / blocks, block = gl_WorkGroupID.y % blocks;
    const uint first = kv * group + block * HEADS;
    const uint cached = (slot * kv_heads + kv) * capacity;
    stage_queries(first, float(position));  // a barrier follows before each use

    float top[SCORED], sums[HEADS];
    vec4 found[HEADS];
    [[unroll]] for (uint i = 0; i < SCORED; i++) top[i] = LEAST;
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
        sums[h] = 0.0;
        found[h] = vec4(0.0);
    }
    const uint key = me % TILE, scorer = me / TILE, column = me % COLUMNS, part = me / COLUMNS;
    const uint from = begin + split * share, to = min(from + share, position + 1);
    for (uint at = from; at < to; at += TILE) {
        const uint count = min(TILE, to - at), skipped = oldest > at ? oldest - at : 0;
        const uint newest = position - at;  // the new key's row; none of this tile where it is TILE or more
        // The tile's keys go through shared memory, the values into registers: one wait for both.
        const uint key_base = (cached + at) * KEY_WORDS, value_base = (cached + at) * VALUE_WORDS;
        const uint wide = KEY_WORDS % 4 == 0 ? 4 : 1, most = count * KEY_WORDS / wide - 1;
        [[unroll]] for (uint n = 0; n < (TILE * KEY_WORDS / wide + THREADS - 1) / THREADS; n++) {
            const uint i = min(me + n * THREADS, most), row = i * wide / KEY_WORDS;
            const uint place = row * STRIDE + i * wide % KEY_WORDS;
            if (wide == 4) {
                const uvec4 four = keys4[key_base / 4 + i];
                [[unroll]] for (uint e = 0; e < 4; e++) area[place + e] = four[e];
            } else {
                area[place] = keys[key_base + i];
            }
        }
        VALUE_QUAD words[PER_PART];
        uint scales[PER_PART];
        [[unroll]] for (uint n = 0; n < PER_PART; n++) {
            const uint row = part + n * PARTS, base = value_base + min(row, count - 1) * VALUE_WORDS;
            const bool old = row >= skipped, there = row < count, known = row != newest;
            const bool before = old && there, wanted = before && known;
            const VALUE_QUAD quad = VALUE_AT(base, column);
            const uint scale_word = SCALES(values, base, VALUE_SIZE, column);
            words[n] = wanted ? quad : VALUE_QUAD(0);
            scales[n] = wanted ? scale_word : 0;
        }
        if (newest < count) {
            barrier();  // what the cache had in its place is overwritten
            const uint to_key = (cached + position) * KEY_WORDS;
            for (uint i = me; i < KEY_WORDS; i += THREADS) {
                const uint word = packed(0, i, SIZE);
                area[newest * STRIDE + i] = word;
                if (block == 0) keys[to_key + i] = word;
            }
            const uint to_value = (cached + position) * VALUE_WORDS;
            for (uint i = me; i < VALUE_WORDS; i += THREADS) {
                fresh[i] = packed(SIZE, i, VALUE_SIZE);
                if (block == 0) values[to_value + i] = fresh[i];
            }
        }
        barrier();
        float scores[SCORED];
        [[unroll]] for (uint i = 0; i < SCORED; i++) scores[i] = 0.0;
        const uint key_at = key * STRIDE;
        for (uint d = 0; d < QUADS; d++) {
            const vec4 part_of_key = QUAD(area, key_at, SIZE, d);
            [[unroll]] for (uint i = 0; i < SCORED; i++) {
                const uint head = min(scorer + i * SCORERS, HEADS - 1);
                scores[i] += dot(FOUR(queries, (head * QUADS + d) * 4), part_of_key);
            }
        }
        const bool seen = key >= skipped && key < count;
        [[unroll]] for (uint i = 0; i < SCORED; i++) {
            const uint head = scorer + i * SCORERS;
            scores[i] *= scale;
            if (SOFTCAP == 1) scores[i] = tanh_(scores[i] / cap) * cap;
            scores[i] = seen ? scores[i] : HIDDEN;
            if (head < HEADS) scored[head * TILE + key] = scores[i];
        }
        barrier();
        float largest[SCORED];
        [[unroll]] for (uint i = 0; i < SCORED; i++) {
            const uint head = min(scorer + i * SCORERS, HEADS - 1);
            largest[i] = top[i];
            for (uint j = 0; j < TILE; j += 4) {
                const vec4 w = FOUR(scored, head * TILE + j);
                largest[i] = max(largest[i], max(max(w.x, w.y), max(w.z, w.w)));
            }
        }
        [[unroll]] for (uint i = 0; i < SCORED; i++) {
            const uint head = scorer + i * SCORERS;
            if (head < HEADS) {
                weights[head * TILE + key] = seen ? exp(scores[i] - largest[i]) : 0.0;
                if (key == 0) {
                    head_kept[head] = exp(top[i] - largest[i]);
                    head_top[head] = largest[i];
                }
            }
            top[i] = largest[i];
        }
        barrier();
        [[unroll]] for (uint h = 0; h < HEADS; h++) {
            sums[h] *= head_kept[h];
            found[h] *= head_kept[h];
        }
        [[unroll]] for (uint n = 0; n < PER_PART; n++) {
            const uint row = part + n * PARTS;
            if (row == newest && newest < count) {
                words[n] = FRESH(column);
                scales[n] = SCALES(fresh, 0, VALUE_SIZE, column);
            }
            const vec4 value = UNPACKED(words[n], scales[n], column);
            const uint in_tile = min(row, TILE - 1);
            [[unroll]] for (uint h = 0; h < HEADS; h++) {
                const float w = row < TILE ? weights[h * TILE + in_tile] : 0.0;
                sums[h] += w;
                found[h] += w * value;
            }
        }
    }
    finish(sums, found, first, block, sharing);
}
