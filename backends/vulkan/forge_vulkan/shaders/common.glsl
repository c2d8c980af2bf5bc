// What every shader begins with: a run's frame, and sums over a work group.

#extension GL_EXT_control_flow_attributes : require
#extension GL_GOOGLE_include_directive : require
#if defined(SUBGROUPS) && SUBGROUPS
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_arithmetic : require
#endif

layout(local_size_x_id = 0, local_size_y = 1, local_size_z = 1) in;
layout(constant_id = 0) const uint THREADS = 64;  // of a work group
layout(constant_id = 1) const uint LANES = 8;     // of a subgroup, where SUBGROUPS is 1

// Words of the frame: what changes from run to run.
const uint FRAME_TOKENS = 0;     // T, tokens of this run
const uint FRAME_ROWS = 1;       // R, rows whose outputs are wanted
const uint FRAME_REACH = 2;      // positions that any token of this run may see, plus one
const uint FRAME_CHUNK = 3;      // room of each array
const uint FRAME_HEADER = 8;     // then i32 tokens [chunk], positions [chunk], slots [chunk], rows [chunk]
