// The tiles of attention_decode.hip: under way from memory in registers, scored, weighed.

struct Tile {
    Line keys[QUADS_EACH], values[ROWS_EACH];
    u32 key_scales[QUADS_EACH], value_scales[ROWS_EACH];

    // Some of the keys' columns of the tile at `at`, of the row of this thread.
    INLINE void fetch_keys(const u32* cached, u32 at, u32 last) {
        const u32* row = cached + (u64)least(at + thread() % TILE, last) * KEY_WORDS;
        const u32 first = thread() / TILE * QUADS_EACH;
        UNROLL for (u32 n = 0; n < QUADS_EACH; n++) {
            const u32 quad = SCORERS * QUADS_EACH == QUADS ? first + n : least(first + n, QUADS - 1);
            keys[n] = line_of(row, quad);
            key_scales[n] = scales_of(row, SIZE, quad);
        }
    }

    // Some of the values' rows, of the four columns of this thread.
    INLINE void fetch_values(const u32* cached, u32 at, u32 last) {
        const u32 column = thread() % COLUMNS;
        UNROLL for (u32 n = 0; n < ROWS_EACH; n++) {
            const u32* row = cached + (u64)least(at + thread() / COLUMNS + n * PARTS, last) * VALUE_WORDS;
            values[n] = line_of(row, column);
            value_scales[n] = scales_of(row, VALUE_SIZE, column);
        }
    }

    // Each scorer's part of the scores of the tile's keys.
    INLINE void score(bool newest) {
        const u32 key = thread() % TILE, scorer = thread() / TILE;
        f4 parts[FOURS];
        UNROLL for (u32 i = 0; i < FOURS; i++) parts[i] = four(0.0f);
        UNROLL for (u32 n = 0; n < QUADS_EACH; n++) {
            const u32 quad = scorer * QUADS_EACH + n;
            if (SCORERS * QUADS_EACH == QUADS || quad < QUADS) {
                if (newest) {
                    keys[n] = line_of(fresh(), quad);
                    key_scales[n] = scales_of(fresh(), SIZE, quad);
                }
                const f4 part = four_of(keys[n], key_scales[n], quad);
                UNROLL for (u32 h = 0; h < HEADS; h++) parts[h / 4][h % 4] += dot(queries[h * QUADS + quad], part);
            }
        }
        UNROLL for (u32 i = 0; i < FOURS; i++) area[i * THREADS + scorer * TILE + key] = parts[i];
    }

    // The tile's values, weighed, to what this thread has found of each head.
    INLINE void add_values(f4 found[4 * FOURS], u32 at, u32 position, u32 oldest, u32 to) {
        const u32 column = thread() % COLUMNS, part = thread() / COLUMNS;
        UNROLL for (u32 h = 0; h < HEADS; h++) found[h] = found[h] * head_kept[h];
        UNROLL for (u32 n = 0; n < ROWS_EACH; n++) {
            const u32 row = part + n * PARTS;
            if (at + row == position) {
                values[n] = line_of(fresh() + KEY_WORDS, column);
                value_scales[n] = scales_of(fresh() + KEY_WORDS, VALUE_SIZE, column);
            }
            // What is not seen may be no number, and times 0 it would still be none.
            if (row < TILE && at + row >= oldest && at + row < to) {
                const f4 value = four_of(values[n], value_scales[n], column);
                UNROLL for (u32 i = 0; i < FOURS; i++) {
                    const f4 weight = weights[i * TILE + row];
                    UNROLL for (u32 j = 0; j < 4; j++) {
                        if (4 * i + j < HEADS) found[4 * i + j] = found[4 * i + j] + value * weight[j];
                    }
                }
            }
        }
    }
};

// The weights of the tile's keys, of which those from `skipped` to `count` are seen.
INLINE void weigh(u32 skipped, u32 count, const Push& push) {
    for (u32 h = wave(); h < HEADS; h += WAVES) {
        const float* scores = (const float*)(area + h / 4 * THREADS) + h % 4;
        float* mine = (float*)(weights + h / 4 * TILE) + h % 4;
        const float before = head_top[h];
        float top = before, sum = 0.0f;
        for (u32 key = lane(); key < TILE; key += LANES) {
            float found = 0.0f;
            UNROLL for (u32 p = 0; p < SCORERS; p++) found += scores[4 * (p * TILE + key)];
            found *= push.scale;
            if (SOFTCAP) found = tanh_(found / push.cap) * push.cap;
            const bool seen = key >= skipped && key < count;
            found = seen ? found : HIDDEN;
            mine[4 * key] = found;
            top = max_(top, found);
        }
        top = wave_max(top);
        for (u32 key = lane(); key < TILE; key += LANES) {
            const bool seen = key >= skipped && key < count;
            const float weight = seen ? exp_(mine[4 * key] - top) : 0.0f;
            mine[4 * key] = weight;
            sum += weight;
        }
        sum = wave_sum(sum);
        wave_barrier();  // every lane has read the head's top before it changes
        if (lane() == 0) {
            const float kept = exp_(before - top);
            head_kept[h] = kept;
            head_top[h] = top;
            head_sum[h] = head_sum[h] * kept + sum;
        }
    }
}
