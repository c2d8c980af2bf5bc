// A fiber that has finished its thread goes on with the next one that has not begun, so a kernel
// without barriers and shuffles runs as a plain loop; only a thread that waits costs a switch.
#include "fibers.h"

#include <sys/mman.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "switching.h"

namespace hipsim {
namespace {

constexpr unsigned most_threads = 1024, most_waves = most_threads / wave_size;
constexpr size_t stack_size = 256 << 10, page = 4096;

struct Fiber {
  char* stack;
  void* stack_pointer;
};

struct Lane : Thread {
  Fiber* fiber = nullptr;  // null until it begins
  unsigned wave = 0;
  unsigned meetings = 0;
  int operation = 0;
  bool waits = false;  // at the block's barrier
};

struct Wave {
  unsigned live = 0, waiting = 0;  // bit masks of lanes
  unsigned met = 0;                // the lanes of the last meeting
  unsigned long brought[2][wave_size];
};

Lane lanes[most_threads];
Wave waves[most_waves];
Lane* ready[most_threads];  // a ring: each lane is in it at most once
unsigned head, queued;
unsigned alive, arrived;  // of the block

std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber*> idle;
Lane* beginning;  // what the fiber that is switched to shall begin
void* scheduler;
const char* failure;
unsigned randomness = 1;

struct {
  unsigned threads;
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

void push(Lane* lane) { ready[(head + queued++) % most_threads] = lane; }

Lane* pop() {
  if (!queued) return nullptr;
  if (job.order == Order::random) {
    randomness = randomness * 1664525u + 1013904223u;
    std::swap(ready[head], ready[(head + (randomness >> 8) % queued) % most_threads]);
  }
  Lane* const lane = ready[head];
  head = (head + 1) % most_threads;
  queued--;
  return lane;
}

// Leave the running fiber, whose stack pointer goes to `save`, for a lane or for the scheduler.
void go_on(Lane* next, void** save) {
  if (!next) {
    hipsim_switch(save, scheduler);
  } else if (next->fiber) {
    hipsim_switch(save, next->fiber->stack_pointer);
  } else {
    beginning = next;
    next->fiber = fresh_fiber();
    hipsim_switch(save, next->fiber->stack_pointer);
  }
}

void wait(Lane* lane) {
  Lane* const next = pop();
  if (next != lane) go_on(next, &lane->fiber->stack_pointer);
}

template <class Function>
void each(unsigned count, Function function) {
  for (unsigned i = 0; i < count; i++) function(job.order == Order::reverse ? count - 1 - i : i);
}

void release_wave(Wave& wave) {
  wave.met = wave.live;
  const unsigned waiting = wave.waiting;
  wave.waiting = 0;
  Lane* const first = lanes + (&wave - waves) * wave_size;
  each(wave_size, [&](unsigned i) {
    if (waiting >> i & 1) push(first + i);
  });
}

void release_block() {
  arrived = 0;
  each(job.threads, [](unsigned i) {
    if (!lanes[i].waits) return;
    lanes[i].waits = false;
    push(lanes + i);
  });
}

void fail(Thread* thread, const char* why) {
  failure = why;
  hipsim_switch(&static_cast<Lane*>(thread)->fiber->stack_pointer, scheduler);
}

void barrier(Thread* thread) {
  Lane* const lane = static_cast<Lane*>(thread);
  if (++arrived == alive) return release_block();
  lane->waits = true;
  wait(lane);
}

Meeting meet(Thread* thread, unsigned long brings, int operation, Together together) {
  Lane* const lane = static_cast<Lane*>(thread);
  Wave& wave = waves[lane->wave];
  // Two sets of slots in turn: a lane may bring its next value while others still read the last.
  unsigned long* const brought = wave.brought[lane->meetings++ & 1];
  brought[lane->lane] = brings;
  lane->operation = operation;
  if ((wave.waiting | 1u << lane->lane) == wave.live) {
    Lane* const first = lanes + lane->wave * wave_size;
    for (unsigned i = 0; i < wave_size; i++) {
      if ((wave.live >> i & 1) && first[i].operation != operation) {
        fail(thread, "lanes of one wave meet at different operations");
      }
    }
    if (together) together(brought);
    release_wave(wave);
  } else {
    wave.waiting |= 1u << lane->lane;
    wait(lane);
  }
  return {brought, wave.met};
}

// A thread that ends may be the one that the others wait for.
void end(Lane* lane) {
  Wave& wave = waves[lane->wave];
  wave.live &= ~(1u << lane->lane);
  alive--;
  if (wave.live && wave.waiting == wave.live) release_wave(wave);
  if (alive && arrived == alive) release_block();
}

}  // namespace

const char* run_block(Block& block, unsigned threads, Order order, void (*call)(char*),
                      char* arguments) {
  job = {threads, order, call, arguments};
  block.barrier = barrier;
  block.meet = meet;
  block.fail = fail;
  head = queued = arrived = 0;
  alive = threads;
  failure = nullptr;
  const unsigned width = block.size.x, height = block.size.y;
  for (unsigned i = 0; i < (threads + wave_size - 1) / wave_size; i++) {
    const unsigned left = threads - i * wave_size;
    waves[i].live = left >= wave_size ? ~0u : (1u << left) - 1;
    waves[i].waiting = 0;
  }
  for (unsigned i = 0; i < threads; i++) {
    Lane& lane = lanes[i];
    lane.index = {i % width, i / width % height, i / (width * height)};
    lane.lane = i % wave_size;
    lane.block = &block;
    lane.fiber = nullptr;
    lane.wave = i / wave_size;
    lane.meetings = 0;
    lane.waits = false;
  }
  each(threads, [](unsigned i) { push(lanes + i); });
  go_on(pop(), &scheduler);
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
      Lane* const next = pop();
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
