// What attention_decode.hip begins with: queries, and the new key and value, rotated and packed.

struct Place { u32 head, index, one, other; };

struct Queries {
    static constexpr u32 TURNS = (TO_TURN + THREADS - 1) / THREADS;
    static constexpr u32 COPIES = (VALUE_SIZE + THREADS - 1) / THREADS;
    f2 pairs[TURNS];  // of columns of the queries and of the new key
    float frequencies[TURNS];
    float value[COPIES];

    // The `n`-th pair of this thread: the head HEADS is the key.
    INLINE static Place place_of(u32 n, const Push& push) {
        const u32 i = least(thread() + n * THREADS, TO_TURN - 1), index = i % TURNING;
        const bool apart = index < push.pairs && push.neox == 1;
        return {i / TURNING, index, apart ? index : 2 * index, apart ? index + push.pairs : 2 * index + 1};
    }

    // What does not depend on where the token is.
    INLINE void fetch(
        const float* q, const float* k, const float* v, const float* turns, u32 first, u32 kv,
        const Push& push
    ) {
        UNROLL for (u32 n = 0; n < TURNS; n++) {
            const Place at = place_of(n, push);
            const u32 head = least(first + at.head, kv * push.group + push.group - 1);
            const float* from = at.head == HEADS ? k + kv * SIZE : q + head * SIZE;
            pairs[n] = {{at.one < SIZE ? from[at.one] : 0.0f, at.other < SIZE ? from[at.other] : 0.0f}};
            frequencies[n] = push.pairs > 0 ? turns[least(at.index, push.pairs - 1)] : 0.0f;
        }
        UNROLL for (u32 n = 0; n < COPIES; n++) {
            value[n] = v[kv * VALUE_SIZE + least(thread() + n * THREADS, VALUE_SIZE - 1)];
        }
    }

    // The queries, the new key and the new value to shared memory, turned.
    INLINE void stage(float position, const Push& push) const {
        UNROLL for (u32 n = 0; n < TURNS; n++) {
            const Place at = place_of(n, push);
            f2 made = pairs[n];
            if (at.index < push.pairs) made = rotated(made[0], made[1], turned(position, frequencies[n]), push.magnitude);
            if (at.head < HEADS) {
                float* query = (float*)(queries + at.head * QUADS);
                query[at.one] = made[0];
                query[at.other] = made[1];
            } else {
                if (at.one < SIZE) staged[at.one] = made[0];
                if (at.other < SIZE) staged[at.other] = made[1];
            }
        }
        UNROLL for (u32 n = 0; n < COPIES; n++) {
            const u32 d = thread() + n * THREADS;
            if (d < VALUE_SIZE) staged[SIZE + d] = value[n];
        }
    }
};

// The new key and value as the cache has them; `keep`: and into their rows of it.
INLINE void keep_new(u32* key, u32* value, bool keep) {
    for (u32 i = thread(); i < KEY_WORDS + VALUE_WORDS; i += THREADS) {
        const bool of_key = i < KEY_WORDS;
        const u32 index = of_key ? i : i - KEY_WORDS;
        const u32 word = packed(of_key ? 0 : SIZE, index, of_key ? SIZE : VALUE_SIZE);
        fresh()[i] = word;
        if (keep) (of_key ? key : value)[index] = word;
    }
}
