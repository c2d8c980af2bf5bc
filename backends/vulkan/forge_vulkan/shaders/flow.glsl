// Order between the kernels of one token without barriers: each work group waits until all of those
// before have finished, and says so when it has itself (runtime/recording.py). It begins as soon as
// there is room for it, so what does not depend on others is done while they still work.
//
// Work groups of an earlier kernel are there before those of a later one on the devices that take
// this way (runtime/features.py). A wait that does not end makes NaN, which no reply survives.
//
// What was written is made available before it is counted. Nothing is invalidated after a wait: a
// recording never writes what was read since its last barrier (forge_gpu/flow.py), so no cache has it.
// Reads of what others made add the `lateness` to their index, so that none can move ahead of it.
//
// Needs FLOW_ID and FLOW_BINDING, and `Awaited awaited;` at the end of the push constants.

layout(constant_id = FLOW_ID) const uint WAITS = 0;
layout(binding = FLOW_BINDING) volatile buffer Flow { uint finished_groups[]; };

shared uint flow_late;

// Waits; 0, or 1 where what came before did not end in a second or two.
uint lateness(Awaited what) {
    if (WAITS == 0 || what.groups == 0) return 0;
    if (gl_LocalInvocationIndex == 0) {
        uint tries = 0, finished;
        do finished = finished_groups[what.at]; while (finished < what.groups && ++tries < 1 << 21);
        flow_late = finished < what.groups ? 1 : 0;
    }
    barrier();
    return flow_late;
}

// To be called by all invocations, once, when they have written what others read.
void say_finished(Awaited what) {
    if (WAITS == 0) return;
    memoryBarrierBuffer();
    barrier();
    if (gl_LocalInvocationIndex == 0) atomicAdd(finished_groups[what.own], 1);
}
