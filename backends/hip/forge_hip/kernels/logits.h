// A row of logits, looked at from all sides: what is wrong with it, and an order of its numbers.
#include "numbers.h"

// Of a result's flags, as in steps/sampling.py.
constexpr u32 NAN_SEEN = 1, INFINITE = 2, DIFFERENT = 4;

// Larger for larger numbers; where NaN goes does not matter: the flags tell.
INLINE u32 ordered(float x) {
    const u32 bits = as_bits(x == 0.0f ? 0.0f : x);  // -0 is as large as 0
    return (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
}

INLINE u32 flags_of(float x, float other) {
    u32 flags = x != other ? DIFFERENT : 0;
    if (is_nan(x)) flags |= NAN_SEEN;
    if (x == infinity()) flags |= INFINITE;
    return flags;
}
