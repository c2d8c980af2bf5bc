"""Attention of a long run: a task is a block of tokens of one sequence and a head of keys.

The rows of a block share one pass over the keys, tile by tile; each row sees a little more of the
last tiles than the one before it.
"""

from __future__ import annotations

from numba import njit

from forge_cpu.isa import Isa
from forge_cpu.kernels.attention_parts import (
    HEADS,
    KEYS,
    KV_HEADS,
    PADDED,
    SCRATCH,
    SCRATCH_STRIDE,
    SIZE,
    SLOTS,
    SOFTCAP,
    TOKENS,
    VALUE_SIZE,
    VALUES,
    clear,
    copy_query,
    finish,
    first_key,
    larger,
    past_key,
    sizes,
    smaller,
    up,
)
from forge_cpu.kernels.attention_tiles import ROWS, blocking, scores, weigh
from forge_cpu.kernels.cells import Cells
from forge_cpu.kernels.kernel import Function
from forge_cpu.kernels.pointers import float_of, i32, i64
from forge_cpu.kernels.softmax import merge, soften
from forge_cpu.kv import BLOCK_ROWS, FEW, GROUP, HEADER, TILE


@njit(inline="always")
def _limits(reach, row, origin, limits):
    """The keys of the tile at `origin` that a row sees, as limits[0] to before limits[1]."""
    limits[0] = smaller(larger(reach[2 * row] - origin, 0), TILE)
    limits[1] = larger(smaller(reach[2 * row + 1] - origin, TILE), limits[0])


def many(kind: str, isa: Isa) -> Function:
    """The kernel for a kind of cache; it does nothing for up to FEW tokens."""
    group_bytes, row_bytes = sizes(kind)
    cells, shape = Cells(kind, isa is not Isa.GENERIC), blocking(isa)
    score, apply = scores(cells, shape), weigh(cells, shape)
    score_rows, value_rows = shape.score_rows, shape.value_rows

    def kernel(args, thread, threads):
        tokens, kv_heads, size = i64(args[TOKENS])[0], args[KV_HEADS], args[SIZE]
        if tokens <= FEW:
            return
        slots = i32(args[SLOTS])
        width, group = up(args[VALUE_SIZE], GROUP), args[HEADS] // kv_heads
        record_bytes = 4 * (HEADER + width)
        most = larger(1, BLOCK_ROWS // group)
        scratch = args[SCRATCH] + 4 * thread * args[SCRATCH_STRIDE]
        reach, limits = i64(scratch), i64(scratch + 16 * most * group)
        queries = scratch + 16 * (up(most * group, GROUP) + GROUP)
        weights = queries + 4 * up(most * group, ROWS) * size
        parts = weights + 4 * most * group * TILE
        wholes = parts + record_bytes * most * group
        task, begin = 0, 0
        while begin < tokens:
            count = 1
            while count < most and begin + count < tokens and slots[begin + count] == slots[begin]:
                count += 1
            rows = count * group
            for head in range(kv_heads):
                task += 1
                if task % threads != thread:
                    continue
                least, last = first_key(args, begin), 0
                for token in range(begin, begin + count):
                    first, past = first_key(args, token), past_key(args, token)
                    least, last = smaller(least, first), larger(last, past)
                    for member in range(group):
                        row = (token - begin) * group + member
                        reach[2 * row], reach[2 * row + 1] = first, past
                        copy_query(args, token, head * group + member, queries, row)
                        clear(wholes + row * record_bytes, width)
                index = slots[begin] * kv_heads + head
                for tile in range(least // TILE, up(last, TILE) // TILE):
                    origin = tile * TILE
                    low, high = larger(least - origin, 0), smaller(last - origin, TILE)
                    left = low // (2 * GROUP) * 2
                    where = index * (args[PADDED] // GROUP) + origin // GROUP + left
                    keys = args[KEYS] + where * group_bytes(size)
                    values = args[VALUES] + (index * args[PADDED] + origin) * row_bytes(width)
                    for row in range(0, rows, score_rows):
                        score(
                            smaller(score_rows, rows - row),
                            queries + 4 * (row // ROWS * ROWS * size + row % ROWS),
                            size,
                            keys,
                            up(high, 2 * GROUP) // GROUP - left,
                            weights + 4 * (row * TILE + left * GROUP),
                        )
                    for row in range(rows):
                        record = parts + row * record_bytes
                        clear(record, width)
                        _limits(reach, row, origin, limits)
                        if limits[1] > limits[0]:
                            cap = float_of(args[SOFTCAP])
                            soften(weights + 4 * row * TILE, limits[0], limits[1], cap, record)
                    blocks = (rows + value_rows - 1) // value_rows
                    for block in range(blocks):
                        start, stop = rows * block // blocks, rows * (block + 1) // blocks
                        common, apart = 0, TILE
                        for row in range(start, stop):
                            _limits(reach, row, origin, limits)
                            common, apart = larger(common, limits[0]), smaller(apart, limits[1])
                        apart = larger(apart, common)
                        # Every row takes its keys in order: alone up to where all of the block
                        # see, then with the others, then alone again.
                        row, phase = start, 0
                        while phase < 3:
                            _limits(reach, row, origin, limits)
                            together = 1
                            first, past = limits[0], smaller(limits[1], common)
                            if phase == 1:
                                together, first, past = stop - start, common, apart
                            elif phase == 2:
                                first, past = larger(limits[0], apart), limits[1]
                            if past > first:
                                apply(
                                    together,
                                    weights + 4 * row * TILE,
                                    first,
                                    past,
                                    values,
                                    width // GROUP,
                                    parts + row * record_bytes + 4 * HEADER,
                                    record_bytes,
                                )
                            row += together
                            if row == stop:
                                row, phase = start, phase + 1
                    for row in range(rows):
                        part = parts + row * record_bytes
                        merge(wholes + row * record_bytes, part, width // GROUP)
                for row in range(rows):
                    whole = wholes + row * record_bytes
                    finish(args, whole, begin + row // group, head * group + row % group)
            begin += count

    return kernel
