// Functions whose built-in forms drivers may take lightly: the language bounds neither their
// relative error nor what they do far out.

#define INFINITY uintBitsToFloat(0x7f800000u)

bool is_nan(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u; }

// Good to 2 units in the last place near 0 (polynomial: S. Moshier, Cephes, tanhf), 1 far out.
float tanh_(float x) {
    const float size = abs(x), z = x * x;
    if (size < 0.625) {
        return x + x * z * ((((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z
            + 1.33314422036e-1) * z - 3.33332819422e-1);
    }
    const float far = 1.0 - 2.0 / (exp(2.0 * size) + 1.0);
    return x < 0.0 ? -far : far;
}

// The normal distribution at x: half of erfc(-x / sqrt 2), to a relative 1.2e-7 in both tails
// (coefficients: W. Press et al., Numerical Recipes, 2nd edition, 6.2).
float normal_(float x) {
    const float z = 0.70710678 * abs(x), t = 1.0 / (1.0 + 0.5 * z);
    const float series = t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
        + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223
        + t * 0.17087277))))))));
    const float tail = 0.5 * t * exp(-z * z - 1.26551223 + series);
    return x < 0.0 ? tail : 1.0 - tail;
}

// x times its logistic sigmoid; exp(-x) is infinite far below zero, and x / infinity the right 0.
float silu_(float x) { return x / (1.0 + exp(-x)); }
