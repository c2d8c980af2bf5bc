// quantised(v, codes): 16 numbers as signed bytes, and (scale, scale * sum of the codes). A group
// with NaN or infinity in it has the scale NaN, so that whatever reads it shows that.
vec2 quantised(const vec4 v[4], out uvec4 codes) {
    float most = 0;
    bool finite = true;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        const vec4 a = abs(v[i]);
        most = max(most, max(max(a.x, a.y), max(a.z, a.w)));
        // By its bits: a driver may take it that there is no NaN to compare with.
        const uvec4 exponent = floatBitsToUint(v[i]) & 0x7f800000u;
        finite = finite && all(lessThan(exponent, uvec4(0x7f800000u)));
    }
    const float inverse = most > 0 ? 127.0 / most : 0.0;
    int total = 0;
    [[unroll]] for (uint i = 0; i < 4; ++i) {
        const ivec4 c = ivec4(roundEven(v[i] * inverse));
        total += c.x + c.y + c.z + c.w;
        const uvec4 u = uvec4(c) & 0xffu;
        codes[i] = u.x | u.y << 8 | u.z << 16 | u.w << 24;
    }
    const float scale = finite ? most / 127.0 : uintBitsToFloat(0x7fc00000u);
    return vec2(scale, scale * float(total));
}
