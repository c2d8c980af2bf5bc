// Rows of the caches, made of floats that a work group has put into `staged`. Needs cache.h.

__shared__ float staged[STAGED];

#if CACHE_Q8_0
// The scale of 32 numbers: NaN if one of them is, infinite if one is or it is out of range.
INLINE u32 scale_bits(u32 first) {
    float largest = 0.0f;
    for (u32 i = 0; i < 32; i++) {
        const float size = abs_(staged[first + i]);
        if (size > largest || is_nan(size)) largest = size;
    }
    return half_bits(largest / 127.0f);
}

INLINE u32 code_of(float x, float scale) {
    // Next to a scale that is no number, one stands for all: the product shows it.
    const bool number = scale > 0.0f && scale < infinity();
    const float whole = number ? nearest(x / scale) : 1.0f;
    return (u32)(i32)(whole < -127.0f ? -127.0f : whole > 127.0f ? 127.0f : whole) & 0xffu;
}
#endif

INLINE float staged_or_0(u32 base, u32 column, u32 size) { return column < size ? staged[base + column] : 0.0f; }

// The `index`-th word of the row of `size` that is staged at `base`.
INLINE u32 packed(u32 base, u32 index, u32 size) {
#if CACHE_F32
    return as_bits(staged_or_0(base, index, size));
#elif CACHE_F16
    return as_halves(staged_or_0(base, 2 * index, size), staged_or_0(base, 2 * index + 1, size));
#else
    const u32 words = size / 4;
    if (index >= words) {
        const u32 block = 2 * (index - words);
        const u32 second = block + 1 < size / 32 ? scale_bits(base + 32 * block + 32) : 0;
        return scale_bits(base + 32 * block) | second << 16;
    }
    const float scale = half_number(scale_bits(base + index / 8 * 32));
    u32 word = 0;
    UNROLL for (u32 i = 0; i < 4; i++) word |= code_of(staged[base + 4 * index + i], scale) << 8 * i;
    return word;
#endif
}
