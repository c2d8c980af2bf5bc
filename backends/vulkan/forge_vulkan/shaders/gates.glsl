// gated(kind, gate, up): 1 silu, 2 gelu with tanh, 3 quick gelu; of gate, times up.
#include "numbers.glsl"

float gated(uint kind, float gate, float up) {
    float g;
    if (kind == 1) g = silu_(gate);
    else if (kind == 2) g = 0.5 * gate * (1.0 + tanh_(0.7978845608 * (gate + 0.044715 * gate * gate * gate)));
    else g = gate / (1.0 + exp(-1.702 * gate));
    return g * up;
}
