// What attention_decode.comp begins with: queries, and the new key and value, rotated and packed.

// The queries, the new key behind them, and the new value.
void stage(uint first, uint kv, float position) {
    vec2 made[(TO_TURN + THREADS - 1) / THREADS];
    [[unroll]] for (uint n = 0; n < made.length(); n++) {
        const uint i = min(gl_LocalInvocationIndex + n * THREADS, TO_TURN - 1);
        const uint h = i / TURNING, pair = i % TURNING;
        const bool turns = pair < pairs;
        const uint one = turns && neox == 1 ? pair : 2 * pair;
        const uint other = turns && neox == 1 ? pair + pairs : 2 * pair + 1;
        const uint from = h == HEADS ? kv * SIZE : min(first + h, kv * group + group - 1) * SIZE;
        vec2 both = vec2(0.0);
        if (one < SIZE) both.x = h == HEADS ? k[from + one] : q[from + one];
        if (other < SIZE) both.y = h == HEADS ? k[from + other] : q[from + other];
        made[n] = both;
    }
    for (uint d = gl_LocalInvocationIndex; d < VALUE_SIZE; d += THREADS) {
        staged[SIZE + d] = v[kv * VALUE_SIZE + d];
    }
    [[unroll]] for (uint n = 0; n < made.length(); n++) {
        const uint i = min(gl_LocalInvocationIndex + n * THREADS, TO_TURN - 1);
        const uint h = i / TURNING, pair = i % TURNING;
        const bool turns = pair < pairs;
        const uint one = turns && neox == 1 ? pair : 2 * pair;
        const uint other = turns && neox == 1 ? pair + pairs : 2 * pair + 1;
        if (turns) made[n] = rotated(made[n], turned(position, frequencies[pair]) * magnitude);
        if (h < HEADS) {
            queries[h * QUADS + one / 4][one % 4] = made[n].x;
            queries[h * QUADS + other / 4][other % 4] = made[n].y;
        } else {
            if (one < SIZE) staged[one] = made[n].x;
            if (other < SIZE) staged[other] = made[n].y;
        }
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
