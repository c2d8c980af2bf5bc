// Writes a number that the host looks at when the device does not come back.
//! constants: 1 1
//! budget: vgpr 8 lds 0

struct Push { i32 number; };

INLINE void run(i32* mark, const Push push) { write_system(mark, push.number); }
