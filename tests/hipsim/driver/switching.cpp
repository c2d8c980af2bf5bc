#include "switching.h"

asm(R"(
.text
.globl hipsim_switch
.hidden hipsim_switch
.type hipsim_switch, @function
hipsim_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret

.globl hipsim_enter
.hidden hipsim_enter
.type hipsim_enter, @function
hipsim_enter:
  push %r15
  mov %rdx, %r15
  mov %rdi, %rax
  mov %rsi, %rdi
  call *%rax
  pop %r15
  ret

.globl hipsim_boot
.hidden hipsim_boot
.type hipsim_boot, @function
hipsim_boot:
  call hipsim_fiber
  ud2

.section .note.GNU-stack, "", @progbits
)");
