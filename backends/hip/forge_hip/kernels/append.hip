// Keys, rotated on request, and values into the caches; queries rotated into an activation.
// A work group a head of one token: first the heads of q, if any, then of k, then of v.
//! CACHE: f32 f16 q8_0
//! constants: 64 1 128 128
//! constants: 64 1 64 64
//! budget: vgpr 64 lds 1024
#include "numbers.h"
#include "rope.h"
#include "cache.h"

constexpr u32 SIZE = C2, VALUE_SIZE = C3;  // of a key, of a value
constexpr u32 STAGED = SIZE + VALUE_SIZE;

#include "pack.h"

struct Push {
    u32 heads;  // of q; 0: it is not asked for
    u32 kv_heads;
    u32 capacity;
    u32 pairs;  // that turn; 0: none
    u32 neox;   // 1: pairs are halves (i, i + pairs), else neighbours
    float magnitude;
};

// `rotated_q` may be q.
INLINE void run(
    const u32* __restrict__ frame, const float* q, const float* __restrict__ k,
    const float* __restrict__ v, const float* __restrict__ frequencies, float* rotated_q,
    u32* keys, u32* values, const Push push
) {
    const u32 token = group_y(), job = group_x(), me = thread(), kv_heads = push.kv_heads;
    if (token >= frame[FRAME_TOKENS]) return;
    const u32 chunk = frame[FRAME_CHUNK];
    const u32 position = frame[FRAME_HEADER + chunk + token], slot = frame[FRAME_HEADER + 2 * chunk + token];
    const bool query = job < push.heads, value = job >= push.heads + kv_heads;
    const u32 head = query ? job : (job - push.heads) % kv_heads, size = value ? VALUE_SIZE : SIZE;
    const u64 from = ((u64)token * (query ? push.heads : kv_heads) + head) * size;
    const float* source = query ? q : value ? v : k;
    for (u32 i = me; i < size; i += THREADS) staged[i] = source[from + i];
    barrier();
    for (u32 i = me; i < (value ? 0 : push.pairs); i += THREADS) {
        const u32 one = push.neox == 1 ? i : 2 * i, other = one + (push.neox == 1 ? push.pairs : 1);
        const f2 turn = turned((float)position, frequencies[i]);
        const f2 made = rotated(staged[one], staged[other], turn, push.magnitude);
        staged[one] = made[0];
        staged[other] = made[1];
    }
    barrier();
    if (query) {
        for (u32 i = me; i < size; i += THREADS) rotated_q[from + i] = staged[i];
        return;
    }
    const u32 words = row_words(size);
    u32* to = (value ? values : keys) + (((u64)slot * kv_heads + head) * push.capacity + position) * words;
    for (u32 i = me; i < words; i += THREADS) to[i] = packed(0, i, size);
}
