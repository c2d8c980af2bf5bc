// looked_up(codes): nibbles, each in a byte of its own, as the signed bytes that they stand for.

#if TYPE_IQ4_NL || TYPE_IQ4_XS || TYPE_MXFP4
#if TYPE_MXFP4  // E2M1 doubled: 0 1 2 3 4 6 8 12 and their negatives
constexpr u32 TABLE[4] = {0x03020100u, 0x0c080604u, 0xfdfeff00u, 0xf4f8fafcu};
#else  // kvalues_iq4nl of ggml-common.h
constexpr u32 TABLE[4] = {0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u};
#endif

// Three bits of a code choose among eight bytes in two registers, the fourth between both halves.
INLINE u32 looked_up(u32 codes) {
    constexpr u32 t0 = TABLE[0], t1 = TABLE[1], t2 = TABLE[2], t3 = TABLE[3];
    const u32 three = codes & 0x07070707u;
    const u32 low = bytes_of(t1, t0, three), high = bytes_of(t3, t2, three);
    return bytes_of(high, low, 0x03020100u + (codes >> 1 & 0x04040404u));
}
INLINE u4 looked_up(const u4& codes) {
    return {{looked_up(codes[0]), looked_up(codes[1]), looked_up(codes[2]), looked_up(codes[3])}};
}
#endif
