// Sums, largest values and agreement over a work group; include common.glsl first. In a fixed order:
// the same bits each time. Every invocation calls, and gets the result.

shared float reduced[SUBGROUPS == 1 ? THREADS / LANES : THREADS];

#if SUBGROUPS
#define REDUCED(name, combine, over_subgroup)                                 \
    float name(float own) {                                                   \
        const float mine = over_subgroup(own);                                \
        if (gl_SubgroupInvocationID == 0) reduced[gl_SubgroupID] = mine;      \
        barrier();                                                            \
        float all = reduced[0];                                               \
        for (uint i = 1; i < THREADS / LANES; i++) all = combine(all, reduced[i]); \
        barrier();                                                            \
        return all;                                                           \
    }
#else
#define REDUCED(name, combine, over_subgroup)                                 \
    float name(float own) {                                                   \
        const uint me = gl_LocalInvocationIndex;                              \
        reduced[me] = own;                                                    \
        barrier();                                                            \
        for (uint half_ = THREADS / 2; half_ > 0; half_ /= 2) {               \
            if (me < half_) reduced[me] = combine(reduced[me], reduced[me + half_]); \
            barrier();                                                        \
        }                                                                     \
        const float all = reduced[0];                                         \
        barrier();                                                            \
        return all;                                                           \
    }
#endif

float plus(float a, float b) { return a + b; }

REDUCED(total, plus, subgroupAdd)
