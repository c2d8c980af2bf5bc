// What the lanes of a wave do together. All lanes that still run must meet at the same operation:
// one that is elsewhere makes the launch fail, where a GPU would hand out an undefined value.
#pragma once

inline void __syncthreads() { hipsim_thread->block->barrier(hipsim_thread); }
inline void __builtin_amdgcn_s_barrier() { __syncthreads(); }
inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
#define __builtin_amdgcn_fence(...) ((void)0)
#define __builtin_amdgcn_s_sleep(ticks) ((void)0)
#define __builtin_amdgcn_sched_barrier(mask) ((void)0)
#define __builtin_amdgcn_s_waitcnt(mask) ((void)0)
inline unsigned __lane_id() { return hipsim_thread->lane; }
inline unsigned __builtin_amdgcn_mbcnt_lo(unsigned mask, unsigned add) {
  return add + (unsigned)__builtin_popcount(mask & ((1u << hipsim_thread->lane) - 1u));
}
inline unsigned __builtin_amdgcn_mbcnt_hi(unsigned, unsigned add) { return add; }
inline unsigned __builtin_amdgcn_workitem_id_x() { return threadIdx.x; }
inline unsigned __builtin_amdgcn_workitem_id_y() { return threadIdx.y; }
inline unsigned __builtin_amdgcn_workitem_id_z() { return threadIdx.z; }
inline unsigned __builtin_amdgcn_workgroup_id_x() { return blockIdx.x; }
inline unsigned __builtin_amdgcn_workgroup_id_y() { return blockIdx.y; }
inline unsigned __builtin_amdgcn_workgroup_id_z() { return blockIdx.z; }

namespace hipsim {

enum Operation { sync = 1, shuffle, shuffle_xor, shuffle_down, shuffle_up, vote, permute, product, reduction };

inline Meeting meet(unsigned long brings, int operation, Together together = nullptr) {
  Thread* const self = hipsim_thread;
  return self->block->meet(self, brings, operation, together);
}

template <class T>
inline T read_lane(T value, int operation, unsigned source) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
  unsigned long word = 0;
  __builtin_memcpy(&word, &value, sizeof(T));
  const Meeting meeting = meet(word, operation);
  if (!(meeting.live >> source & 1)) {
    hipsim_thread->block->fail(hipsim_thread, "a shuffle reads a lane that has ended");
  }
  word = meeting.brought[source];
  __builtin_memcpy(&value, &word, sizeof(T));
  return value;
}

// The lane to read, or one's own where it would lie in another part of the given width.
inline unsigned within(int source, int width) {
  const int lane = (int)hipsim_thread->lane;
  return (unsigned)((source & ~(width - 1)) == (lane & ~(width - 1)) ? source : lane);
}

}  // namespace hipsim

inline void __builtin_amdgcn_wave_barrier() { hipsim::meet(0, hipsim::sync); }
inline void __syncwarp() { hipsim::meet(0, hipsim::sync); }

template <class T>
inline T __shfl(T value, int source, int width = warpSize) {
  const int lane = (int)hipsim_thread->lane;
  return hipsim::read_lane(value, hipsim::shuffle,
                           (unsigned)((lane & ~(width - 1)) | (source & (width - 1))));
}
template <class T>
inline T __shfl_xor(T value, int mask, int width = warpSize) {
  return hipsim::read_lane(value, hipsim::shuffle_xor,
                           hipsim::within((int)hipsim_thread->lane ^ mask, width));
}
template <class T>
inline T __shfl_down(T value, unsigned by, int width = warpSize) {
  return hipsim::read_lane(value, hipsim::shuffle_down,
                           hipsim::within((int)(hipsim_thread->lane + by), width));
}
template <class T>
inline T __shfl_up(T value, unsigned by, int width = warpSize) {
  return hipsim::read_lane(value, hipsim::shuffle_up,
                           hipsim::within((int)hipsim_thread->lane - (int)by, width));
}

inline int __builtin_amdgcn_ds_bpermute(int address, int value) {
  return hipsim::read_lane(value, hipsim::permute, (unsigned)address / 4 % hipsim::wave_size);
}
inline int __builtin_amdgcn_readlane(int value, unsigned lane) {
  return hipsim::read_lane(value, hipsim::permute, lane % hipsim::wave_size);
}
inline int __builtin_amdgcn_readfirstlane(int value) {
  const hipsim::Meeting meeting = hipsim::meet((unsigned)value, hipsim::vote);
  return (int)meeting.brought[__builtin_ctz(meeting.live)];
}

inline unsigned long __ballot(int predicate) {
  const hipsim::Meeting meeting = hipsim::meet(predicate != 0, hipsim::vote);
  unsigned long mask = 0;
  for (unsigned lane = 0; lane < hipsim::wave_size; lane++) {
    if ((meeting.live >> lane & 1) && meeting.brought[lane]) mask |= 1ul << lane;
  }
  return mask;
}
inline unsigned __builtin_amdgcn_ballot_w32(bool predicate) { return (unsigned)__ballot(predicate); }
inline int __any(int predicate) { return __ballot(predicate) != 0; }
inline int __all(int predicate) { return __ballot(!predicate) == 0; }

// What five exchanges with the lanes 1, 2, 4, 8 and 16 away give, to the bit, in one meeting: most
// of a simulated matrix-vector product's time is spent at meetings. A kernel may ask for it where
// HIPSIM is defined.
namespace hipsim {
template <class Combine>
inline void butterfly(const unsigned long* brought) {
  unsigned long* const slots = const_cast<unsigned long*>(brought);
  float values[wave_size], others[wave_size];
  for (unsigned lane = 0; lane < wave_size; lane++) values[lane] = __uint_as_float(slots[lane]);
  for (unsigned by = 1; by < wave_size; by *= 2) {
    for (unsigned lane = 0; lane < wave_size; lane++) others[lane] = values[lane ^ by];
    for (unsigned lane = 0; lane < wave_size; lane++) {
      values[lane] = Combine::of(values[lane], others[lane]);
    }
  }
  for (unsigned lane = 0; lane < wave_size; lane++) slots[lane] = __float_as_uint(values[lane]);
}
template <class Combine>
inline float reduce(float value) {
  const Meeting meeting = meet(__float_as_uint(value), reduction, butterfly<Combine>);
  if (~meeting.live) hipsim_thread->block->fail(hipsim_thread, "a reduction in part of a wave");
  return __uint_as_float(meeting.brought[hipsim_thread->lane]);
}
struct Sum {
  static float of(float x, float y) { return x + y; }
};
struct Largest {
  static float of(float x, float y) { return fmaxf(x, y); }
};
}  // namespace hipsim
inline float __hipsim_wave_sum(float x) { return hipsim::reduce<hipsim::Sum>(x); }
inline float __hipsim_wave_max(float x) { return hipsim::reduce<hipsim::Largest>(x); }

// ds_swizzle in its bit-masked mode (offset bit 15 clear): lane = ((lane & and) | or) ^ xor.
inline int __builtin_amdgcn_ds_swizzle(int value, int pattern) {
  const unsigned lane = ((hipsim_thread->lane & (pattern & 31)) | (pattern >> 5 & 31)) ^
                        (pattern >> 10 & 31);
  return hipsim::read_lane(value, hipsim::permute, lane);
}

// DPP controls within rows of 16: quad_perm, row_shl, row_shr, row_ror, row_mirror,
// row_half_mirror, row_share and row_xmask (RDNA ISA documents, "DPP_CTRL").
inline int __builtin_amdgcn_update_dpp(int old, int value, int control, int rows, int banks,
                                       bool bound) {
  const int lane = (int)hipsim_thread->lane, in = lane & 15, row = lane & 16;
  int source = in;
  const int by = control & 15;
  if (control < 0x100) source = (in & ~3) | (control >> 2 * (in & 3) & 3);
  else if (control <= 0x10f) source = in + by;
  else if (control <= 0x11f) source = in - by;
  else if (control <= 0x12f) source = (in - by) & 15;
  else if (control == 0x140) source = 15 - in;
  else if (control == 0x141) source = (in & 8) | (7 - (in & 7));
  else if (control >= 0x150 && control <= 0x15f) source = by;
  else if (control >= 0x160 && control <= 0x16f) source = in ^ by;
  else hipsim_thread->block->fail(hipsim_thread, "this DPP control is not simulated");
  const bool inside = source >= 0 && source < 16;
  const int read = hipsim::read_lane(value, hipsim::permute,
                                     (unsigned)(inside ? row | source : lane));
  if (!(rows >> lane / 16 & 1) || !(banks >> in / 4 & 1)) return old;
  return inside ? read : bound ? 0 : old;
}
inline int __builtin_amdgcn_mov_dpp(int value, int control, int rows, int banks, bool bound) {
  return __builtin_amdgcn_update_dpp(value, value, control, rows, banks, bound);
}
