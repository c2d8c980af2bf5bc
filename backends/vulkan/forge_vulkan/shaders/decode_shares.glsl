// Of attention_decode.comp: what the work groups of a kv head have found, made one.

// By the last of them: in the order of their shares, whichever order they came in.
void merge(uint first, uint block, uint sharing) {
    const uint me = gl_LocalInvocationIndex, splits = gl_NumWorkGroups.x, all = gl_NumWorkGroups.y;
    memoryBarrierBuffer();
    if (me == 0) scratch[gl_WorkGroupID.y] = 0;  // for the next replay
    const uint theirs = all + gl_WorkGroupID.y * splits * FOUND;
    // Into shared memory: the tops of all shares, their sums, and what each one's numbers count for.
    const uint count = sharing * HEADS;
    for (uint i = me; i < count; i += THREADS) {
        const uint at = theirs + i / HEADS * FOUND + HEADS * VALUE_SIZE + i % HEADS;
        area[i] = scratch[at + HEADS];
        area[count + i] = scratch[at];
    }
    barrier();
    for (uint i = me; i < count; i += THREADS) {
        const uint h = i % HEADS;
        float most = block * HEADS + h < group && has_sinks == 1 ? sinks[first + h] : LEAST;
        for (uint s = 0; s < sharing; s++) most = max(most, uintBitsToFloat(area[s * HEADS + h]));
        area[2 * count + i] = floatBitsToUint(exp(uintBitsToFloat(area[i]) - most));
        if (i < HEADS) head_sum[h] = has_sinks == 1 ? exp(sinks[first + min(h, group - 1)] - most) : 0.0;
    }
    barrier();
    for (uint i = me; i < HEADS * VALUE_SIZE; i += THREADS) {
        const uint h = i / VALUE_SIZE;
        if (block * HEADS + h >= group) break;
        float sum = 0.0, total = head_sum[h];
        for (uint four = 0; four < sharing; four += 4) {
            float theirs_[4];
            [[unroll]] for (uint e = 0; e < 4; e++) {
                theirs_[e] = uintBitsToFloat(scratch[theirs + min(four + e, sharing - 1) * FOUND + i]);
            }
            [[unroll]] for (uint e = 0; e < 4; e++) {
                const uint at = min(four + e, sharing - 1) * HEADS + h;
                const float kept = uintBitsToFloat(area[2 * count + at]);
                const bool there = four + e < sharing;
                sum += there ? theirs_[e] * kept : 0.0;
                total += there ? uintBitsToFloat(area[count + at]) * kept : 0.0;
            }
        }
        y[first * VALUE_SIZE + i] = sum / total;
    }
}

// What this work group has found: out, where it is the only one, or left to be merged.
void finish(float sums[HEADS], vec4 found[HEADS], uint first, uint block, uint sharing) {
    const uint me = gl_LocalInvocationIndex, column = me % COLUMNS, part = me / COLUMNS;
    const uint splits = gl_NumWorkGroups.x, split = gl_WorkGroupID.x;
    // The parts of a column, one after the other.
    [[unroll]] for (uint h = 0; h < HEADS; h++) {
        if (part >= PARTS) break;
        [[unroll]] for (uint e = 0; e < 4; e++) {
            const uint d = column * 4 + e;
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
        } else if (block * HEADS + h < group) {
            float total = head_sum[h];
            if (has_sinks == 1) {
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
    if (arrived + 1 == sharing) merge(first, block, sharing);
}
