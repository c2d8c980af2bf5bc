// The tiles of attention_decode.comp: under way from memory in registers, scored, weighed.

LINE held_keys[QUADS_EACH], held_values[ROWS_EACH];
uint key_scales[QUADS_EACH], value_scales[ROWS_EACH];

// Some of the keys' columns of the tile at `at`, of the row of this invocation.
void fetch_keys(uint cached, uint at, uint last) {
    const uint row = cached + min(at + gl_LocalInvocationIndex % TILE, last);
    [[unroll]] for (uint n = 0; n < QUADS_EACH; n++) {
        const uint quad = min(gl_LocalInvocationIndex / TILE * QUADS_EACH + n, QUADS - 1);
        held_keys[n] = key_lines[row * (KEY_WORDS / LINE_WORDS) + quad];
        key_scales[n] = SCALES(keys, row * KEY_WORDS, SIZE, quad);
    }
}

// Some of the values' rows, of the four columns of this invocation.
void fetch_values(uint cached, uint at, uint last) {
    const uint column = gl_LocalInvocationIndex % COLUMNS;
    [[unroll]] for (uint n = 0; n < ROWS_EACH; n++) {
        const uint row = cached + min(at + gl_LocalInvocationIndex / COLUMNS + n * PARTS, last);
        held_values[n] = value_lines[row * (VALUE_WORDS / LINE_WORDS) + column];
        value_scales[n] = SCALES(values, row * VALUE_WORDS, VALUE_SIZE, column);
    }
}

// Each scorer's part of the scores of the tile's keys.
void score(bool newest) {
    const uint key = gl_LocalInvocationIndex % TILE, scorer = gl_LocalInvocationIndex / TILE;
    vec4 parts[FOURS];
    [[unroll]] for (uint i = 0; i < FOURS; i++) parts[i] = vec4(0.0);
    [[unroll]] for (uint n = 0; n < QUADS_EACH; n++) {
        const uint quad = scorer * QUADS_EACH + n;
        if (SCORERS * QUADS_EACH == QUADS || quad < QUADS) {
            if (newest) {
                held_keys[n] = LINE_OF(fresh, 0, quad);
                key_scales[n] = SCALES(fresh, 0, SIZE, quad);
            }
            const vec4 part = four(held_keys[n], key_scales[n], quad);
            [[unroll]] for (uint h = 0; h < HEADS; h++) {
                parts[h / 4][h % 4] += dot(queries[h * QUADS + quad], part);
            }
        }
    }
    [[unroll]] for (uint i = 0; i < FOURS; i++) area[i * THREADS + scorer * TILE + key] = parts[i];
}

// The weights of the tile's keys, of which those from `skipped` to `count` are seen.
void weigh(uint skipped, uint count) {
    for (uint h = TEAM; h < HEADS; h += THREADS / MEMBERS) {
        const uint four_ = h / 4, one = h % 4;
        const float before = head_top[h];
        float top = before, sum = 0.0;
        for (uint key = MEMBER; key < TILE; key += MEMBERS) {
            float found = 0.0;
            [[unroll]] for (uint p = 0; p < SCORERS; p++) {
                found += area[four_ * THREADS + p * TILE + key][one];
            }
            found *= scale;
            if (SOFTCAP == 1) found = tanh_(found / cap) * cap;
            const bool seen = key >= skipped && key < count;
            found = seen ? found : HIDDEN;
            weights[four_ * TILE + key][one] = found;
            top = max(top, found);
        }
        top = largest(top);
        for (uint key = MEMBER; key < TILE; key += MEMBERS) {
            const bool seen = key >= skipped && key < count;
            const float weight = seen ? exp(weights[four_ * TILE + key][one] - top) : 0.0;
            weights[four_ * TILE + key][one] = weight;
            sum += weight;
        }
        sum = added(sum);
        if (MEMBER == 0) {
            const float kept = exp(before - top);
            head_kept[h] = kept;
            head_top[h] = top;
            head_sum[h] = head_sum[h] * kept + sum;
        }
    }
}
