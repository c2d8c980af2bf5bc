// A row of logits, looked at from all sides: what is wrong with it, and an order of its numbers.
// Needs numbers.glsl.

// Of a result's flags, as in steps/sampling.py.
const uint NAN_SEEN = 1, INFINITE = 2, DIFFERENT = 4;

// Larger for larger numbers; where NaN goes does not matter: the flags tell.
uint ordered(float x) {
    const uint bits = floatBitsToUint(x == 0.0 ? 0.0 : x);  // -0 is as large as 0
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

uint flags_of(float x, float other) {
    uint flags = x != other ? DIFFERENT : 0;
    if (is_nan(x)) flags |= NAN_SEEN;
    if (x == INFINITY) flags |= INFINITE;
    return flags;
}
