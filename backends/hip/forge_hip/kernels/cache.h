// Rows of the key and value caches: one head at one position, as words, in [slot][head][position].
// f32 and f16 are padded to four elements with 0; q8_0 is bytes in fours, then a scale in half
// precision for each 32 of them, two scales a word. Needs numbers.h.
//
// Four elements of a row are read at once: a Line.

#if CACHE_F32
typedef u4 Line;
CONSTANT u32 row_words(u32 size) { return (size + 3) / 4 * 4; }
#elif CACHE_F16
typedef u2 Line;
CONSTANT u32 row_words(u32 size) { return (size + 3) / 4 * 2; }
#else
typedef u32 Line;
CONSTANT u32 row_words(u32 size) { return size / 4 + (size / 32 + 1) / 2; }
#endif

INLINE Line line_of(const u32* row, u32 quad) { return ((const Line*)row)[quad]; }

// The word of scales for the `quad`-th line of a row of `size`.
INLINE u32 scales_of(const u32* row, u32 size, u32 quad) {
#if CACHE_Q8_0
    return row[size / 4 + quad / 16];
#else
    return 0;
#endif
}

// The four elements; padding may be anything where a row was never written.
INLINE f4 four_of(Line line, u32 scales, u32 quad) {
#if CACHE_F32
    return {{as_float(line[0]), as_float(line[1]), as_float(line[2]), as_float(line[3])}};
#elif CACHE_F16
    const f2 low = two_halves(line[0]), high = two_halves(line[1]);
    return {{low[0], low[1], high[0], high[1]}};
#else
    const float scale = half_number((quad / 8) % 2 == 0 ? scales & 0xffffu : scales >> 16);
    f4 made;
    UNROLL for (u32 i = 0; i < 4; i++) made[i] = scale * (float)(i8)(line >> 8 * i);
    return made;
#endif
}
