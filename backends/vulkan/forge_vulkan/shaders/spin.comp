// Waits for a word that nobody writes, so that a fence stalls: a way to fail on purpose.
#version 450
layout(local_size_x = 1) in;

layout(set = 0, binding = 0) volatile buffer Data { uint data[]; };
layout(push_constant) uniform Push { uint millions; };

void main() {
    for (uint i = 0; i < millions; i++) {
        for (uint j = 0; j < 1000000; j++) {
            if (data[0] != 0) {
                return;
            }
        }
    }
}
