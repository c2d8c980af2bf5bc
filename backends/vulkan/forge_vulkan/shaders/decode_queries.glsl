// Of attention_decode.comp: the queries as they are asked for, in shared memory.

// Heads of q from `first` on into `queries`, turned; the new key, turned, and value into `staged`.
void stage_queries(uint first, float position) {
    const uint me = gl_LocalInvocationIndex, turning = max(1u, pairs);
    const uint abreast = THREADS / turning, pair = me % turning;
    vec2 turn = vec2(1.0, 0.0);
    if (pairs > 0) turn = turned(position, frequencies[pair]) * magnitude;
    const uint one = neox == 1 ? pair : 2 * pair, other = one + (neox == 1 ? pairs : 1);
    // The heads of q, and after them the new key.
    const uint heads = pairs > 0 && me / turning < abreast ? HEADS + 1 : 0;
    for (uint h = me / turning; h < heads; h += abreast) {
        if (h == HEADS) {
            const uint from = first / group * SIZE;
            const vec2 made = rotated(vec2(k[from + one], k[from + other]), turn);
            staged[one] = made.x;
            staged[other] = made.y;
        } else if (first % group + h < group) {
            const uint from = (first + h) * SIZE;
            const vec2 made = rotated(vec2(q[from + one], q[from + other]), turn);
            queries[h * QUADS * 4 + one] = made.x;
            queries[h * QUADS * 4 + other] = made.y;
        }
    }
    const uint still = 4 * QUADS - 2 * pairs;  // columns that do not turn, and padding
    for (uint i = me; i < still * HEADS; i += THREADS) {
        const uint h = i / still, d = 2 * pairs + i % still;
        const bool there = first % group + h < group && d < SIZE;
        queries[h * QUADS * 4 + d] = there ? q[(first + h) * SIZE + d] : 0.0;
    }
    const uint kv = first / group;
    for (uint d = 2 * pairs + me; d < SIZE; d += THREADS) staged[d] = k[kv * SIZE + d];
    for (uint d = me; d < VALUE_SIZE; d += THREADS) staged[SIZE + d] = v[kv * VALUE_SIZE + d];
}
