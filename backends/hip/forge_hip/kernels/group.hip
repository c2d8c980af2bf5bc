// Sorts the choices of all tokens by expert, and cuts each expert's into blocks of no more than BM.
//
// In words: the number of blocks; then for each its expert, and the places where it begins and ends
// in the order; from `order` on the choices, a token's USED one after another, in that order.
//! constants: 256 1 64 8 64
//! constants: 256 1 128 4 16
//! budget: vgpr 96 lds 1536

constexpr u32 EXPERTS = C2, USED = C3, BM = C4;

struct Push {
    u32 counter;  // word of the frame with the number of tokens
    u32 order;
};

__shared__ u32 count[EXPERTS];
__shared__ u32 start[EXPERTS];
__shared__ u32 block[EXPERTS];  // the expert's first

INLINE void run(
    const u32* __restrict__ frame, const u32* __restrict__ chosen, u32* __restrict__ groups,
    const Push push
) {
    const u32 me = thread(), choices = frame[push.counter] * USED;
    for (u32 e = me; e < EXPERTS; e += THREADS) count[e] = 0;
    barrier();
    for (u32 c = me; c < choices; c += THREADS) add_shared(&count[chosen[c]], 1);
    barrier();
    if (me == 0) {
        u32 at = 0, blocks = 0;
        for (u32 e = 0; e < EXPERTS; ++e) {
            start[e] = at;
            block[e] = blocks;
            at += count[e];
            blocks += (count[e] + BM - 1) / BM;
        }
        groups[0] = blocks;
    }
    barrier();
    for (u32 e = me; e < EXPERTS; e += THREADS) {
        for (u32 at = 0; at < count[e]; at += BM) {
            u32* to = groups + 1 + 3 * (block[e] + at / BM);
            to[0] = e;
            to[1] = start[e] + at;
            to[2] = start[e] + least(at + BM, count[e]);
        }
    }
    barrier();
    // Within an expert in any order: no row's numbers depend on its place.
    for (u32 c = me; c < choices; c += THREADS) groups[push.order + add_shared(&start[chosen[c]], 1)] = c;
}
