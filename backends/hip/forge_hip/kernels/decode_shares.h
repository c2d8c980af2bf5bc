// Merging what work groups of attention_decode.hip have found of their shares of the keys.

// How much each share of the keys counts, and all of them with the sinks.
INLINE void weigh_shares(
    const f2* sums_there, const float* sinks, u32 first, u32 most_heads, u32 sharing,
    bool has_sinks
) {
    for (u32 h = wave(); h < HEADS; h += WAVES) {
        const bool sinking = has_sinks && h < most_heads;
        const float sink = sinking ? sinks[first + h] : LEAST;
        float top = sink, sum = 0.0f;
        for (u32 s = lane(); s < sharing; s += LANES) top = max_(top, sums_there[s * HEADS + h][1]);
        top = wave_max(top);
        for (u32 s = lane(); s < sharing; s += LANES) {
            const f2 theirs = sums_there[s * HEADS + h];
            const float kept = exp_(theirs[1] - top);
            share_kept[s * HEADS + h] = kept;
            sum += theirs[0] * kept;
        }
        sum = wave_sum(sum);
        if (lane() == 0) head_scale[h] = 1.0f / (sum + (sinking ? exp_(sink - top) : 0.0f));
    }
}

// What all shares have found of a head's four columns, weighed, to `finished`.
INLINE void merge(
    const f4* found_there, const f2* sums_there, const float* sinks, u32 first, u32 most_heads,
    u32 sharing, bool has_sinks
) {
    const u32 me = thread(), merger = me / FOUND, mine = me % FOUND;
    f4 sum = four(0.0f);
    for (u32 s = 0; s < sharing; s += AHEAD * MERGERS) {
        f4 next[AHEAD];
        UNROLL for (u32 j = 0; j < AHEAD; j++) {
            const u32 theirs = least(s + j * MERGERS + merger, sharing - 1);
            next[j] = found_there[theirs * FOUND + mine];
        }
        if (s == 0) {
            weigh_shares(sums_there, sinks, first, most_heads, sharing, has_sinks);
            barrier();
        }
        UNROLL for (u32 j = 0; j < AHEAD; j++) {
            const u32 theirs = s + j * MERGERS + merger;
            if (theirs < sharing) sum = sum + next[j] * share_kept[theirs * HEADS + mine / COLUMNS];
        }
    }
    if (merger < MERGERS) area[me] = sum;
    barrier();
    if (me < FOUND) {
        sum = area[me];
        UNROLL for (u32 m = 1; m < MERGERS; m++) sum = sum + area[m * FOUND + me];
        finished[me] = sum * head_scale[me / COLUMNS];
    }
}
