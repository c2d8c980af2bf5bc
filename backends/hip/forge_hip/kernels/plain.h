// Weights that are numbers; see weights.h.

#if TYPE_BF16
INLINE f2 two_of(u32 word) { return {{as_float(word << 16), as_float(word & 0xffff0000u)}}; }
#elif TYPE_F16
INLINE f2 two_of(u32 word) { return two_halves(word); }
#endif

INLINE f4 load4(const u4* w4, const Planes& planes, u32 row, u32 k, u32 c) {
    const u32 first = row * k + c;
    const u4* plane = w4 + planes.at[0];
    f4 got;
#if TYPE_F32
    if ((k & 3) == 0) {
        const u4 bits = plane[first >> 2];
        return {{as_float(bits[0]), as_float(bits[1]), as_float(bits[2]), as_float(bits[3])}};
    }
    const float* one = (const float*)plane + first;
    got = {{one[0], one[1], one[2], one[3]}};
#else
    if ((k & 3) == 0) {
        const u2 word = ((const u2*)plane)[first >> 2];
        const f2 low = two_of(word[0]), high = two_of(word[1]);
        return {{low[0], low[1], high[0], high[1]}};
    }
    const u32* words = (const u32*)plane + (first >> 1);
    const u32 a = words[0], b = words[1], d = words[2];
    const bool odd = (first & 1) == 1;
    const f2 low = two_of(odd ? a >> 16 | b << 16 : a), high = two_of(odd ? b >> 16 | d << 16 : b);
    got = {{low[0], low[1], high[0], high[1]}};
#endif
    UNROLL for (u32 i = 1; i < 4; ++i) got[i] = c + i < k ? got[i] : 0.0f;
    return got;
}
