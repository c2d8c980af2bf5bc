// A fiber that has finished its thread goes on with the next one that has not begun, so a kernel
// without barriers and shuffles runs as a plain loop; only a thread that waits costs a switch. Who
// may run is a mask of waves and, in each, a mask of lanes; a wave goes on as long as it can, while
// its stacks are in the cache.
#include "fibers.h"

#include <sys/mman.h>

#include <memory>
#include <vector>

#include "switching.h"

namespace hipsim {
namespace {

constexpr unsigned most_threads = 1024, most_waves = most_threads / wave_size;
constexpr size_t stack_size = 256 << 10, page = 4096;

struct Fiber {
  char* stack;
  void* stack_pointer;  // while it is idle
};

struct Lane : Thread {
  Fiber* fiber;  // null until it begins
  void* stack_pointer;
  unsigned wave, meetings;
};

struct Wave {
  unsigned live, runnable;  // masks of lanes
  unsigned waiting;         // at a meeting
  unsigned at_barrier;
  unsigned met;  // the lanes of the last meeting
  int operation;
  unsigned long brought[2][wave_size];
};

Lane lanes[most_threads];
Wave waves[most_waves];
unsigned runnable;        // mask of waves that have runnable lanes
unsigned alive, arrived;  // threads of the block
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber*> idle;
Lane* beginning;  // what the fiber that is switched to shall begin
void* scheduler;
const char* failure;
unsigned randomness = 1;

struct {
  unsigned waves;
  Order order;
  void (*call)(char*);
  char* arguments;
} job;

Fiber* fresh_fiber() {
  if (!idle.empty()) {
    Fiber* const fiber = idle.back();
    idle.pop_back();
    return fiber;
  }
  auto fiber = std::make_unique<Fiber>();
  fiber->stack = static_cast<char*>(mmap(nullptr, stack_size, PROT_READ | PROT_WRITE,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  mprotect(fiber->stack, page, PROT_NONE);
  // Stacks that begin at different offsets do not fight for the same lines of the cache.
  const size_t stagger = fibers.size() * 320 % page / 16 * 16;
  void** top = reinterpret_cast<void**>(fiber->stack + stack_size - 64 - stagger);
  *--top = reinterpret_cast<void*>(hipsim_boot);
  for (int saved = 0; saved < 6; saved++) *--top = nullptr;
  fiber->stack_pointer = top;
  fibers.push_back(std::move(fiber));
  return fibers.back().get();
}

// One of the bits of a mask that is not 0, by the order that is tried.
unsigned choose(unsigned mask) {
  if (job.order == Order::forward) return (unsigned)__builtin_ctz(mask);
  if (job.order == Order::reverse) return 31 - (unsigned)__builtin_clz(mask);
  randomness = randomness * 1664525u + 1013904223u;
  for (unsigned skip = (randomness >> 8) % (unsigned)__builtin_popcount(mask); skip; skip--) {
    mask &= mask - 1;
  }
  return (unsigned)__builtin_ctz(mask);
}

// The next lane to run, of this wave if it has one; null if all wait or have ended.
Lane* next_of(unsigned wave) {
  if (!waves[wave].runnable || job.order == Order::random) {
    if (!runnable) return nullptr;
    wave = choose(runnable);
  }
  const unsigned lane = choose(waves[wave].runnable);
  waves[wave].runnable &= ~(1u << lane);
  if (!waves[wave].runnable) runnable &= ~(1u << wave);
  return lanes + wave * wave_size + lane;
}

void let_run(unsigned wave, unsigned mask) {
  waves[wave].runnable |= mask;
  if (waves[wave].runnable) runnable |= 1u << wave;
}

// Leave the running fiber, whose stack pointer goes to `save`, for a lane or for the scheduler.
void go_on(Lane* next, void** save) {
  if (!next) {
    hipsim_switch(save, scheduler);
  } else if (next->fiber) {
    hipsim_switch(save, next->stack_pointer);
  } else {
    beginning = next;
    next->fiber = fresh_fiber();
    hipsim_switch(save, next->fiber->stack_pointer);
  }
}

void wait(Lane* lane) {
  Lane* const next = next_of(lane->wave);
  if (next != lane) go_on(next, &lane->stack_pointer);
}

void release_wave(unsigned number) {
  Wave& wave = waves[number];
  wave.met = wave.live;
  let_run(number, wave.waiting);
  wave.waiting = 0;
}

void release_block() {
  arrived = 0;
  for (unsigned number = 0; number < job.waves; number++) {
    let_run(number, waves[number].at_barrier);
    waves[number].at_barrier = 0;
  }
}

void fail(Thread* thread, const char* why) {
  failure = why;
  hipsim_switch(&static_cast<Lane*>(thread)->stack_pointer, scheduler);
}

void barrier(Thread* thread) {
  Lane* const lane = static_cast<Lane*>(thread);
  if (++arrived == alive) return release_block();
  waves[lane->wave].at_barrier |= 1u << lane->lane;
  wait(lane);
}

Meeting meet(Thread* thread, unsigned long brings, int operation, Together together) {
  Lane* const lane = static_cast<Lane*>(thread);
  Wave& wave = waves[lane->wave];
  // Two sets of slots in turn: a lane may bring its next value while others still read the last.
  unsigned long* const brought = wave.brought[lane->meetings++ & 1];
  brought[lane->lane] = brings;
  if (!wave.waiting) wave.operation = operation;
  if (wave.operation != operation) fail(thread, "lanes of one wave meet at different operations");
  const unsigned here = wave.waiting | 1u << lane->lane;
  if (here == wave.live) {
    if (together) together(brought);
    release_wave(lane->wave);
  } else {
    wave.waiting = here;
    wait(lane);
  }
  return {brought, wave.met};
}

// A thread that ends may be the one that the others wait for.
void end(Lane* lane) {
  Wave& wave = waves[lane->wave];
  wave.live &= ~(1u << lane->lane);
  alive--;
  if (wave.live && wave.waiting == wave.live) release_wave(lane->wave);
  if (alive && arrived == alive) release_block();
}

}  // namespace

const char* run_block(Block& block, unsigned threads, Order order, void (*call)(char*),
                      char* arguments) {
  job = {(threads + wave_size - 1) / wave_size, order, call, arguments};
  block.barrier = barrier;
  block.meet = meet;
  block.fail = fail;
  runnable = arrived = 0;
  alive = threads;
  failure = nullptr;
  const unsigned width = block.size.x, height = block.size.y;
  for (unsigned number = 0; number < job.waves; number++) {
    const unsigned left = threads - number * wave_size;
    const unsigned all = left >= wave_size ? ~0u : (1u << left) - 1;
    Wave& wave = waves[number];
    wave.live = all;
    wave.runnable = wave.waiting = wave.at_barrier = 0;
    let_run(number, all);
  }
  for (unsigned i = 0; i < threads; i++) {
    Lane& lane = lanes[i];
    lane.index = height == 1 && width == threads
                     ? Dim{i, 0, 0}
                     : Dim{i % width, i / width % height, i / (width * height)};
    lane.lane = i % wave_size;
    lane.block = &block;
    lane.fiber = nullptr;
    lane.wave = i / wave_size;
    lane.meetings = 0;
  }
  go_on(next_of(order == Order::reverse ? job.waves - 1 : 0), &scheduler);
  if (!failure && alive) {
    failure = "threads wait for others that never arrive (a divergent barrier or shuffle)";
  }
  if (failure) forget_fibers();
  return failure;
}

void forget_fibers() {
  for (const auto& fiber : fibers) munmap(fiber->stack, stack_size);
  fibers.clear();
  idle.clear();
}

}  // namespace hipsim

extern "C" void hipsim_fiber() {
  using namespace hipsim;
  for (;;) {
    Lane* lane = beginning;
    Fiber* const fiber = lane->fiber;
    for (;;) {
      hipsim_enter(job.call, job.arguments, lane);
      end(lane);
      Lane* const next = next_of(lane->wave);
      if (!next || next->fiber) {
        idle.push_back(fiber);
        go_on(next, &fiber->stack_pointer);
        break;  // somebody took this fiber from the idle ones
      }
      next->fiber = fiber;
      lane = next;
    }
  }
}
