// Two and four numbers that are read and written at once: global_load_b64 and _b128.

template <class T>
struct alignas(2 * sizeof(T)) Two {
    T v[2];
    INLINE T& operator[](u32 i) { return v[i]; }
    INLINE const T& operator[](u32 i) const { return v[i]; }
};
template <class T>
struct alignas(4 * sizeof(T)) Four {
    T v[4];
    INLINE T& operator[](u32 i) { return v[i]; }
    INLINE const T& operator[](u32 i) const { return v[i]; }
};
typedef Two<float> f2;
typedef Two<u32> u2;
typedef Four<float> f4;
typedef Four<u32> u4;

// The same, number by number: clang leaves in memory what is only ever copied whole.
template <class T>
INLINE Four<T> each(const Four<T>& a) {
    return {{a[0], a[1], a[2], a[3]}};
}

INLINE f4 four(float x) { return f4{{x, x, x, x}}; }
INLINE u4 four(u32 x) { return u4{{x, x, x, x}}; }

template <class T>
INLINE Four<T> operator+(const Four<T>& a, const Four<T>& b) {
    return {{a[0] + b[0], a[1] + b[1], a[2] + b[2], a[3] + b[3]}};
}
template <class T>
INLINE Four<T> operator*(const Four<T>& a, T b) {
    return {{a[0] * b, a[1] * b, a[2] * b, a[3] * b}};
}
INLINE f4 operator*(const f4& a, const f4& b) {
    return {{a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]}};
}
INLINE float dot(const f4& a, const f4& b) {
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
}
INLINE u4 operator&(const u4& a, u32 b) { return {{a[0] & b, a[1] & b, a[2] & b, a[3] & b}}; }
INLINE u4 operator>>(const u4& a, u32 b) { return {{a[0] >> b, a[1] >> b, a[2] >> b, a[3] >> b}}; }
INLINE u4 operator<<(const u4& a, u32 b) { return {{a[0] << b, a[1] << b, a[2] << b, a[3] << b}}; }
INLINE u4 operator|(const u4& a, const u4& b) {
    return {{a[0] | b[0], a[1] | b[1], a[2] | b[2], a[3] | b[3]}};
}
INLINE u4 operator-(const u4& a, const u4& b) {
    return {{a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]}};
}

INLINE u32 least(u32 a, u32 b) { return a < b ? a : b; }
INLINE u32 most(u32 a, u32 b) { return a > b ? a : b; }
INLINE i32 least(i32 a, i32 b) { return a < b ? a : b; }
INLINE i32 most(i32 a, i32 b) { return a > b ? a : b; }

// Two halves of a word as numbers, and back.
INLINE f2 two_halves(u32 word) { return {{half_number(word & 0xffffu), half_number(word >> 16)}}; }
INLINE u32 as_halves(float low, float high) { return half_bits(low) | half_bits(high) << 16; }

INLINE i32 dot16(const u4& a, const u4& b) {
    return dot4(a[0], b[0], dot4(a[1], b[1], dot4(a[2], b[2], dot4(a[3], b[3], 0))));
}

// Words of the frame: what changes from run to run. Behind them i32 tokens, positions, slots and
// rows, of FRAME_CHUNK each.
constexpr u32 FRAME_TOKENS = 0, FRAME_ROWS = 1, FRAME_REACH = 2, FRAME_CHUNK = 3, FRAME_HEADER = 8;
