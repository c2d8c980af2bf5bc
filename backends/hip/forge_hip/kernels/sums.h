// The sum over a work group, in a fixed order: the same bits each time. All threads call, and get it.
__shared__ float parts_of_sum[THREADS / LANES];

INLINE float total(float own) {
    const float mine = wave_sum(own);
    if (THREADS == LANES) return mine;
    if (lane() == 0) parts_of_sum[wave()] = mine;
    barrier();
    float all = parts_of_sum[0];
    UNROLL for (u32 i = 1; i < THREADS / LANES; ++i) all += parts_of_sum[i];
    barrier();
    return all;
}
