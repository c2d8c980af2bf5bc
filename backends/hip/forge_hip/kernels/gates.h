// gated(kind, gate, up): 1 silu, 2 gelu with tanh, 3 quick gelu; of gate, times up.
#include "numbers.h"

INLINE float gated(u32 kind, float gate, float up) {
    if (kind == 1) return silu_(gate) * up;
    if (kind == 2) return gelu_tanh(gate) * up;
    return gate / (1.0f + exp_(-1.702f * gate)) * up;
}
