// Rows of the caches, made of floats that a work group has put into `staged`. Needs cache.glsl.

shared float staged[STAGED];

// Drivers may round towards zero, which would make a number of what is out of range.
uint half_bits(float x) {
    const uint sign = floatBitsToUint(x) >> 16 & 0x8000u;
    if (is_nan(x)) return 0x7e00u;
    return abs(x) >= 65520.0 ? sign | 0x7c00u : packHalf2x16(vec2(x, 0.0)) & 0xffffu;
}

float staged_or_0(uint base, uint column, uint size) {
    return column < size ? staged[base + column] : 0.0;
}

#if CACHE_Q8_0
// The scale of 32 numbers: NaN if one of them is, infinite if one is or it is out of range.
uint scale_bits(uint first) {
    float most = 0.0;
    for (uint i = 0; i < 32; i++) {
        const float size = abs(staged[first + i]);
        if (size > most || is_nan(size)) most = size;
    }
    return half_bits(most / 127.0);
}

uint quantised(float x, float scale) {
    // Next to a scale that is no number, one stands for all: the product shows it.
    const bool number = scale > 0.0 && scale < INFINITY;
    const float whole = number ? clamp(roundEven(x / scale), -127.0, 127.0) : 1.0;
    return uint(int(whole)) & 0xffu;
}
#endif

// The `index`-th word of the row of `size` that is staged at `base`.
uint packed(uint base, uint index, uint size) {
#if CACHE_F32
    return floatBitsToUint(staged_or_0(base, index, size));
#elif CACHE_F16
    return half_bits(staged_or_0(base, 2 * index, size))
        | half_bits(staged_or_0(base, 2 * index + 1, size)) << 16;
#else
    const uint words = size / 4;
    if (index >= words) {
        const uint block = 2 * (index - words);
        const uint second = block + 1 < size / 32 ? scale_bits(base + 32 * block + 32) : 0;
        return scale_bits(base + 32 * block) | second << 16;
    }
    const float scale = unpackHalf2x16(scale_bits(base + index / 8 * 32)).x;
    uint word = 0;
    [[unroll]] for (uint i = 0; i < 4; i++) {
        word |= quantised(staged[base + 4 * index + i], scale) << 8 * i;
    }
    return word;
#endif
}
