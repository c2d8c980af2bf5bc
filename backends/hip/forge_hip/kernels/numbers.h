// Functions whose error is bounded, near 0 and far out.

INLINE bool is_nan(float x) { return (as_bits(x) & 0x7fffffffu) > 0x7f800000u; }

// Good to 2 units in the last place near 0 (polynomial: S. Moshier, Cephes, tanhf), 1 far out.
INLINE float tanh_(float x) {
    const float size = abs_(x), z = x * x;
    const float near = x + x * z * ((((-5.70498872745e-3f * z + 2.06390887954e-2f) * z
        - 5.37397155531e-2f) * z + 1.33314422036e-1f) * z - 3.33332819422e-1f);
    const float far = 1.0f - 2.0f / (exp_(2.0f * size) + 1.0f);
    return size < 0.625f ? near : x < 0.0f ? -far : far;
}

// The normal distribution at x: half of erfc(-x / sqrt 2), to a relative 1.2e-7 in both tails
// (coefficients: W. Press et al., Numerical Recipes, 2nd edition, 6.2).
INLINE float normal_(float x) {
    const float z = 0.70710678f * abs_(x), t = 1.0f / (1.0f + 0.5f * z);
    const float series = t * (1.00002368f + t * (0.37409196f + t * (0.09678418f + t * (-0.18628806f
        + t * (0.27886807f + t * (-1.13520398f + t * (1.48851587f + t * (-0.82215223f
        + t * 0.17087277f))))))));
    const float tail = 0.5f * t * exp_(-z * z - 1.26551223f + series);
    return x < 0.0f ? tail : 1.0f - tail;
}

// x times its logistic sigmoid; exp(-x) is infinite far below zero, and x / infinity the right 0.
INLINE float silu_(float x) { return x / (1.0f + exp_(-x)); }

INLINE float gelu_tanh(float x) {
    return 0.5f * x * (1.0f + tanh_(0.7978845608f * (x + 0.044715f * x * x * x)));
}
