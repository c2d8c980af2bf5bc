// What attention_decode.comp begins with: queries, and the new key and value, rotated and packed.

vec2 held[(TO_TURN + THREADS - 1) / THREADS];  // pairs of columns of the queries and of the new key
float held_frequencies[held.length()];
float held_value[(VALUE_SIZE + THREADS - 1) / THREADS];

struct Pair { uint head, index, one, other; };

// The `n`-th of this invocation: the head HEADS is the key.
Pair pair_of(uint n) {
    const uint i = min(gl_LocalInvocationIndex + n * THREADS, TO_TURN - 1), index = i % TURNING;
    const bool apart = index < pairs && neox == 1;
    return Pair(i / TURNING, index, apart ? index : 2 * index, apart ? index + pairs : 2 * index + 1);
}

// What does not depend on where the token is.
void fetch_queries(uint first, uint kv) {
    [[unroll]] for (uint n = 0; n < held.length(); n++) {
        const Pair at = pair_of(n);
        const uint query = min(first + at.head, kv * group + group - 1) * SIZE, key = kv * SIZE;
        held[n] = vec2(0.0);
        if (at.one < SIZE) held[n].x = at.head == HEADS ? k[key + at.one + late] : q[query + at.one + late];
        if (at.other < SIZE) held[n].y = at.head == HEADS ? k[key + at.other + late] : q[query + at.other + late];
        held_frequencies[n] = pairs > 0 ? frequencies[min(at.index, pairs - 1)] : 0.0;
    }
    [[unroll]] for (uint n = 0; n < held_value.length(); n++) {
        held_value[n] = v[late + kv * VALUE_SIZE + min(gl_LocalInvocationIndex + n * THREADS, VALUE_SIZE - 1)];
    }
}

// The queries, the new key and the new value to shared memory, turned.
void stage(float position) {
    [[unroll]] for (uint n = 0; n < held.length(); n++) {
        const Pair at = pair_of(n);
        vec2 made = held[n];
        if (at.index < pairs) made = rotated(made, turned(position, held_frequencies[n]) * magnitude);
        if (at.head < HEADS) {
            queries[at.head * QUADS + at.one / 4][at.one % 4] = made.x;
            queries[at.head * QUADS + at.other / 4][at.other % 4] = made.y;
        } else {
            if (at.one < SIZE) staged[at.one] = made.x;
            if (at.other < SIZE) staged[at.other] = made.y;
        }
    }
    [[unroll]] for (uint n = 0; n < held_value.length(); n++) {
        const uint d = gl_LocalInvocationIndex + n * THREADS;
        if (d < VALUE_SIZE) staged[SIZE + d] = held_value[n];
    }
}

// The new key and value as the cache has them; `keep`: and into it.
void pack(uint row, bool keep) {
    for (uint i = gl_LocalInvocationIndex; i < KEY_WORDS + VALUE_WORDS; i += THREADS) {
        const bool of_key = i < KEY_WORDS;
        const uint index = of_key ? i : i - KEY_WORDS;
        const uint word = packed(of_key ? 0 : SIZE, index, of_key ? SIZE : VALUE_SIZE);
        fresh[i] = word;
        if (keep && of_key) keys[row * KEY_WORDS + index] = word;
        if (keep && !of_key) values[row * VALUE_WORDS + index] = word;
    }
}
