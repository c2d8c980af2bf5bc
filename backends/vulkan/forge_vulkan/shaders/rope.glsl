// Rotation by position x frequency, accurate for positions to a million.

// Cosine and sine. Drivers promise little about large angles: quarter turns are taken off here, with
// pi / 2 in parts of so few bits that their multiples are exact (W. Cody and W. Waite, Software
// Manual for the Elementary Functions, 1980). Polynomials: S. Moshier, Cephes, sinf and cosf.
vec2 turned(float position, float frequency) {
    precise float angle = position * frequency;
    precise float quarters = floor(angle * 0.636619772 + 0.5);
    precise float r = angle - quarters * 1.5;
    r = r - quarters * 0.0703125;
    r = r - quarters * 0.00048828125;
    r = r + quarters * 4.45445510338e-6;
    const float z = r * r;
    const float s = r + r * z * ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1);
    const float c = 1.0 - 0.5 * z
        + z * z * ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2);
    const int quadrant = int(quarters) & 3;
    const vec2 odd = (quadrant & 1) == 1 ? vec2(-s, c) : vec2(c, s);
    return quadrant >= 2 ? -odd : odd;
}

// A pair by a cosine and sine.
vec2 rotated(vec2 pair, vec2 turn) {
    return vec2(pair.x * turn.x - pair.y * turn.y, pair.x * turn.y + pair.y * turn.x);
}
