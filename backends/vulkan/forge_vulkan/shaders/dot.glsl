// dot16(a, b): the dot product of two vectors of 16 signed bytes.
#if DOT
#extension GL_EXT_spirv_intrinsics : require
spirv_instruction(extensions = ["SPV_KHR_integer_dot_product"], capabilities = [6019, 6018], id = 4450)
int packed_dot(uint a, uint b, spirv_literal uint format);

int dot4(uint a, uint b) { return packed_dot(a, b, 0); }
#else
int dot4(uint a, uint b) {
    const ivec4 shifts = ivec4(24, 16, 8, 0);
    const ivec4 x = ivec4(a) << shifts >> 24;
    const ivec4 y = ivec4(b) << shifts >> 24;
    return x.x * y.x + x.y * y.y + x.z * y.z + x.w * y.w;
}
#endif

int dot16(uvec4 a, uvec4 b) {
    return dot4(a.x, b.x) + dot4(a.y, b.y) + dot4(a.z, b.z) + dot4(a.w, b.w);
}
