// The one layer between the kernels and what compiles them: hiprtc or clang for AMD's GPUs, NVRTC for
// others', or a C++ compiler for the simulated driver.
//
// For AMD nothing is used but the compiler's own builtins: HIP's headers differ from version to
// version (its run-time compiler has no INFINITY and no uint32_t), and clang alone can check the
// kernels where none are installed. GPUs are RDNA, waves have 32 lanes.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef signed char i8;
typedef int i32;

#if defined(HIPSIM) || defined(__HIPSIM__)  // the simulated driver, which names the target as clang does
#define SIMULATED 1
#elif defined(__CUDACC_RTC__) || defined(__CUDA_ARCH__)
#define ON_CUDA 1
#else
#define ON_AMD 1
#endif
#if defined(__GFX11__) || defined(__gfx1100__) || defined(__gfx1101__) || defined(__gfx1102__) \
    || defined(__gfx1103__) || defined(__gfx1150__) || defined(__gfx1151__) || defined(__gfx1152__) || defined(__gfx1153__)
#define RDNA3 1
#elif defined(__GFX12__) || defined(__gfx1200__) || defined(__gfx1201__)
#define RDNA4 1
#endif
#if defined(__gfx1011__) || defined(__gfx1012__) || defined(__gfx1030__) || defined(__gfx1031__) \
    || defined(__gfx1032__) || defined(__gfx1033__) || defined(__gfx1034__) || defined(__gfx1035__) || defined(__gfx1036__)
#define RDNA2_DOT 1
#endif

#if ON_AMD && !defined(__global__)
#define __global__ __attribute__((global))
#define __device__ __attribute__((device))
#define __shared__ __attribute__((shared))
#define __launch_bounds__(threads) __attribute__((amdgpu_flat_work_group_size(threads, threads)))
#endif
#if SIMULATED
#define INLINE inline __attribute__((always_inline))
#elif ON_AMD
#define INLINE __device__ inline __attribute__((always_inline))
#else
#define INLINE __device__ __forceinline__
#endif
// A function of constants: clang wants it unmarked then, and NVRTC marked.
#if ON_CUDA
#define CONSTANT __device__ constexpr
#else
#define CONSTANT constexpr
#endif
#define UNROLL _Pragma("unroll")
#define ONE_BY_ONE _Pragma("unroll 1")

// Where a thread is. A work group has one dimension; GROUPS_X needs its THREADS.
#if ON_AMD
INLINE u32 thread() { return __builtin_amdgcn_workitem_id_x(); }
INLINE u32 group_x() { return __builtin_amdgcn_workgroup_id_x(); }
INLINE u32 group_y() { return __builtin_amdgcn_workgroup_id_y(); }
#define GROUPS_X (__builtin_amdgcn_grid_size_x() / THREADS)
#define GROUPS_Y (__builtin_amdgcn_grid_size_y())
#else
INLINE u32 thread() { return threadIdx.x; }
INLINE u32 group_x() { return blockIdx.x; }
INLINE u32 group_y() { return blockIdx.y; }
#define GROUPS_X (gridDim.x)
#define GROUPS_Y (gridDim.y)
#endif
constexpr u32 LANES = 32;

// What is the same in all lanes of a wave, said to the compiler: it is kept once then, and decides for
// all of them at once.
INLINE u32 uniform(u32 x) {
#if ON_AMD
    return (u32)__builtin_amdgcn_readfirstlane((i32)x);
#else
    return x;
#endif
}
INLINE u32 lane() { return thread() % LANES; }
INLINE u32 wave() { return uniform(thread() / LANES); }

// Bits of numbers.
#if ON_CUDA
INLINE float as_float(u32 bits) { return __uint_as_float(bits); }
INLINE u32 as_bits(float x) { return __float_as_uint(x); }
INLINE float half_number(u32 bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"((u16)bits));
    return x;
}
INLINE u32 half_bits(float x) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
#else
INLINE float as_float(u32 bits) { return __builtin_bit_cast(float, bits); }
INLINE u32 as_bits(float x) { return __builtin_bit_cast(u32, x); }
INLINE float half_number(u32 bits) { return (float)__builtin_bit_cast(_Float16, (u16)bits); }
// To nearest, infinite where it is out of range.
INLINE u32 half_bits(float x) { return __builtin_bit_cast(u16, (_Float16)x); }
#endif
INLINE float infinity() { return as_float(0x7f800000u); }

#if ON_CUDA
INLINE float exp_(float x) { return expf(x); }
INLINE float sqrt_(float x) { return sqrtf(x); }
INLINE float floor_(float x) { return floorf(x); }
INLINE float nearest(float x) { return rintf(x); }
INLINE float abs_(float x) { return fabsf(x); }
INLINE float max_(float x, float y) { return fmaxf(x, y); }
INLINE float fma_(float x, float y, float z) { return fmaf(x, y, z); }
// Rounded before anything is added to it.
INLINE float product(float x, float y) { return __fmul_rn(x, y); }
#else
INLINE float exp_(float x) { return __builtin_expf(x); }
INLINE float sqrt_(float x) { return __builtin_sqrtf(x); }
INLINE float floor_(float x) { return __builtin_floorf(x); }
INLINE float nearest(float x) { return __builtin_rintf(x); }
INLINE float abs_(float x) { return __builtin_fabsf(x); }
INLINE float max_(float x, float y) { return __builtin_fmaxf(x, y); }
INLINE float fma_(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
INLINE float product(float x, float y) {
    float made = x * y;
#if SIMULATED
    asm("" : "+x"(made));
#else
    asm("" : "+v"(made));
#endif
    return made;
}
#endif

// Waits for the work group; what it wrote to shared memory is there then. Nothing is said of other
// memory: reads of it that are under way stay so, for which a fence of HIP's would wait.
#if ON_AMD
INLINE void barrier() {
#if RDNA4
    asm volatile("s_wait_dscnt 0x0" ::: "memory");
#else
    asm volatile("s_waitcnt lgkmcnt(0)" ::: "memory");
#endif
    __builtin_amdgcn_s_barrier();
    asm volatile("" ::: "memory");
}
// The same within a wave, whose lanes go in step.
INLINE void wave_barrier() {
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
    __builtin_amdgcn_wave_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}
// What was written before is seen by every work group that reads after its own fence.
INLINE void device_fence() { __builtin_amdgcn_fence(__ATOMIC_SEQ_CST, "agent"); }
#else
INLINE void barrier() { __syncthreads(); }
INLINE void wave_barrier() { __syncwarp(); }
INLINE void device_fence() { __threadfence(); }
#endif

// Nothing is moved across it: what is read far ahead of its use takes registers all the while.
INLINE void keep_order() {
#if ON_AMD
    __builtin_amdgcn_sched_barrier(0);
#endif
}

#if ON_AMD
#define SCOPE_GROUP __HIP_MEMORY_SCOPE_WORKGROUP
#define SCOPE_DEVICE __HIP_MEMORY_SCOPE_AGENT
INLINE u32 add_shared(u32* at, u32 x) { return __hip_atomic_fetch_add(at, x, __ATOMIC_RELAXED, SCOPE_GROUP); }
INLINE u32 or_shared(u32* at, u32 x) { return __hip_atomic_fetch_or(at, x, __ATOMIC_RELAXED, SCOPE_GROUP); }
INLINE u32 max_shared(u32* at, u32 x) { return __hip_atomic_fetch_max(at, x, __ATOMIC_RELAXED, SCOPE_GROUP); }
INLINE i32 max_shared(i32* at, i32 x) { return __hip_atomic_fetch_max(at, x, __ATOMIC_RELAXED, SCOPE_GROUP); }
INLINE i32 min_shared(i32* at, i32 x) { return __hip_atomic_fetch_min(at, x, __ATOMIC_RELAXED, SCOPE_GROUP); }
INLINE u32 add_device(u32* at, u32 x) { return __hip_atomic_fetch_add(at, x, __ATOMIC_RELAXED, SCOPE_DEVICE); }
INLINE u32 or_device(u32* at, u32 x) { return __hip_atomic_fetch_or(at, x, __ATOMIC_RELAXED, SCOPE_DEVICE); }
INLINE u32 exchange_device(u32* at, u32 x) { return __hip_atomic_exchange(at, x, __ATOMIC_RELAXED, SCOPE_DEVICE); }
INLINE void write_system(i32* at, i32 x) { __hip_atomic_store(at, x, __ATOMIC_RELAXED, __HIP_MEMORY_SCOPE_SYSTEM); }
#else
INLINE u32 add_shared(u32* at, u32 x) { return atomicAdd(at, x); }
INLINE u32 or_shared(u32* at, u32 x) { return atomicOr(at, x); }
INLINE u32 max_shared(u32* at, u32 x) { return atomicMax(at, x); }
INLINE i32 max_shared(i32* at, i32 x) { return atomicMax(at, x); }
INLINE i32 min_shared(i32* at, i32 x) { return atomicMin(at, x); }
INLINE u32 add_device(u32* at, u32 x) { return atomicAdd(at, x); }
INLINE u32 or_device(u32* at, u32 x) { return atomicOr(at, x); }
INLINE u32 exchange_device(u32* at, u32 x) { return atomicExch(at, x); }
INLINE void write_system(i32* at, i32 x) { *(volatile i32*)at = x; }
#endif

// x of the lane whose number differs in the bits of MASK; all lanes of the wave take part.
template <u32 MASK>
INLINE float of_other(float x) {
#if ON_AMD
    const int bits = __builtin_bit_cast(int, x);
    if constexpr (MASK == 16) {  // the other row of 16 lanes, each lane at its own place
        const int got = __builtin_amdgcn_permlanex16(bits, bits, 0x76543210, 0xfedcba98, false, false);
        return __builtin_bit_cast(float, got);
    } else {  // 0x160: DPP's row_xmask
        return __builtin_bit_cast(float, __builtin_amdgcn_mov_dpp(bits, 0x160 | MASK, 0xf, 0xf, true));
    }
#elif ON_CUDA
    return __shfl_xor_sync(0xffffffffu, x, MASK);
#else
    return __shfl_xor(x, (int)MASK);
#endif
}

// The sum and the largest of the wave's x, in all of its lanes; the same bits each time.
#if SIMULATED  // the same in one exchange: they are most of what a simulated GPU's time is spent on
INLINE float wave_sum(float x) { return __hipsim_wave_sum(x); }
INLINE float wave_max(float x) { return __hipsim_wave_max(x); }
#else
INLINE float wave_sum(float x) {
    x += of_other<1>(x);
    x += of_other<2>(x);
    x += of_other<4>(x);
    x += of_other<8>(x);
    return x + of_other<16>(x);
}
INLINE float wave_max(float x) {
    x = max_(x, of_other<1>(x));
    x = max_(x, of_other<2>(x));
    x = max_(x, of_other<4>(x));
    x = max_(x, of_other<8>(x));
    return max_(x, of_other<16>(x));
}
#endif

// The dot product of four signed bytes each, and c; FORGE_HIP_WITHOUT=dot has it go without.
INLINE i32 dot4(u32 a, u32 b, i32 c) {
#if (RDNA3 || RDNA4) && !WITHOUT_DOT
    return __builtin_amdgcn_sudot4(true, (i32)a, true, (i32)b, c, false);
#elif RDNA2_DOT && !WITHOUT_DOT
    return __builtin_amdgcn_sdot4((i32)a, (i32)b, c, false);
#elif ON_CUDA && !WITHOUT_DOT
    return __dp4a((i32)a, (i32)b, c);
#else
    UNROLL for (u32 shift = 0; shift < 32; shift += 8) {
        c += (i32)(i8)(a >> shift) * (i32)(i8)(b >> shift);
    }
    return c;
#endif
}

// Four of the eight bytes of `high` and `low`, by numbers from 0 (low's first) to 7 in bytes.
INLINE u32 bytes_of(u32 high, u32 low, u32 numbers) {
#if ON_AMD
    return __builtin_amdgcn_perm(high, low, numbers);
#elif ON_CUDA
    const u32 pairs = (numbers | numbers >> 4) & 0x00ff00ffu;
    return __byte_perm(low, high, (pairs | pairs >> 8) & 0xffffu);
#else
    const u64 both = (u64)high << 32 | low;
    u32 made = 0;
    for (u32 i = 0; i < 32; i += 8) made |= (u32)(both >> 8 * (numbers >> i & 7) & 255) << i;
    return made;
#endif
}
