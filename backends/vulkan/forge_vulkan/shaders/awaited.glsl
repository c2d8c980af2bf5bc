// What a work group waits for and what it adds to, words of the flow's buffer: flow.glsl.
struct Awaited {
    uint at, groups;  // that many have added themselves there; 0: none is waited for
    uint own;
};
