// What an expert does with its gate and up: 1 silu, 2 gelu (tanh), 3 gpt-oss's clamped swiglu.
#include "numbers.h"

// Not what min and max of NaN might be.
INLINE float no_more(float x, float bound) { return x > bound ? bound : x; }
INLINE float no_less(float x, float bound) { return x < bound ? bound : x; }

INLINE float activated(u32 kind, float gate, float up) {
    if (is_nan(gate) || is_nan(up)) return as_float(0x7fc00000u);
    if (kind == 1) return silu_(gate) * up;
    if (kind == 2) return gelu_tanh(gate) * up;
    const float top = no_more(gate, 7.0f);
    return top / (1.0f + exp_(-1.702f * top)) * (no_less(no_more(up, 7.0f), -7.0f) + 1.0f);
}
