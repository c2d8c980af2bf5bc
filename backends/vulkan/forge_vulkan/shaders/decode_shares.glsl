// Merging what work groups of attention_decode.comp have found of their shares of the keys.

// How much each share of the keys counts, and all of them with the sinks.
void weigh_shares(uint sums_at, uint first, uint most_heads, uint sharing) {
    for (uint h = TEAM; h < HEADS; h += THREADS / MEMBERS) {
        const bool sinking = has_sinks == 1 && h < most_heads;
        const float sink = sinking ? sinks[first + h] : LEAST;
        float top = sink, sum = 0.0;
        for (uint s = MEMBER; s < sharing; s += MEMBERS) {
            top = max(top, sums_there[sums_at + s * HEADS + h].y);
        }
        top = largest(top);
        for (uint s = MEMBER; s < sharing; s += MEMBERS) {
            const vec2 theirs = sums_there[sums_at + s * HEADS + h];
            const float kept = exp(theirs.y - top);
            share_kept[s * HEADS + h] = kept;
            sum += theirs.x * kept;
        }
        sum = added(sum);
        if (MEMBER == 0) head_scale[h] = 1.0 / (sum + (sinking ? exp(sink - top) : 0.0));
    }
}

// What all shares have found of a head's four columns, weighed, to `finished`.
void merge(uint of_shares, uint sums_at, uint first, uint most_heads, uint sharing) {
    const uint me = gl_LocalInvocationIndex;
    const uint merger = me / FOUND, mine = me % FOUND;
    vec4 sum = vec4(0.0);
    for (uint s = 0; s < sharing; s += AHEAD * MERGERS) {
        vec4 next[AHEAD];
        [[unroll]] for (uint j = 0; j < AHEAD; j++) {
            const uint theirs = min(s + j * MERGERS + merger, sharing - 1);
            next[j] = found_there[of_shares + theirs * FOUND + mine];
        }
        if (s == 0) {
            weigh_shares(sums_at, first, most_heads, sharing);
            barrier();
        }
        [[unroll]] for (uint j = 0; j < AHEAD; j++) {
            const uint theirs = s + j * MERGERS + merger;
            if (theirs < sharing) sum += next[j] * share_kept[theirs * HEADS + mine / COLUMNS];
        }
    }
    if (merger < MERGERS) area[me] = sum;
    barrier();
    if (me < FOUND) {
        sum = area[me];
        [[unroll]] for (uint m = 1; m < MERGERS; m++) sum += area[m * FOUND + me];
        finished[me] = sum * head_scale[me / COLUMNS];
    }
}
