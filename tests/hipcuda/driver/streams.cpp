// The API: streams, events, capture and graphs.
#include "cuda_driver.h"

HIP_API hipStreamCreateWithFlags(CUstream* stream, unsigned flags) {
  return CUDA(cuStreamCreate, stream, flags);
}
HIP_API hipStreamCreate(CUstream* stream) { return hipStreamCreateWithFlags(stream, 0); }
HIP_API hipStreamDestroy(CUstream stream) { return CUDA(cuStreamDestroy, stream); }
HIP_API hipStreamSynchronize(CUstream stream) { return CUDA(cuStreamSynchronize, stream); }
HIP_API hipStreamQuery(CUstream stream) { return CUDA(cuStreamQuery, stream); }
HIP_API hipStreamWaitEvent(CUstream stream, CUevent event, unsigned flags) {
  return CUDA(cuStreamWaitEvent, stream, event, flags);
}
HIP_API hipDeviceSynchronize() { return CUDA(cuCtxSynchronize); }

HIP_API hipEventCreateWithFlags(CUevent* event, unsigned flags) {
  return CUDA(cuEventCreate, event, flags & 3);  // blocking, no timing: CUDA's numbers
}
HIP_API hipEventCreate(CUevent* event) { return hipEventCreateWithFlags(event, 0); }
HIP_API hipEventDestroy(CUevent event) { return CUDA(cuEventDestroy, event); }
HIP_API hipEventRecord(CUevent event, CUstream stream) { return CUDA(cuEventRecord, event, stream); }
HIP_API hipEventSynchronize(CUevent event) { return CUDA(cuEventSynchronize, event); }
HIP_API hipEventQuery(CUevent event) { return CUDA(cuEventQuery, event); }
HIP_API hipEventElapsedTime(float* milliseconds, CUevent from, CUevent to) {
  return CUDA(cuEventElapsedTime, milliseconds, from, to);
}

HIP_API hipStreamBeginCapture(CUstream stream, int mode) {
  return CUDA(cuStreamBeginCapture, stream, (CUstreamCaptureMode)mode);
}
HIP_API hipStreamEndCapture(CUstream stream, CUgraph* graph) {
  return CUDA(cuStreamEndCapture, stream, graph);
}
HIP_API hipStreamIsCapturing(CUstream stream, int* status) {
  return CUDA(cuStreamIsCapturing, stream, (CUstreamCaptureStatus*)status);
}
HIP_API hipGraphInstantiateWithFlags(CUgraphExec* executable, CUgraph graph,
                                     unsigned long long flags) {
  return CUDA(cuGraphInstantiateWithFlags, executable, graph, flags);
}
HIP_API hipGraphInstantiate(CUgraphExec* executable, CUgraph graph, void*, char*, size_t) {
  return hipGraphInstantiateWithFlags(executable, graph, 0);
}
HIP_API hipGraphUpload(CUgraphExec executable, CUstream stream) {
  return CUDA(cuGraphUpload, executable, stream);
}
HIP_API hipGraphLaunch(CUgraphExec executable, CUstream stream) {
  return CUDA(cuGraphLaunch, executable, stream);
}
HIP_API hipGraphGetNodes(CUgraph graph, CUgraphNode* nodes, size_t* count) {
  return CUDA(cuGraphGetNodes, graph, nodes, count);
}
HIP_API hipGraphDestroy(CUgraph graph) { return CUDA(cuGraphDestroy, graph); }
HIP_API hipGraphExecDestroy(CUgraphExec executable) { return CUDA(cuGraphExecDestroy, executable); }
