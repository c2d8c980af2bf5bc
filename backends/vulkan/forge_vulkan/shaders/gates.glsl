// gated(kind, gate, up): 1 silu, 2 gelu with tanh, 3 quick gelu; of gate, times up.
float logistic(float x) { return 1.0 / (1.0 + exp(-x)); }

// 1 - 2 / (exp(2x) + 1) loses nothing where |x| is large, and a series serves near 0.
float exact_tanh(float x) {
    const float a = abs(x);
    if (a < 0.25) {
        const float s = x * x;
        return x * (1.0 + s * (-0.33333334 + s * (0.13333334 + s * (-0.053968254 + s * (0.021869488 - s * 0.008863236)))));
    }
    const float t = 1.0 - 2.0 / (exp(2.0 * min(a, 40.0)) + 1.0);
    return x != x ? x : (x < 0.0 ? -t : t);
}

float gated(uint kind, float gate, float up) {
    float g;
    if (kind == 1) g = gate * logistic(gate);
    else if (kind == 2) g = 0.5 * gate * (1.0 + exact_tanh(0.7978845608 * (gate + 0.044715 * gate * gate * gate)));
    else g = gate * logistic(1.702 * gate);
    return g * up;
}
