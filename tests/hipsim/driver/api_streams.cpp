// The API: streams, events, capture and graphs.
#include <algorithm>
#include <chrono>

#include "call.h"
#include "counters.h"
#include "devices.h"
#include "streams.h"

using namespace hipsim;

namespace {

double milliseconds() {
  using namespace std::chrono;
  return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

struct State {
  bool recorded = false, done = false, captured = false;
  double at = 0;
  Stream* stream = nullptr;
};

}  // namespace

// An event's state outlives it in the queue: destroying one early is allowed.
struct hipEvent {
  std::shared_ptr<State> state = std::make_shared<State>();
};

HIP_API hipStreamCreateWithFlags(Stream** stream, unsigned flags) {
  Call call("hipStreamCreate");
  call.require(!devices().empty(), hipErrorNoDevice);
  if (call.error) return call.answer();
  if (!(flags & 1)) call.misuse("a stream that waits for the null stream");
  if (call.error) return call.answer();
  *stream = new Stream;
  (*stream)->device = current_device();
  (*stream)->flags = flags;
  all_streams().push_back(*stream);
  return call.answer();
}
HIP_API hipStreamCreate(Stream** stream) { return hipStreamCreateWithFlags(stream, 0); }
HIP_API hipStreamCreateWithPriority(Stream** stream, unsigned flags, int) {
  return hipStreamCreateWithFlags(stream, flags);
}

HIP_API hipStreamDestroy(Stream* stream) {
  Call call("hipStreamDestroy");
  call.require(stream && is_stream(stream), hipErrorInvalidHandle);
  if (call.error) return call.answer();
  finish(*stream);
  all_streams().erase(std::find(all_streams().begin(), all_streams().end(), stream));
  delete stream;
  return call.answer();
}

HIP_API hipStreamSynchronize(Stream* stream) {
  Call call("hipStreamSynchronize", stream ? "" : "null");
  if (!stream) call.misuse("the null stream");
  call.not_while_capturing();
  call.require(!stream || is_stream(stream), hipErrorInvalidHandle);
  return call.answer(call.error ? call.error : finish(stream ? *stream : null_stream()));
}

HIP_API hipStreamQuery(Stream* stream) {
  Call call("hipStreamQuery", stream ? "" : "null");
  if (!stream) call.misuse("the null stream");
  call.not_while_capturing();
  call.require(!stream || is_stream(stream), hipErrorInvalidHandle);
  if (call.error) return call.answer();
  Stream& on = stream ? *stream : null_stream();
  return call.answer(look(on, [&] { return on.queue.empty(); }));
}

HIP_API hipEventCreateWithFlags(hipEvent** event, unsigned) {
  Call call("hipEventCreate");
  call.require(!devices().empty(), hipErrorNoDevice);
  if (!call.error) *event = new hipEvent;
  return call.answer();
}
HIP_API hipEventCreate(hipEvent** event) { return hipEventCreateWithFlags(event, 0); }

HIP_API hipEventDestroy(hipEvent* event) {
  Call call("hipEventDestroy");
  delete event;
  return call.answer();
}

HIP_API hipEventRecord(hipEvent* event, Stream* stream) {
  Call call("hipEventRecord", stream ? "" : "null");
  if (!stream) call.misuse("the null stream");
  call.require(event && (!stream || is_stream(stream)), hipErrorInvalidHandle);
  if (call.error) return call.answer();
  Stream& on = stream ? *stream : null_stream();
  event->state = std::make_shared<State>();
  event->state->recorded = true;
  event->state->captured = (bool)on.capture;
  event->state->stream = &on;
  return call.answer(enqueue(on, {[state = event->state](bool) {
                                    state->at = milliseconds();
                                    state->done = true;
                                    return hipSuccess;
                                  },
                                  "record"}));
}

HIP_API hipEventQuery(hipEvent* event) {
  Call call("hipEventQuery");
  call.not_while_capturing();
  call.require(event, hipErrorInvalidHandle);
  if (call.error) return call.answer();
  const State& state = *event->state;
  if (state.captured) return call.answer(hipErrorCapturedEvent);
  if (!state.recorded) return call.answer();
  return call.answer(look(*state.stream, [&] { return state.done; }));
}

HIP_API hipEventSynchronize(hipEvent* event) {
  Call call("hipEventSynchronize");
  call.not_while_capturing();
  call.require(event, hipErrorInvalidHandle);
  if (call.error) return call.answer();
  const State& state = *event->state;
  if (state.captured) return call.answer(hipErrorCapturedEvent);
  return call.answer(state.recorded && !state.done ? finish(*state.stream) : hipSuccess);
}

HIP_API hipEventElapsedTime(float* milliseconds, hipEvent* from, hipEvent* to) {
  Call call("hipEventElapsedTime");
  call.require(from && to && from->state->recorded && to->state->recorded, hipErrorInvalidHandle);
  if (call.error) return call.answer();
  if (!from->state->done || !to->state->done) return call.answer(hipErrorNotReady);
  *milliseconds = (float)(to->state->at - from->state->at);
  return call.answer();
}

HIP_API hipStreamWaitEvent(Stream* stream, hipEvent* event, unsigned) {
  Call call("hipStreamWaitEvent", stream ? "" : "null");
  if (!stream) call.misuse("the null stream");
  call.require(event && (!stream || is_stream(stream)), hipErrorInvalidHandle);
  if (call.error || !event->state->recorded) return call.answer();
  return call.answer(enqueue(stream ? *stream : null_stream(),
                             {[state = event->state](bool) {
                                return state->done || state->captured ? hipSuccess
                                                                      : finish(*state->stream);
                              },
                              "wait"}));
}

HIP_API hipStreamBeginCapture(Stream* stream, int mode) {
  Call call("hipStreamBeginCapture");
  call.require(stream && is_stream(stream) && !stream->capture, hipErrorStreamCaptureUnsupported);
  if (call.error) return call.answer();
  stream->capture = std::make_shared<Graph>();
  stream->relaxed = mode == 2;
  return call.answer();
}

HIP_API hipStreamEndCapture(Stream* stream, Graph** graph) {
  Call call("hipStreamEndCapture");
  *graph = nullptr;
  call.require(stream && is_stream(stream) && stream->capture, hipErrorStreamCaptureUnmatched);
  if (call.error) return call.answer();
  const std::shared_ptr<Graph> captured = std::move(stream->capture);
  stream->capture = nullptr;
  if (captured->spoilt) return call.answer(hipErrorStreamCaptureInvalidated);
  *graph = new Graph(*captured);
  return call.answer();
}

HIP_API hipStreamIsCapturing(Stream* stream, int* status) {
  Call call("hipStreamIsCapturing");
  call.require(stream && is_stream(stream), hipErrorInvalidHandle);
  if (!call.error) *status = !stream->capture ? 0 : stream->capture->spoilt ? 2 : 1;
  return call.answer();
}

HIP_API hipGraphInstantiateWithFlags(Graph** executable, Graph* graph, unsigned long) {
  Call call("hipGraphInstantiate");
  call.require(graph, hipErrorInvalidHandle);
  if (!call.error) *executable = new Graph(*graph);
  return call.answer();
}
HIP_API hipGraphInstantiate(Graph** executable, Graph* graph, void**, char*, size_t) {
  return hipGraphInstantiateWithFlags(executable, graph, 0);
}

HIP_API hipGraphUpload(Graph* executable, Stream* stream) {
  Call call("hipGraphUpload");
  if (!stream) call.misuse("the null stream");
  call.require(executable, hipErrorInvalidHandle);
  return call.answer();
}

HIP_API hipGraphLaunch(Graph* executable, Stream* stream) {
  Call call("hipGraphLaunch", stream ? "" : "null", executable ? executable->work.size() : 0);
  if (!stream) call.misuse("the null stream");
  call.require(executable && (!stream || is_stream(stream)), hipErrorInvalidHandle);
  if (call.error) return call.answer();
  for (const Work& work : executable->work) {
    if (const hipError error = enqueue(stream ? *stream : null_stream(), work)) {
      return call.answer(error);
    }
  }
  return call.answer();
}

HIP_API hipGraphGetNodes(Graph* graph, void**, size_t* nodes) {
  Call call("hipGraphGetNodes");
  call.require(graph, hipErrorInvalidHandle);
  if (!call.error) *nodes = graph->work.size();
  return call.answer();
}

HIP_API hipGraphDestroy(Graph* graph) {
  Call call("hipGraphDestroy");
  delete graph;
  return call.answer();
}
HIP_API hipGraphExecDestroy(Graph* executable) {
  Call call("hipGraphExecDestroy");
  delete executable;
  return call.answer();
}
