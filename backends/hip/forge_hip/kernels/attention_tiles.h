// The tiles of attention_coopmat.hip on their way to shared memory, and results on theirs between lanes.

// One head's keys or values are below 4 GiB: an offset of 32 bits to an address that all lanes share.
INLINE const u4& line_at(const u4* lines, u32 index) {
    return *(const u4*)((const u8*)lines + index * 16u);
}

struct Keys {
    u4 line[KEYS_EACH];

    INLINE void fetch(const u4* cached, i32 at, i32 last) {
        UNROLL for (u32 i = 0; i < KEYS_EACH; i++) {
            const u32 e = thread() + i * THREADS;
            const i32 row = least(at + (i32)(e / KEY_LINES), last);
            line[i] = each(line_at(cached, (u32)row * KEY_LINES + e % KEY_LINES));
        }
    }

    INLINE void put() const {
        UNROLL for (u32 i = 0; i < KEYS_EACH; i++) {
            const u32 e = thread() + i * THREADS;
            if (e < TILE * KEY_LINES) room[KEYS_AT + e / KEY_LINES * KEY_STEP + e % KEY_LINES] = each(line[i]);
        }
    }
};

INLINE bool finite(const u4& halves) {
    bool good = true;
    UNROLL for (u32 i = 0; i < 4; i++) {
        good = good && (halves[i] & 0x7c00u) != 0x7c00u && (halves[i] & 0x7c000000u) != 0x7c000000u;
    }
    return good;
}

// Eight columns of two neighbouring rows at a time.
struct Values {
    u4 line[2 * VALUES_EACH];

    INLINE void fetch(const u4* cached, i32 at, i32 last) {
        UNROLL for (u32 i = 0; i < VALUES_EACH; i++) {
            const u32 e = thread() + i * THREADS, column = least(e / PAIRS, VALUE_LINES - 1);
            UNROLL for (u32 j = 0; j < 2; j++) {
                const i32 row = least(at + (i32)(2 * (e % PAIRS) + j), last);
                line[2 * i + j] = each(line_at(cached, (u32)row * VALUE_LINES + column));
            }
        }
    }

    // By columns: two rows of each are a word.
    INLINE void put(i32 at, i32 last) const {
        UNROLL for (u32 i = 0; i < VALUES_EACH; i++) {
            const u32 e = thread() + i * THREADS, pair = e % PAIRS, column = e / PAIRS * 8;
            if (e >= PAIRS * VALUE_LINES) continue;
            const i32 row = at + (i32)(2 * pair);
            const u32 first = row <= last ? 0xffffffffu : 0u, second = row < last ? 0xffffffffu : 0u;
            const u4 a = line[2 * i] & first, b = line[2 * i + 1] & second;
            if (!finite(a) || !finite(b)) spoiled = 1;
            u32* to = (u32*)(room + VALUES_AT + column * COLUMN_STEP) + pair;
            UNROLL for (u32 j = 0; j < 4; j++) {
                to[2 * j * COLUMN_STEP * 4] = bytes_of(b[j], a[j], 0x05040100u);
                to[(2 * j + 1) * COLUMN_STEP * 4] = bytes_of(b[j], a[j], 0x07060302u);
            }
        }
    }
};

INLINE u32 of_other_half(u32 word) { return as_bits(of_other<16>(as_float(word))); }

// A result's rows, of this lane's column, as the next product takes a line of its numbers.
INLINE Operand as_operand(const Sums8& sums) {
    u4 own;
    UNROLL for (u32 i = 0; i < 4; i++) own[i] = as_halves(sums[2 * i], sums[2 * i + 1]);
#if RDNA4
    return {{own}};
#else
    Operand made;
    const bool upper = lane() >= 16;
    UNROLL for (u32 i = 0; i < 4; i++) {
        const u32 theirs = of_other_half(own[i]);
        const u32 even = upper ? theirs : own[i], odd = upper ? own[i] : theirs;
        made.line[i / 2][i % 2 * 2] = bytes_of(odd, even, 0x05040100u);
        made.line[i / 2][i % 2 * 2 + 1] = bytes_of(odd, even, 0x07060302u);
    }
    return made;
#endif
}

// Of a result's column the rows 8 * (lane / 16) and the seven that follow.
INLINE void neighbours(const Sums8& sums, f4 line[2]) {
#if RDNA4
    UNROLL for (u32 i = 0; i < 8; i++) line[i / 4][i % 4] = sums[i];
#else
    const bool upper = lane() >= 16;
    UNROLL for (u32 i = 0; i < 4; i++) {
        const float got = of_other<16>(upper ? sums[i] : sums[4 + i]);
        line[i / 2][i % 2 * 2] = upper ? got : sums[i];
        line[i / 2][i % 2 * 2 + 1] = upper ? sums[4 + i] : got;
    }
#endif
}
