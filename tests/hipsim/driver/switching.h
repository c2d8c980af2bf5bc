// The few instructions that C++ has no words for (x86-64, System V calling convention).
#pragma once
#include "../prelude/abi.h"

extern "C" {
// Save the callee-saved registers and the stack pointer, and go on with another stack.
void hipsim_switch(void** save, void* to);
// Call a kernel with register r15 pointing at its thread.
void hipsim_enter(void (*call)(char*), char* arguments, hipsim::Thread* thread);
// Where a new fiber begins: calls hipsim_fiber, which does not return.
void hipsim_boot();
void hipsim_fiber();
}
