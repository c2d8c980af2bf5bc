// Sorts blocks as they are in a file into one plane of a matrix (formats.py), a word at a time.
//! constants: 256 1 18 0 2
//! constants: 256 1 144 16 128
//! constants: 256 1 17 0 1
//! budget: vgpr 24 lds 0

constexpr u32 BLOCK_BYTES = C2, OFFSET = C3;
constexpr u32 SIZE = C4;  // of the plane's bytes in a block: 1, 2 or a multiple of 4

struct Push {
    u32 from;  // word of `blocks` where the first block begins
    u32 to;    // word of `plane` that is written first
    u32 words;
};

// Four bytes from any byte on; `blocks` is a word longer than they are.
INLINE u32 bytes_at(const u32* blocks, u32 at) {
    const u32 word = at >> 2, shift = 8 * (at & 3);
    const u32 low = blocks[word] >> shift;
    return shift == 0 ? low : low | (blocks[word + 1] << (32 - shift));
}

INLINE void run(const u32* __restrict__ blocks, u32* __restrict__ plane, const Push push) {
    const u32 i = group_x() * THREADS + thread();
    if (i >= push.words) return;
    const u32* from = blocks + push.from;
    u32 value = 0;
    if (SIZE % 4 == 0) {
        constexpr u32 OF_BLOCK = SIZE < 4 ? 1 : SIZE / 4;
        value = bytes_at(from, i / OF_BLOCK * BLOCK_BYTES + OFFSET + 4 * (i % OF_BLOCK));
    } else if (SIZE == 2) {
        const u32 at = 2 * i * BLOCK_BYTES + OFFSET;
        value = (bytes_at(from, at) & 0xffffu) | bytes_at(from, at + BLOCK_BYTES) << 16;
    } else {
        UNROLL for (u32 j = 0; j < 4; j++) {
            value |= (bytes_at(from, (4 * i + j) * BLOCK_BYTES + OFFSET) & 0xffu) << 8 * j;
        }
    }
    plane[push.to + i] = value;
}
