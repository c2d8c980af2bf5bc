// What an expert does with its gate and up: 1 silu, 2 gelu (tanh), 3 gpt-oss's clamped swiglu.
#include "numbers.glsl"

// Not what min and max of NaN might be.
float no_more(float x, float most) { return x > most ? most : x; }
float no_less(float x, float least) { return x < least ? least : x; }

float activated(uint kind, float gate, float up) {
    if (is_nan(gate) || is_nan(up)) return uintBitsToFloat(0x7fc00000u);
    if (kind == 1) return silu_(gate) * up;
    if (kind == 2)
        return gate * 0.5 * (1.0 + tanh_(0.79788456 * (gate + 0.044715 * gate * gate * gate))) * up;
    const float top = no_more(gate, 7.0);
    return top / (1.0 + exp(-1.702 * top)) * (no_less(no_more(up, 7.0), -7.0) + 1.0);
}
