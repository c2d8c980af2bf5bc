#include "kernels.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <ucontext.h>

#include <cstring>

#include "counters.h"
#include "fibers.h"
#include "settings.h"

namespace hipsim {
namespace {

constexpr size_t often = 64 << 10;  // bytes of shared memory that are poisoned before every block

sigjmp_buf out_of_the_kernel;
volatile sig_atomic_t in_a_kernel;
void* volatile culprit;

void on_signal(int number, siginfo_t*, void* context) {
  if (in_a_kernel) {
    in_a_kernel = 0;
    culprit = (void*)static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP];
    siglongjmp(out_of_the_kernel, number);
  }
  signal(number, SIG_DFL);
  raise(number);
}

// While a kernel runs, its bad addresses and UBSan's traps end up in on_signal.
class Guard {
 public:
  Guard() {
    alternate.ss_sp = stack;
    alternate.ss_size = sizeof stack;
    sigaltstack(&alternate, &before);
    struct sigaction action = {};
    action.sa_sigaction = on_signal;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int i = 0; i < 4; i++) sigaction(numbers[i], &action, previous + i);
  }
  ~Guard() {
    in_a_kernel = 0;
    for (int i = 0; i < 4; i++) sigaction(numbers[i], previous + i, nullptr);
    sigaltstack(&before, nullptr);
  }

 private:
  static constexpr int numbers[4] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
  alignas(16) char stack[65536];
  stack_t alternate = {}, before = {};
  struct sigaction previous[4];
};

hipError stopped_by(int number, const char* kernel) {
  Dl_info where = {};
  dladdr(culprit, &where);
  say("%s in kernel %s, at module+0x%zx",
      number == SIGILL   ? "undefined behaviour"
      : number == SIGFPE ? "division by zero"
                         : "an illegal address",
      kernel, (size_t)((char*)culprit - (char*)where.dli_fbase));
  if (settings().abort_on_fault) {
    say("Memory access fault by GPU node-1. Reason: Page not present or supervisor privilege.");
    abort();
  }
  forget_fibers();
  return number == SIGSEGV || number == SIGBUS ? hipErrorIllegalAddress : hipErrorLaunchFailure;
}

Order order() {
  const std::string& name = settings().order;
  return name == "reverse" ? Order::reverse : name == "random" ? Order::random : Order::forward;
}

// Of this thread's processor time.
unsigned long nanoseconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (unsigned long)now.tv_sec * 1000000000ul + (unsigned long)now.tv_nsec;
}

hipError run_blocks(Launch& launch, char* dynamic) {
  const Module& module = *launch.module;
  const unsigned threads = launch.block.x * launch.block.y * launch.block.z;
  Block block = {};
  block.size = launch.block;
  block.grid = launch.grid;
  block.shared = dynamic;
  const unsigned long blocks = (unsigned long)launch.grid.x * launch.grid.y * launch.grid.z;
  for (unsigned long i = 0; i < blocks; i++) {
    block.index = {(unsigned)(i % launch.grid.x), (unsigned)(i / launch.grid.x % launch.grid.y),
                   (unsigned)(i / launch.grid.x / launch.grid.y)};
    if (launch.shared_bytes) memset(dynamic, 0xff, launch.shared_bytes);
    if (module.shared_bytes <= often || i % 16 == 0) {
      memset(module.shared, 0xff, module.shared_bytes);
    }
    const char* const failure = run_block(block, threads, order(), launch.kernel->call,
                                          launch.arguments.data());
    if (failure) {
      say("kernel %s, block (%u, %u, %u): %s", launch.kernel->name, block.index.x, block.index.y,
          block.index.z, failure);
      return hipErrorLaunchFailure;
    }
  }
  return hipSuccess;
}

}  // namespace

hipError run(Launch& launch) {
  Guard guard;
  count(std::string("run:") + launch.kernel->name);
  static char dynamic[65536 + 256];
  char* const aligned = (char*)(((size_t)dynamic + 255) & ~(size_t)255);
  const int number = sigsetjmp(out_of_the_kernel, 1);
  if (number) return stopped_by(number, launch.kernel->name);
  in_a_kernel = 1;
  const unsigned long begun = nanoseconds();
  const hipError error = run_blocks(launch, aligned);
  count(std::string("ns:") + launch.kernel->name, nanoseconds() - begun);
  return error;
}

}  // namespace hipsim
