// Reads weights from planes (formats.py), by type.
//
// Everywhere: BLOCK (columns of a block), QUANTISED.
// Codes: a group g is the 16 columns 16g .. 16g+15 of a row, as four words of four signed bytes in
// the order of the columns, and w = scale * code + offset (offset 0 unless HAS_OFFSET; where CENTRE
// is not 0 it is -CENTRE * scale).
//   load16  one group
//   pair    which two groups lie in the same bytes: the p-th 32 weights of a row
//   load32  both of them
//   load64  where LOADS64: the t-th 64 weights, groups 4t .. 4t+3, of two scales and offsets
// ONE_BLOCK: the two groups of a pair are 2p and 2p + 1, of one scale.
// Numbers: load4, columns c .. c+3, c a multiple of 4, 0 past the row's end.

struct Planes { u32 at[4]; };  // in units of 16 bytes

#if TYPE_F32 || TYPE_F16 || TYPE_BF16
#define QUANTISED 0
#define BLOCK 1
#else
#define QUANTISED 1
#endif
#if TYPE_Q4_0 || TYPE_Q4_1 || TYPE_Q5_0 || TYPE_Q5_1 || TYPE_Q8_0 || TYPE_IQ4_NL || TYPE_MXFP4
#define BLOCK 32
#define ONE_BLOCK 1
#elif QUANTISED
#define BLOCK 256
#define ONE_BLOCK TYPE_IQ4_XS
#endif
#if TYPE_Q4_0
#define CENTRE 8
#elif TYPE_Q5_0
#define CENTRE 16
#elif TYPE_Q6_K
#define CENTRE 32
#elif TYPE_Q3_K
#define CENTRE 4
#else
#define CENTRE 0
#endif
#if CENTRE || TYPE_Q4_1 || TYPE_Q5_1 || TYPE_Q2_K || TYPE_Q4_K || TYPE_Q5_K
#define HAS_OFFSET 1
#else
#define HAS_OFFSET 0
#endif
#if TYPE_Q4_K || TYPE_Q5_K
#define LOADS64 1
#else
#define LOADS64 0
#endif

#if QUANTISED
#include "codes.h"
#else
#include "plain.h"
#endif
