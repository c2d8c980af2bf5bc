#version 460
// Sorts blocks as they are in a file into one plane of a matrix (formats.py), a word at a time.
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

layout(constant_id = 2) const uint BLOCK_BYTES = 18;
layout(constant_id = 3) const uint OFFSET = 0;  // of the plane's bytes within a block
layout(constant_id = 4) const uint SIZE = 2;    // 1, 2 or a multiple of 4

layout(binding = 0) readonly buffer Blocks { uint blocks[]; };  // a word longer than they are
layout(binding = 1) writeonly buffer Plane { uint plane[]; };
layout(push_constant) uniform Push {
    uint from;   // word of `blocks` where the first block begins
    uint to;     // word of `plane` that is written first
    uint words;
};

// Four bytes from any byte on.
uint bytes_at(uint at) {
    const uint word = from + (at >> 2), shift = 8 * (at & 3);
    const uint low = blocks[word] >> shift;
    return shift == 0 ? low : low | (blocks[word + 1] << (32 - shift));
}

void main() {
    const uint i = gl_GlobalInvocationID.x;
    if (i >= words) return;
    uint value = 0;
    if (SIZE % 4 == 0) {
        const uint of_block = SIZE / 4;
        value = bytes_at(i / of_block * BLOCK_BYTES + OFFSET + 4 * (i % of_block));
    } else if (SIZE == 2) {
        const uint at = 2 * i * BLOCK_BYTES + OFFSET;
        value = (bytes_at(at) & 0xffffu) | (bytes_at(at + BLOCK_BYTES) << 16);
    } else {
        [[unroll]] for (uint j = 0; j < 4; j++)
            value |= (bytes_at((4 * i + j) * BLOCK_BYTES + OFFSET) & 0xffu) << (8 * j);
    }
    plane[to + i] = value;
}
