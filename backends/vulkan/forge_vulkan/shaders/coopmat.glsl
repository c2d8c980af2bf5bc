// Cooperative matrices 16 x 16 x 16 of halves with 32-bit sums, by macros: the device's own where
// COOPMAT is 1, else written out in plain code, slow and for tests: 32 neighbouring invocations are
// a subgroup then, and each of them holds whole matrices.
//
// Shared memory is uvec4, eight halves each; offsets and strides count uvec4. Matrices in arrays are
// indexed by constants alone (unrolled loops): else drivers put the arrays into slow memory.

const uint MATRIX_LANES = 32;

#if COOPMAT
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require

#define MATRIX_GROUP gl_SubgroupID
#define MATRIX_LANE gl_SubgroupInvocationID
#define MATRIX_A coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseA>
#define MATRIX_B coopmat<float16_t, gl_ScopeSubgroup, 16, 16, gl_MatrixUseB>
#define MATRIX_C coopmat<float, gl_ScopeSubgroup, 16, 16, gl_MatrixUseAccumulator>
#define CLEAR_C(m) m = MATRIX_C(0.0)
// Rows of the matrix are rows of shared memory; B is loaded transposed: its columns are, but for
// LOAD_B_ROWS.
#define LOAD_A(m, from, offset, stride) \
    coopMatLoad(m, from, offset, stride, gl_CooperativeMatrixLayoutRowMajor)
#define LOAD_B(m, from, offset, stride) \
    coopMatLoad(m, from, offset, stride, gl_CooperativeMatrixLayoutColumnMajor)
#define LOAD_B_ROWS(m, from, offset, stride) \
    coopMatLoad(m, from, offset, stride, gl_CooperativeMatrixLayoutRowMajor)
#define MULTIPLY_ADD(a, b, c) c = coopMatMulAdd(a, b, c)
#define MULTIPLY_EACH(m, by) m = m * by
// To shared floats, row after row.
#define STORE_C(m, to, offset, stride) \
    coopMatStore(m, to, offset, stride, gl_CooperativeMatrixLayoutRowMajor)
// To and from shared vec4, which offsets and strides count then.
#define STORE_C4(m, to, offset, stride) STORE_C(m, to, offset, stride)
#define LOAD_C4(m, from, offset, stride) \
    coopMatLoad(m, from, offset, stride, gl_CooperativeMatrixLayoutRowMajor)
#define MATRIX_BARRIER() \
    subgroupMemoryBarrierShared(); \
    subgroupBarrier()
#else
struct Emulated { float v[256]; };
#define MATRIX_GROUP (gl_LocalInvocationIndex / MATRIX_LANES)
#define MATRIX_LANE (gl_LocalInvocationIndex % MATRIX_LANES)
#define MATRIX_A Emulated
#define MATRIX_B Emulated
#define MATRIX_C Emulated
#define CLEAR_C(m) for (uint z_ = 0; z_ < 256; ++z_) m.v[z_] = 0.0
float half_of(uvec4 line, uint i) {
    const vec2 two = unpackHalf2x16(line[i / 2]);
    return i % 2 == 0 ? two.x : two.y;
}
#define LOAD_A(m, from, offset, stride) \
    for (uint z_ = 0; z_ < 256; ++z_) \
        m.v[z_] = half_of(from[(offset) + z_ / 16 * (stride) + z_ % 16 / 8], z_ % 8)
#define LOAD_B(m, from, offset, stride) \
    for (uint z_ = 0; z_ < 256; ++z_) \
        m.v[z_ % 16 * 16 + z_ / 16] = half_of(from[(offset) + z_ / 16 * (stride) + z_ % 16 / 8], z_ % 8)
#define LOAD_B_ROWS(m, from, offset, stride) LOAD_A(m, from, offset, stride)
#define MULTIPLY_ADD(a, b, c) \
    for (uint z_ = 0; z_ < 256; ++z_) { \
        float t_ = c.v[z_]; \
        for (uint y_ = 0; y_ < 16; ++y_) t_ += a.v[z_ / 16 * 16 + y_] * b.v[y_ * 16 + z_ % 16]; \
        c.v[z_] = t_; \
    }
#define MULTIPLY_EACH(m, by) for (uint z_ = 0; z_ < 256; ++z_) m.v[z_] *= by.v[z_]
#define STORE_C(m, to, offset, stride) \
    for (uint z_ = MATRIX_LANE; z_ < 256; z_ += MATRIX_LANES) \
        to[(offset) + z_ / 16 * (stride) + z_ % 16] = m.v[z_]
#define STORE_C4(m, to, offset, stride) \
    for (uint z_ = MATRIX_LANE; z_ < 256; z_ += MATRIX_LANES) \
        to[(offset) + z_ / 16 * (stride) + z_ % 16 / 4][z_ % 4] = m.v[z_]
#define LOAD_C4(m, from, offset, stride) \
    for (uint z_ = 0; z_ < 256; ++z_) m.v[z_] = from[(offset) + z_ / 16 * (stride) + z_ % 16 / 4][z_ % 4]
#define MATRIX_BARRIER() barrier()
#endif
