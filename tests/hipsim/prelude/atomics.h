// Atomics: fibers are never interrupted, so plain operations are atomic.
#pragma once

#define HIPSIM_ATOMIC(name, result)      \
  template <class T, class U>            \
  inline T name(T* place, U value) {     \
    const T old = *place;                \
    const T given = (T)value;            \
    *place = result;                     \
    return old;                          \
  }

HIPSIM_ATOMIC(atomicAdd, old + given)
HIPSIM_ATOMIC(atomicSub, old - given)
HIPSIM_ATOMIC(atomicMax, old > given ? old : given)
HIPSIM_ATOMIC(atomicMin, old < given ? old : given)
HIPSIM_ATOMIC(atomicExch, given)
HIPSIM_ATOMIC(atomicAnd, old& given)
HIPSIM_ATOMIC(atomicOr, old | given)
HIPSIM_ATOMIC(atomicXor, old ^ given)
#undef HIPSIM_ATOMIC

template <class T>
inline T atomicCAS(T* place, T expected, T value) {
  const T old = *place;
  if (old == expected) *place = value;
  return old;
}

#define __HIP_MEMORY_SCOPE_SINGLETHREAD 1
#define __HIP_MEMORY_SCOPE_WAVEFRONT 2
#define __HIP_MEMORY_SCOPE_WORKGROUP 3
#define __HIP_MEMORY_SCOPE_AGENT 4
#define __HIP_MEMORY_SCOPE_SYSTEM 5
#define __hip_atomic_load(place, order, scope) __atomic_load_n(place, order)
#define __hip_atomic_store(place, value, order, scope) __atomic_store_n(place, value, order)
#define __hip_atomic_fetch_add(place, value, order, scope) __atomic_fetch_add(place, value, order)
#define __hip_atomic_exchange(place, value, order, scope) __atomic_exchange_n(place, value, order)
