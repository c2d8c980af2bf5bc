// Rotation by position x frequency, accurate for positions to a million.

// Cosine and sine. Quarter turns are taken off first, with pi / 2 in parts of so few bits that their
// multiples are exact, fused with the difference or not (W. Cody and W. Waite, Software Manual for the
// Elementary Functions, 1980). Polynomials: S. Moshier, Cephes, sinf and cosf.
INLINE f2 turned(float position, float frequency) {
    const float angle = product(position, frequency);
    const float quarters = floor_(angle * 0.636619772f + 0.5f);
    float r = angle - quarters * 1.5f;
    r = r - quarters * 0.0703125f;
    r = r - quarters * 0.00048828125f;
    r = r + quarters * 4.45445510338e-6f;
    const float z = r * r;
    const float s = r + r * z * ((-1.9515295891e-4f * z + 8.3321608736e-3f) * z - 1.6666654611e-1f);
    const float c = 1.0f - 0.5f * z
        + z * z * ((2.443315711809948e-5f * z - 1.388731625493765e-3f) * z + 4.166664568298827e-2f);
    const i32 quadrant = (i32)quarters & 3;
    const bool odd = (quadrant & 1) == 1;
    const float x = odd ? -s : c, y = odd ? c : s;
    return {{quadrant >= 2 ? -x : x, quadrant >= 2 ? -y : y}};
}

// The pair (x, y) by a cosine and sine, of this length.
INLINE f2 rotated(float x, float y, f2 turn, float magnitude) {
    const float c = turn[0] * magnitude, s = turn[1] * magnitude;
    return {{x * c - y * s, x * s + y * c}};
}
