// looked_up(codes): nibbles, each in a byte of its own, as the signed bytes that they stand for.
// Without tables in memory: neighbours would look up different entries.

#if TYPE_IQ4_NL || TYPE_IQ4_XS
#define BYTES(v) ((v & 255) * 0x01010101u)
#define EITHER(low, high) (BYTES(low) ^ (m0 & (BYTES(low) ^ BYTES(high))))
uint picked(uint mask, uint low, uint high) { return low ^ (mask & (low ^ high)); }
uint spread(uint bits) { return (bits << 8) - bits; }  // each 1 of 0x01010101 becomes 0xff

// kvalues_iq4nl of ggml-common.h for four codes at once: a tree of selections, bit after bit.
uint looked_up(uint codes) {
    const uint m0 = spread(codes & 0x01010101u), m1 = spread((codes >> 1) & 0x01010101u);
    const uint m2 = spread((codes >> 2) & 0x01010101u), m3 = spread((codes >> 3) & 0x01010101u);
    const uint a = picked(m1, EITHER(-127, -104), EITHER(-83, -65));
    const uint b = picked(m1, EITHER(-49, -35), EITHER(-22, -10));
    const uint c = picked(m1, EITHER(1, 13), EITHER(25, 38));
    const uint d = picked(m1, EITHER(53, 69), EITHER(89, 113));
    return picked(m3, picked(m2, a, b), picked(m2, c, d));
}
uvec4 looked_up(uvec4 codes) {
    return uvec4(looked_up(codes.x), looked_up(codes.y), looked_up(codes.z), looked_up(codes.w));
}
#elif TYPE_MXFP4
// E2M1 doubled, 0 1 2 3 4 6 8 12 and their negatives, for four codes a word.
uvec4 looked_up(uvec4 codes) {
    const uvec4 m = codes & 0x07070707u;
    const uvec4 upper = (codes >> 2) & 0x01010101u;
    const uvec4 x = codes & (upper | upper << 1);  // 0 .. 3 of the values from 4 on
    const uvec4 value = m + x + 2 * (x & (x >> 1));
    const uvec4 sign = (codes >> 3) & 0x01010101u;
    const uvec4 below = value & ((sign << 4) - sign);
    return (0x80808080u + value - 2 * below) ^ 0x80808080u;
}
#endif
