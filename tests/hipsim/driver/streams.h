// Streams do their work at the last moment at which a device may: in a wait, or in a query that
// was repeated. So a result that is read too early is not there yet, and a buffer that is used
// again too early is copied with its new contents.
#pragma once
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "errors.h"

namespace hipsim {

struct Work {
  std::function<hipError(bool corrupt)> run;
  std::string label;  // "kernel NAME", "copy h2d", "fill", "record": what a fault is matched with
  size_t size = 0;
};

struct Graph {
  std::vector<Work> work;
  bool spoilt = false;
};

struct Stream {
  int device = 0;
  unsigned flags = 0;
  std::deque<Work> queue;
  std::shared_ptr<Graph> capture;
  bool relaxed = false;  // this capture lets other calls be
  bool stalled = false;
  unsigned fruitless = 0;  // queries since work was last added or done
};

Stream& null_stream();
std::vector<Stream*>& all_streams();
bool is_stream(const Stream* stream);

// Add work to a stream, or to the graph that it is being captured into.
hipError enqueue(Stream& stream, Work work);

// Do everything; never returns once the device has stalled.
hipError finish(Stream& stream);
hipError finish_all();

// What a query sees: hipErrorNotReady until it was asked HIPSIM_LATE times, then after a slice of
// work, until `done` says so.
hipError look(Stream& stream, const std::function<bool()>& done);

// True if a stream is being captured in a mode that forbids unsafe calls; its capture is spoilt.
bool spoil_captures();

}  // namespace hipsim
