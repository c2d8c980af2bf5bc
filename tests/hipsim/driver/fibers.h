// The threads of a block as fibers, one running at a time, in an order that tests choose.
#pragma once
#include "../prelude/abi.h"

namespace hipsim {

enum class Order { forward, reverse, random };

// Run the threads of one block to their end. `threads` of them, in an `order`.
// Null if all went well, else why the launch failed.
const char* run_block(Block& block, unsigned threads, Order order, void (*call)(char*),
                      char* arguments);

// After a block was left by a signal: no fiber is what it was.
void forget_fibers();

}  // namespace hipsim
