"""Attention of a few tokens: a task is one tile of the keys of one head, for one token.

So a single token at a long context keeps all threads busy. Each tile leaves a record, and `join`
merges those of a row in order.
"""

from __future__ import annotations

from forge_cpu.isa import Isa
from forge_cpu.kernels.appending import append_one
from forge_cpu.kernels.attention_parts import (
    APPENDS,
    HEADS,
    KEYS,
    KV_HEADS,
    MOST_TILES,
    PADDED,
    PARTIALS,
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
from forge_cpu.kv import FEW, GROUP, HEADER, TILE


def few(kind: str, isa: Isa) -> Function:
    """The kernel for a kind of cache; it does nothing for more than FEW tokens.

    With APPENDS, for runs of one token, it writes the token's key and value first.
    """
    group_bytes, row_bytes = sizes(kind)
    append = append_one(kind, isa)
    cells, shape = Cells(kind, isa is not Isa.GENERIC), blocking(isa)
    score, apply = scores(cells, shape, ahead=True), weigh(cells, shape, ahead=True)
    score_rows, value_rows = shape.score_rows, shape.value_rows

    def kernel(args, thread, threads):
        tokens, kv_heads, size = i64(args[TOKENS])[0], args[KV_HEADS], args[SIZE]
        if tokens > FEW:
            return
        width, group = up(args[VALUE_SIZE], GROUP), args[HEADS] // kv_heads
        stride = 4 * (HEADER + width) * args[MOST_TILES]
        queries = args[SCRATCH] + 4 * thread * args[SCRATCH_STRIDE]
        weights = queries + 4 * up(group, ROWS) * size
        tasks, task = 0, 0
        for token in range(tokens):
            first, last = first_key(args, token) // TILE, up(past_key(args, token), TILE) // TILE
            tasks += kv_heads * (last - first)
        begin, end = tasks * thread // threads, tasks * (thread + 1) // threads
        for token in range(tokens):
            first, last = first_key(args, token), past_key(args, token)
            tiles = up(last, TILE) // TILE - first // TILE
            for head in range(kv_heads):
                from_tile, to_tile = larger(begin - task, 0), smaller(end - task, tiles)
                task += tiles
                if from_tile >= to_tile:
                    continue
                for row in range(group):
                    copy_query(args, token, head * group + row, queries, row)
                index = i32(args[SLOTS])[token] * kv_heads + head
                for tile in range(from_tile, to_tile):
                    origin = (first // TILE + tile) * TILE
                    low, high = larger(first - origin, 0), smaller(last - origin, TILE)
                    if args[APPENDS] != 0 and origin + high == last:
                        append(args, token, head)
                    left = low // (2 * GROUP) * 2
                    where = index * (args[PADDED] // GROUP) + origin // GROUP + left
                    keys = args[KEYS] + where * group_bytes(size)
                    values = args[VALUES] + (index * args[PADDED] + origin) * row_bytes(width)
                    place = (token * args[HEADS] + head * group) * stride
                    records = args[PARTIALS] + place + tile * 4 * (HEADER + width)
                    for row in range(0, group, score_rows):
                        score(
                            smaller(score_rows, group - row),
                            queries + 4 * (row // ROWS * ROWS * size + row % ROWS),
                            size,
                            keys,
                            up(high, 2 * GROUP) // GROUP - left,
                            weights + 4 * (row * TILE + left * GROUP),
                        )
                    for row in range(group):
                        record = records + row * stride
                        clear(record, width)
                        cap = float_of(args[SOFTCAP])
                        soften(weights + 4 * row * TILE, low, high, cap, record)
                    blocks = (group + value_rows - 1) // value_rows
                    for block in range(blocks):
                        row = group * block // blocks
                        apply(
                            group * (block + 1) // blocks - row,
                            weights + 4 * row * TILE,
                            low,
                            high,
                            values,
                            width // GROUP,
                            records + row * stride + 4 * HEADER,
                            stride,
                        )

    return kernel


def join(args, thread, threads):
    """Merge the tiles that `few` left, for this thread's share of the rows."""
    tokens, heads = i64(args[TOKENS])[0], args[HEADS]
    if tokens > FEW:
        return
    width = up(args[VALUE_SIZE], GROUP)
    record_bytes = 4 * (HEADER + width)
    whole = args[SCRATCH] + 4 * thread * args[SCRATCH_STRIDE]
    rows = tokens * heads
    for row in range(rows * thread // threads, rows * (thread + 1) // threads):
        token = row // heads
        tiles = up(past_key(args, token), TILE) // TILE - first_key(args, token) // TILE
        clear(whole, width)
        for tile in range(tiles):
            part = args[PARTIALS] + record_bytes * (row * args[MOST_TILES] + tile)
            merge(whole, part, width // GROUP)
        finish(args, whole, token, row % heads)
