#include "streams.h"

#include <algorithm>
#include <chrono>

#include "counters.h"
#include "faults.h"
#include "settings.h"

namespace hipsim {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds slice{20};

// One piece of work; false if the device stops here.
bool step(Stream& stream, hipError& error) {
  const Work& work = stream.queue.front();
  const Verdict verdict = fault("device", work.label.c_str(), work.size);
  if (verdict.stall) {
    stream.stalled = true;
    return false;
  }
  error = lost();
  if (!error) error = verdict.error ? verdict.error : work.run(verdict.corrupt);
  if (error) {
    lose(error);
    stream.queue.clear();
    return false;
  }
  stream.queue.pop_front();
  return true;
}

}  // namespace

Stream& null_stream() {
  static Stream stream;
  return stream;
}

std::vector<Stream*>& all_streams() {
  static std::vector<Stream*> streams = {&null_stream()};
  return streams;
}

bool is_stream(const Stream* stream) {
  const std::vector<Stream*>& all = all_streams();
  return std::find(all.begin(), all.end(), stream) != all.end();
}

hipError enqueue(Stream& stream, Work work) {
  if (stream.capture) {
    stream.capture->work.push_back(std::move(work));
    return hipSuccess;
  }
  stream.queue.push_back(std::move(work));
  stream.fruitless = 0;
  return settings().eager ? finish(stream) : hipSuccess;
}

hipError finish(Stream& stream) {
  hipError error = lost();
  while (!error && !stream.queue.empty()) {
    if (stream.stalled || (!step(stream, error) && stream.stalled)) hang();
  }
  return error;
}

hipError finish_all() {
  hipError error = lost();
  for (Stream* stream : all_streams()) {
    if (!error) error = finish(*stream);
  }
  return error;
}

hipError look(Stream& stream, const std::function<bool()>& done) {
  hipError error = lost();
  if (error || done()) return error;
  if (stream.stalled || stream.fruitless++ < settings().late) return hipErrorNotReady;
  const Clock::time_point until = Clock::now() + slice;
  while (!error && !stream.queue.empty() && !done() && Clock::now() < until) {
    if (!step(stream, error)) break;
  }
  if (error) return error;
  return done() ? hipSuccess : hipErrorNotReady;
}

bool spoil_captures() {
  bool any = false;
  for (Stream* stream : all_streams()) {
    if (!stream->capture || stream->relaxed) continue;
    stream->capture->spoilt = true;
    any = true;
  }
  return any;
}

}  // namespace hipsim
