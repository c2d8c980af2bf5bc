// reduced(x): the sum of x over LANES neighbouring invocations, in all of them.
#if SUBGROUPS
float reduced(float x) { return subgroupAdd(x); }
#else
shared float reduction[THREADS];

float reduced(float x) {
    const uint at = gl_LocalInvocationIndex;
    barrier();
    reduction[at] = x;
    for (uint step = LANES / 2; step > 0; step /= 2) {
        barrier();
        const float other = reduction[at ^ step];
        barrier();
        reduction[at] += other;
    }
    barrier();
    return reduction[at];
}
#endif
