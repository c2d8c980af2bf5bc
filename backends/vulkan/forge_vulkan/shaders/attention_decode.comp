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
layout(constant_id = 4) const uint GROUP = 1;        // heads that share a kv head
layout(constant_id = 5) const uint HEADS = 1;        // of them, those of one work group
layout(constant_id = 6) const uint TILE = 64;        // keys at a time, a power of two
layout(constant_id = 7) const uint AREA = 4160;      // words for a tile, and for what is merged
layout(constant_id = 8) const uint NEOX = 0;         // 1: pairs are halves, else neighbours
layout(constant_id = 9) const uint SOFTCAP = 0;
layout(constant_id = 10) const uint SINKS = 0;
const uint STAGED = SIZE + VALUE_SIZE;

#include "pack.glsl"

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer Q { float q[]; };
layout(binding = 2) readonly buffer K { float k[]; };
layout(binding = 3) readonly buffer V { float v[]; };
layout(binding = 4) readonly buffer Frequencies { float frequencies[]; };
layout(binding = 5) readonly buffer Sinks { float sinks[]; };
layout(binding = 6) buffer Keys { uint keys[]; };
layout(binding = 7) buffer Values { uint values[]; };
layout(binding = 8) coherent buffer Scratch { uint scratch[]; };  // counters, then what each found
layout(binding = 9) writeonly buffer Out { float y[]; };
layout(push_constant) uniform Push {
    uint kv_heads;
    uint capacity;
    uint window;  // 0: all
    uint pairs;   // that turn; 0: none
    float magnitude;
    float scale;
    float cap;
};

const uint KEY_WORDS = ROW_WORDS(SIZE), VALUE_WORDS = ROW_WORDS(VALUE_SIZE);
const uint STRIDE = KEY_WORDS | 1;  // of a key in shared memory: no two neighbours in one bank
const uint QUADS = (SIZE + 3) / 4;
const uint COLUMNS = (VALUE_SIZE + ELEMENTS - 1) / ELEMENTS;  // words of a value, without scales
const uint PARTS = THREADS / COLUMNS, PER_PART = (TILE + PARTS - 1) / PARTS;
const uint SCORERS = THREADS / TILE, SCORED = (HEADS + SCORERS - 1) / SCORERS;
const uint FOUND = HEADS * (VALUE_SIZE + 2);  // words that a work group leaves to be merged
const float LEAST = -1e30, HIDDEN = -3.4e38;

shared vec4 queries[HEADS * QUADS];
shared uint area[AREA];
shared vec4 scored[HEADS * TILE / 4], weights[HEADS * TILE / 4];
shared float head_kept[HEADS], head_top[HEADS], head_sum[HEADS];
shared uint fresh[VALUE_WORDS];
shared uint arrived;

void stage_queries(uint first, float position) {
    const uint me = gl_LocalInvocationIndex, turning = max(1u, pairs);
    const uint abreast = THREADS / turning, pair = me % turning;
    vec2 turn = vec2(1.0, 0.0);
    if (pairs > 0) turn = turned(position, frequencies[pair]) * magnitude;
    const uint one = NEOX == 1 ? pair : 2 * pair, other = one + (NEOX == 1 ? pairs : 1);
    // The heads of q, and after them the new key.
    const uint heads = pairs > 0 && me / turning < abreast ? HEADS + 1 : 0;
    for (uint h = me / turning; h < heads; h += abreast) {
        if (h == HEADS) {
            const uint from = first / GROUP * SIZE;
            const vec2 made = rotated(vec2(k[from + one], k[from + other]), turn);
            staged[one] = made.x;
            staged[other] = made.y;
        } else if (first % GROUP + h < GROUP) {
            const uint from = (first + h) * SIZE;
            const vec2 made = rotated(vec2(q[from + one], q[from + other]), turn);
            queries[h * QUADS + one / 4][one % 4] = made.x;
            queries[h * QUADS + other / 4][other % 4] = made.y;
        }
    }
    const uint still = 4 * QUADS - 2 * pairs;  // columns that do not turn, and padding
    for (uint i = me; i < still * HEADS; i += THREADS) {
        const uint h = i / still, d = 2 * pairs + i % still;
        const bool there = first % GROUP + h < GROUP && d < SIZE;
        queries[h * QUADS + d / 4][d % 4] = there ? q[(first + h) * SIZE + d] : 0.0;
    }
    const uint kv = first / GROUP;
    for (uint d = 2 * pairs + me; d < SIZE; d += THREADS) staged[d] = k[kv * SIZE + d];
    for (uint d = me; d < VALUE_SIZE; d += THREADS) staged[SIZE + d] = v[kv * VALUE_SIZE + d];
}

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

    const uint blocks = (GROUP + HEADS - 1) / HEADS;
    const uint kv = gl_WorkGroupID.y / blocks, block = gl_WorkGroupID.y % blocks;
    const uint first = kv * GROUP + block * HEADS;
    const uint cached = (slot * kv_heads + kv) * capacity;
    stage_queries(first, float(position));
    barrier();

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
        [[unroll]] for (uint n = 0; n < (TILE * KEY_WORDS + THREADS - 1) / THREADS; n++) {
            const uint i = me + n * THREADS, row = i / KEY_WORDS;
            if (row < count && row != newest) area[row * STRIDE + i % KEY_WORDS] = keys[key_base + i];
        }
        uint words[PER_PART], scales[PER_PART];
        [[unroll]] for (uint n = 0; n < PER_PART; n++) {
            const uint row = part + n * PARTS, base = value_base + row * VALUE_WORDS;
            words[n] = scales[n] = 0;
            if (part < PARTS && row >= skipped && row < count && row != newest) {
                words[n] = values[base + column];
                scales[n] = SCALES(values, base, VALUE_SIZE, column);
            }
        }
        if (newest < count) {
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
            vec4 part_of_key;
#if CACHE_F32
            part_of_key = vec4(uintBitsToFloat(area[key_at + 4 * d]), uintBitsToFloat(area[key_at + 4 * d + 1]),
                uintBitsToFloat(area[key_at + 4 * d + 2]), uintBitsToFloat(area[key_at + 4 * d + 3]));
#elif CACHE_F16
            part_of_key = vec4(unpackHalf2x16(area[key_at + 2 * d]), unpackHalf2x16(area[key_at + 2 * d + 1]));
#else
            part_of_key = unpacked(area[key_at + d], SCALES(area, key_at, SIZE, d), d);
#endif
            [[unroll]] for (uint i = 0; i < SCORED; i++) {
                const uint head = min(scorer + i * SCORERS, HEADS - 1);
                scores[i] += dot(queries[head * QUADS + d], part_of_key);
            }
        }
        const bool seen = key >= skipped && key < count;
        [[unroll]] for (uint i = 0; i < SCORED; i++) {
            const uint head = scorer + i * SCORERS;
            scores[i] *= scale;
            if (SOFTCAP == 1) scores[i] = tanh_(scores[i] / cap) * cap;
            scores[i] = seen ? scores[i] : HIDDEN;
            if (head < HEADS) scored[(head * TILE + key) / 4][key % 4] = scores[i];
        }
        barrier();
        float largest[SCORED];
        [[unroll]] for (uint i = 0; i < SCORED; i++) {
            const uint head = min(scorer + i * SCORERS, HEADS - 1);
            largest[i] = top[i];
            for (uint j = 0; j < TILE / 4; j++) {
                const vec4 w = scored[head * TILE / 4 + j];
                largest[i] = max(largest[i], max(max(w.x, w.y), max(w.z, w.w)));
            }
        }
        [[unroll]] for (uint i = 0; i < SCORED; i++) {
            const uint head = scorer + i * SCORERS;
            if (head < HEADS) {
                weights[(head * TILE + key) / 4][key % 4] = seen ? exp(scores[i] - largest[i]) : 0.0;
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
                words[n] = fresh[column];
                scales[n] = SCALES(fresh, 0, VALUE_SIZE, column);
            }
            const vec4 value = unpacked(words[n], scales[n], column);
            const uint in_tile = min(row, TILE - 1);
            [[unroll]] for (uint h = 0; h < HEADS; h++) {
                const float w = row < TILE ? weights[(h * TILE + in_tile) / 4][in_tile % 4] : 0.0;
                sums[h] += w;
                found[h] += w * value;
            }
        }
    }

    // The parts of a column, one after the other.
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
        if (part >= PARTS) break;
        [[unroll]] for (uint e = 0; e < ELEMENTS; e++) {
            const uint d = column * ELEMENTS + e;
            if (d < VALUE_SIZE) area[(part * HEADS + h) * VALUE_SIZE + d] = floatBitsToUint(found[h][e]);
        }
        if (column == 0) area[PARTS * HEADS * VALUE_SIZE + part * HEADS + h] = floatBitsToUint(sums[h]);
    }
    barrier();
    for (uint h = me; h < HEADS; h += THREADS) {
        float sum = 0.0;
        for (uint p = 0; p < PARTS; p++) {
            sum += uintBitsToFloat(area[PARTS * HEADS * VALUE_SIZE + p * HEADS + h]);
        }
        head_sum[h] = sum;
    }
    barrier();
    const uint all = gl_NumWorkGroups.y, mine = all + (gl_WorkGroupID.y * splits + split) * FOUND;
    for (uint i = me; i < HEADS * VALUE_SIZE; i += THREADS) {
        const uint h = i / VALUE_SIZE;
        float sum = 0.0;
        for (uint p = 0; p < PARTS; p++) sum += uintBitsToFloat(area[p * HEADS * VALUE_SIZE + i]);
        if (sharing > 1) {
            scratch[mine + i] = floatBitsToUint(sum);
        } else if (block * HEADS + h < GROUP) {
            float total = head_sum[h];
            if (SINKS == 1) {
                const float sink = sinks[first + h], most = max(sink, head_top[h]);
                const float kept = exp(head_top[h] - most);
                sum *= kept;
                total = total * kept + exp(sink - most);
            }
            y[first * VALUE_SIZE + i] = sum / total;
        }
    }
    if (sharing == 1) return;
    for (uint h = me; h < HEADS; h += THREADS) {
        scratch[mine + HEADS * VALUE_SIZE + h] = floatBitsToUint(head_sum[h]);
        scratch[mine + HEADS * (VALUE_SIZE + 1) + h] = floatBitsToUint(head_top[h]);
    }
    memoryBarrierBuffer();
    barrier();
    if (me == 0) arrived = atomicAdd(scratch[gl_WorkGroupID.y], 1);
    barrier();
    if (arrived + 1 < sharing) return;

    memoryBarrierBuffer();
    if (me == 0) scratch[gl_WorkGroupID.y] = 0;  // for the next replay
    const uint theirs = all + gl_WorkGroupID.y * splits * FOUND;
    for (uint h = me; h < HEADS; h += THREADS) {
        float most = LEAST, total = 0.0;
        if (SINKS == 1 && block * HEADS + h < GROUP) most = sinks[first + h];
        const float sink = most;
        for (uint s = 0; s < sharing; s++) {
            most = max(most, uintBitsToFloat(scratch[theirs + s * FOUND + HEADS * (VALUE_SIZE + 1) + h]));
        }
        for (uint s = 0; s < sharing; s++) {
            const uint at = theirs + s * FOUND + HEADS * VALUE_SIZE + h;
            const float kept = exp(uintBitsToFloat(scratch[at + HEADS]) - most);
            area[s * HEADS + h] = floatBitsToUint(kept);
            total += uintBitsToFloat(scratch[at]) * kept;
        }
        head_sum[h] = total + (SINKS == 1 ? exp(sink - most) : 0.0);
    }
    barrier();
    for (uint i = me; i < HEADS * VALUE_SIZE; i += THREADS) {
        const uint h = i / VALUE_SIZE;
        if (block * HEADS + h >= GROUP) break;
        float sum = 0.0;
        for (uint s = 0; s < sharing; s++) {
            sum += uintBitsToFloat(scratch[theirs + s * FOUND + i]) * uintBitsToFloat(area[s * HEADS + h]);
        }
        y[first * VALUE_SIZE + i] = sum / head_sum[h];
    }
}
