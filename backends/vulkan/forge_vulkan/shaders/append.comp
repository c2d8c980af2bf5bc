#version 460
// Keys, rotated on request, and values into the caches; queries rotated into an activation.
// A work group a head of one token: first the heads of q, if any, then of k, then of v.
//! CACHE: f32 f16 q8_0
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "numbers.glsl"
#include "rope.glsl"
#include "cache.glsl"

layout(constant_id = 2) const uint SIZE = 64;        // of a key
layout(constant_id = 3) const uint VALUE_SIZE = 64;  // of a value
const uint STAGED = SIZE + VALUE_SIZE;

#include "pack.glsl"

layout(binding = 0) readonly buffer Frame { uint frame[]; };
layout(binding = 1) readonly buffer Q { float q[]; };
layout(binding = 2) readonly buffer K { float k[]; };
layout(binding = 3) readonly buffer V { float v[]; };
layout(binding = 4) readonly buffer Frequencies { float frequencies[]; };
layout(binding = 5) writeonly buffer Rotated { float rotated_q[]; };
layout(binding = 6) writeonly buffer Keys { uint keys[]; };
layout(binding = 7) writeonly buffer Values { uint values[]; };
layout(push_constant) uniform Push {
    uint heads;  // of q; 0: it is not asked for
    uint kv_heads;
    uint capacity;
    uint pairs;  // that turn; 0: none
    uint neox;   // 1: pairs are halves (i, i + pairs), else neighbours
    float magnitude;
};

void main() {
    const uint token = gl_WorkGroupID.y, job = gl_WorkGroupID.x, me = gl_LocalInvocationIndex;
    if (token >= frame[FRAME_TOKENS]) return;
    const uint chunk = frame[FRAME_CHUNK];
    const uint position = frame[FRAME_HEADER + chunk + token];
    const uint slot = frame[FRAME_HEADER + 2 * chunk + token];
    const bool query = job < heads, value = job >= heads + kv_heads;
    const uint head = query ? job : (job - heads) % kv_heads;
    const uint size = value ? VALUE_SIZE : SIZE;
    const uint from = (token * (query ? heads : kv_heads) + head) * size;
    for (uint i = me; i < size; i += THREADS) {
        staged[i] = query ? q[from + i] : value ? v[from + i] : k[from + i];
    }
    barrier();
    for (uint i = me; i < (value ? 0 : pairs); i += THREADS) {
        const uint one = neox == 1 ? i : 2 * i, other = one + (neox == 1 ? pairs : 1);
        const vec2 turn = turned(float(position), frequencies[i]) * magnitude;
        const vec2 pair = rotated(vec2(staged[one], staged[other]), turn);
        staged[one] = pair.x;
        staged[other] = pair.y;
    }
    barrier();
    if (query) {
        for (uint i = me; i < size; i += THREADS) rotated_q[from + i] = staged[i];
        return;
    }
    const uint words = ROW_WORDS(size);
    const uint to = ((slot * kv_heads + head) * capacity + position) * words;
    for (uint i = me; i < words; i += THREADS) {
        if (value) values[to + i] = packed(0, i, size);
        else keys[to + i] = packed(0, i, size);
    }
}
