// What a compiled kernel and the driver know of each other. No header is included here, so that
// a kernel sees no name that the real compiler would not give it.
#pragma once

namespace hipsim {

constexpr unsigned wave_size = 32;

struct Dim {
  unsigned x, y, z;
};

struct Thread;

// One rendezvous of a wave: what each lane brought, and which lanes are still running.
struct Meeting {
  const unsigned long* brought;
  unsigned live;
};

// Work that the last lane to arrive does for all of them (a matrix product, for example).
using Together = void (*)(const unsigned long* brought);

struct Block {
  Dim index, size, grid;
  char* shared;  // dynamic shared memory
  void (*barrier)(Thread*);
  Meeting (*meet)(Thread*, unsigned long brings, int operation, Together);
  void (*fail)(Thread*, const char* why);
};

struct Thread {
  Dim index;
  unsigned lane;
  Block* block;
};

enum class Role : unsigned char { value, input, output };  // a pointer to const is an input

// One line of a module's table, which ends with a null name.
struct Kernel {
  const char* name;
  void (*call)(char* arguments);
  unsigned count;           // of arguments
  const unsigned* offsets;  // as in a kernarg segment: natural alignment
  const unsigned* sizes;
  const Role* roles;
  unsigned bytes;
};

}  // namespace hipsim
