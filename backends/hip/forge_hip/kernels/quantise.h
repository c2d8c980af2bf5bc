// quantised(v, codes): 16 numbers as signed bytes, and (scale, scale * sum of the codes). A group
// with NaN or infinity in it has the scale NaN, so that whatever reads it shows that.
INLINE f2 quantised(const f4 v[4], u4& codes) {
    float most_ = 0;
    bool finite = true;
    UNROLL for (u32 i = 0; i < 16; ++i) {
        const float x = v[i / 4][i % 4];
        most_ = max_(most_, abs_(x));
        finite = finite && (as_bits(x) & 0x7f800000u) != 0x7f800000u;
    }
    const float inverse = finite && most_ > 0 ? 127.0f / most_ : 0.0f;
    i32 total = 0;
    UNROLL for (u32 i = 0; i < 4; ++i) {
        u32 word = 0;
        UNROLL for (u32 j = 0; j < 4; ++j) {
            const i32 code = finite ? (i32)nearest(v[i][j] * inverse) : 0;
            total += code;
            word |= ((u32)code & 255u) << 8 * j;
        }
        codes[i] = word;
    }
    const float scale = finite ? most_ / 127.0f : as_float(0x7fc00000u);
    return {{scale, scale * (float)total}};
}
