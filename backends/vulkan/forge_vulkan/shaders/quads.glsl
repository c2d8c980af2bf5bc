// Four elements of a cache's row in one read: a LINE. Needs cache.glsl.

#if CACHE_F32
#define LINE uvec4
const uint LINE_WORDS = 4;
#define LINE_OF(array, base, quad)                                                    \
    uvec4(array[(base) + 4 * (quad)], array[(base) + 4 * (quad) + 1],                 \
          array[(base) + 4 * (quad) + 2], array[(base) + 4 * (quad) + 3])
#elif CACHE_F16
#define LINE uvec2
const uint LINE_WORDS = 2;
#define LINE_OF(array, base, quad) uvec2(array[(base) + 2 * (quad)], array[(base) + 2 * (quad) + 1])
#else
#define LINE uint
const uint LINE_WORDS = 1;
#define LINE_OF(array, base, quad) array[(base) + (quad)]
#endif

// The four; `scales` is the word of scales of the line that is the `quad`-th of its row.
vec4 four(LINE line, uint scales, uint quad) {
#if CACHE_F32
    return uintBitsToFloat(line);
#elif CACHE_F16
    return vec4(unpackHalf2x16(line.x), unpackHalf2x16(line.y));
#else
    return unpacked(line, scales, quad);
#endif
}
