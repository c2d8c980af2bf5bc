// Rows of the key and value caches: one head at one position, as words, in [slot][head][position].
// f32 and f16 are padded to four elements with 0; q8_0 is bytes in fours, then a scale in half precision
// for each 32 of them, two scales a word. Needs numbers.glsl.

#if CACHE_F32
const uint ELEMENTS = 1;  // of a word
#define ROW_WORDS(size) (((size) + 3) / 4 * 4)
#elif CACHE_F16
const uint ELEMENTS = 2;
#define ROW_WORDS(size) (((size) + 3) / 4 * 2)
#else
const uint ELEMENTS = 4;
#define ROW_WORDS(size) ((size) / 4 + ((size) / 32 + 1) / 2)
#endif

// The elements of a word that is the `index`-th of its row; `scales` is its block's word of scales.
vec4 unpacked(uint word, uint scales, uint index) {
#if CACHE_F32
    return vec4(uintBitsToFloat(word), 0.0, 0.0, 0.0);
#elif CACHE_F16
    return vec4(unpackHalf2x16(word), 0.0, 0.0);
#else
    const int bytes = int(word);
    const vec2 both = unpackHalf2x16(scales);
    return ((index / 8) % 2 == 0 ? both.x : both.y)
        * vec4(bitfieldExtract(bytes, 0, 8), bitfieldExtract(bytes, 8, 8),
               bitfieldExtract(bytes, 16, 8), bitfieldExtract(bytes, 24, 8));
#endif
}

// The word of scales for the `index`-th word of a row that begins at `base` in an array.
#if CACHE_Q8_0
#define SCALES(array, base, size, index) array[(base) + (size) / 4 + (index) / 16]
#else
#define SCALES(array, base, size, index) 0
#endif

// Four elements, the `quad`-th of a row that begins at `base` in an array; padding may be anything
// where a row was never written.
#if CACHE_F32
#define QUAD(array, base, size, quad)                                                             \
    vec4(uintBitsToFloat(array[(base) + 4 * (quad)]), uintBitsToFloat(array[(base) + 4 * (quad) + 1]), \
         uintBitsToFloat(array[(base) + 4 * (quad) + 2]), uintBitsToFloat(array[(base) + 4 * (quad) + 3]))
#elif CACHE_F16
#define QUAD(array, base, size, quad) \
    vec4(unpackHalf2x16(array[(base) + 2 * (quad)]), unpackHalf2x16(array[(base) + 2 * (quad) + 1]))
#else
#define QUAD(array, base, size, quad) \
    unpacked(array[(base) + (quad)], SCALES(array, base, size, quad), quad)
#endif
