// Products of 16 x 16 matrices of halves with 32-bit sums: the WMMA of RDNA3 and RDNA4, whose layouts
// differ (AMD's instruction set documents of RDNA3, 7.9, and RDNA4, 7.9).
//
// Both operands are lines of eight halves: lane l has row (of A) or column (of B) l % 16, on RDNA3 all
// 16 numbers of it, on RDNA4 those from 8 * (l / 16) on. Of the result it has column l % 16, and eight
// rows: `row_of(i)`.

#if RDNA4
constexpr u32 OPERAND = 1;  // lines of a lane
#else
constexpr u32 OPERAND = 2;
#endif

typedef _Float16 Halves8 __attribute__((ext_vector_type(8)));
typedef _Float16 Halves16 __attribute__((ext_vector_type(16)));
typedef float Sums8 __attribute__((ext_vector_type(8)));

struct Operand { u4 line[OPERAND]; };

// Rows (of A) or columns (of B) `stride` lines apart.
INLINE Operand operand(const u4* from, u32 stride) {
    const u4* mine = from + lane() % 16 * stride;
#if RDNA4
    return {{mine[lane() / 16]}};
#else
    return {{mine[0], mine[1]}};
#endif
}

INLINE Sums8 cleared() { return Sums8{0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f}; }

INLINE u32 row_of(u32 i) {
#if RDNA4
    return 8 * (lane() / 16) + i;
#else
    return 2 * i + lane() / 16;
#endif
}

INLINE Sums8 multiplied(const Operand& a, const Operand& b, Sums8 sums) {
#if RDNA4
    return __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12(
        __builtin_bit_cast(Halves8, a), __builtin_bit_cast(Halves8, b), sums);
#elif RDNA3
    return __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(
        __builtin_bit_cast(Halves16, a), __builtin_bit_cast(Halves16, b), sums);
#else
#error "no matrix instructions"
#endif
}
