"""Attention that streams keys and values, tile by tile (arXiv 2205.14135, 2307.08691).

Four kernels over one list of arguments. `append` writes keys and values to the cache. `many` takes
long runs: a block of tokens and a head of keys are a task. `few` takes runs of up to FEW tokens: a
tile of keys is a task, so that one token at a long context keeps all threads busy; `join` then
merges the tiles. Both come to the same bits. Each does nothing where the other is meant.
"""

from __future__ import annotations

from functools import partial

from numba import njit

from forge_cpu.isa import Isa
from forge_cpu.kernels.appending import appender
from forge_cpu.kernels.cells import Cells
from forge_cpu.kernels.functions import exp, of_one
from forge_cpu.kernels.kernel import Function, kernel, kernel_for_isa
from forge_cpu.kernels.pointers import f32, float_of, i32, i64
from forge_cpu.kernels.softmax import merge, soften
from forge_cpu.kernels.tiles import ROWS, blocking, scores, unpack_keys, unpack_values, weigh
from forge_cpu.kv import BLOCK, BLOCK_ROWS, FEW, GROUP, HEADER, KIND_BYTES, TILE

# The arguments, in order: addresses, sizes and strides in numbers; SCALE and SOFTCAP are floats.
TOKENS, POSITIONS, SLOTS = 0, 1, 2
Q, Q_STRIDE, K, K_STRIDE, V, V_STRIDE, OUT, OUT_STRIDE = 3, 4, 5, 6, 7, 8, 9, 10
KEYS, VALUES, PADDED = 11, 12, 13
HEADS, KV_HEADS, SIZE, VALUE_SIZE = 14, 15, 16, 17
SCALE, CAUSAL, WINDOW, SOFTCAP, SINKS = 18, 19, 20, 21, 22
SCRATCH, SCRATCH_STRIDE, PARTIALS, MOST_TILES, APPENDS = 23, 24, 25, 26, 27

_LOWEST = float("-inf")
_exp = of_one(exp)


@njit(inline="always")
def _up(value, step):
    return (value + step - 1) // step * step


@njit(inline="always")
def _first(args, token):
    """The first key that a token sees."""
    start = 0
    if args[WINDOW] > 0:
        start = max(0, i32(args[POSITIONS])[token] + 1 - args[WINDOW])
    return start


@njit(inline="always")
def _last(args, token):
    """One past the last key that a token sees: itself, or the end of its sequence in this run."""
    positions, slots = i32(args[POSITIONS]), i32(args[SLOTS])
    last = positions[token] + 1
    if args[CAUSAL] == 0:
        for other in range(i64(args[TOKENS])[0]):
            if slots[other] == slots[token]:
                last = max(last, positions[other] + 1)
    return last


@njit(inline="always")
def _copy_query(args, token, head, queries, row):
    """A row's query, scaled, to its lane of the queries [rows / ROWS][size][ROWS]."""
    size, scale = args[SIZE], float_of(args[SCALE])
    source = f32(args[Q] + 4 * (token * args[Q_STRIDE] + head * size))
    target = f32(queries + 4 * (row // ROWS * ROWS * size + row % ROWS))
    for column in range(size):
        target[column * ROWS] = source[column] * scale


@njit(inline="always")
def _clear(record, width):
    """A record of no keys at all."""
    numbers = f32(record)
    for i in range(HEADER + width):
        numbers[i] = 0.0
    numbers[0] = _LOWEST


@njit(inline="always")
def _finish(args, record, token, head):
    """A row's output: its sums over the sum of its weights, a sink's among them."""
    numbers, size = f32(record), args[VALUE_SIZE]
    top, below = numbers[0], numbers[1]
    factor = 1 / below
    if args[SINKS] != 0:
        sink = f32(args[SINKS])[head]
        base = max(top, sink)
        kept = _exp(top - base)
        factor = kept / (below * kept + _exp(sink - base))
    out = f32(args[OUT] + 4 * (token * args[OUT_STRIDE] + head * size))
    for column in range(size):
        out[column] = numbers[HEADER + column] * factor


def _sizes(kind):
    """Functions for the bytes of a group of keys and of a row of values."""
    each, scaled = KIND_BYTES[kind], int(kind == "q8_0")

    @njit(inline="always")
    def group_bytes(size):
        return GROUP * (size * each + scaled * 2 * ((size + BLOCK - 1) // BLOCK))

    @njit(inline="always")
    def row_bytes(width):
        return width * each + scaled * 2 * ((width + BLOCK - 1) // BLOCK)

    return group_bytes, row_bytes


def _append_one(kind, isa):
    """A function that writes a token's key and value for one head."""
    group_bytes, row_bytes = _sizes(kind)
    put_key, put_value = appender(kind, isa)

    @njit(inline="always")
    def append_one(args, token, head):
        position, slot = i32(args[POSITIONS])[token], i32(args[SLOTS])[token]
        size, value_size = args[SIZE], args[VALUE_SIZE]
        width = _up(value_size, GROUP)
        index = slot * args[KV_HEADS] + head
        group = index * (args[PADDED] // GROUP) + position // GROUP
        put_key(
            args[KEYS] + group * group_bytes(size),
            position % GROUP,
            size,
            args[K] + 4 * (token * args[K_STRIDE] + head * size),
        )
        put_value(
            args[VALUES] + (index * args[PADDED] + position) * row_bytes(width),
            width,
            value_size,
            args[V] + 4 * (token * args[V_STRIDE] + head * value_size),
        )

    return append_one


def _append(kind: str, isa: Isa) -> Function:
    append_one = _append_one(kind, isa)

    def append(args, thread, threads):
        tasks = i64(args[TOKENS])[0] * args[KV_HEADS]
        for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
            append_one(args, task // args[KV_HEADS], task % args[KV_HEADS])

    return append


def _weigher(cells, shape):
    """A function: weights times values for rows that see keys from firsts[row] to lasts[row]."""
    apply = weigh(cells, shape)
    most = shape.value_rows

    @njit(inline="always")
    def span(count, weights, first, last, values, width, sums, stride):
        if last > first:
            apply(count, weights, first, last, values, width, sums, stride)

    return span, most


def _few(kind: str, isa: Isa) -> Function:
    group_bytes, row_bytes = _sizes(kind)
    append_one = _append_one(kind, isa)
    cells, shape = Cells(kind, isa is not Isa.GENERIC), blocking(isa)
    score, apply = scores(cells, shape), weigh(cells, shape)
    score_rows, value_rows = shape.score_rows, shape.value_rows

    def few(args, thread, threads):
        tokens, kv_heads, size = i64(args[TOKENS])[0], args[KV_HEADS], args[SIZE]
        if tokens > FEW:
            return
        width = _up(args[VALUE_SIZE], GROUP)
        record_bytes = 4 * (HEADER + width)
        group = args[HEADS] // kv_heads
        cap = float_of(args[SOFTCAP])
        queries = args[SCRATCH] + 4 * thread * args[SCRATCH_STRIDE]
        weights = queries + 4 * _up(group, ROWS) * size
        tasks = 0
        for token in range(tokens):
            tasks += kv_heads * ((_last(args, token) - 1) // TILE + 1 - _first(args, token) // TILE)
        begin, end = tasks * thread // threads, tasks * (thread + 1) // threads
        task = 0
        for token in range(tokens):
            first, last = _first(args, token), _last(args, token)
            start, tiles = first // TILE, (last - 1) // TILE + 1 - first // TILE
            slot = i32(args[SLOTS])[token]
            for head in range(kv_heads):
                if task >= end or task + tiles <= begin:
                    task += tiles
                    continue
                for row in range(group):
                    _copy_query(args, token, head * group + row, queries, row)
                for tile in range(tiles):
                    if begin <= task < end:
                        origin = (start + tile) * TILE
                        low, high = max(first - origin, 0), min(last - origin, TILE)
                        if args[APPENDS] != 0 and origin + high == last:
                            append_one(args, token, head)
                        index = slot * kv_heads + head
                        left = low // (2 * GROUP) * 2
                        groups = (_up(high, 2 * GROUP) // GROUP) - left
                        where = index * (args[PADDED] // GROUP) + origin // GROUP + left
                        keys = args[KEYS] + where * group_bytes(size)
                        values = args[VALUES] + (index * args[PADDED] + origin) * row_bytes(width)
                        records = args[PARTIALS] + record_bytes * (
                            (token * args[HEADS] + head * group) * args[MOST_TILES] + tile
                        )
                        stride = record_bytes * args[MOST_TILES]
                        for row in range(0, group, score_rows):
                            score(
                                min(score_rows, group - row),
                                queries + 4 * (row // ROWS * ROWS * size + row % ROWS),
                                size,
                                keys,
                                groups,
                                weights + 4 * (row * TILE + left * GROUP),
                            )
                        for row in range(group):
                            _clear(records + row * stride, width)
                            soften(weights + 4 * row * TILE, low, high, cap, records + row * stride)
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
                    task += 1

    return few


@kernel
def join(args, thread, threads):
    """Merge the tiles that `few` left, for its share of the tokens' heads."""
    tokens, heads = i64(args[TOKENS])[0], args[HEADS]
    if tokens > FEW:
        return
    width = _up(args[VALUE_SIZE], GROUP)
    record_bytes = 4 * (HEADER + width)
    whole = args[SCRATCH] + 4 * thread * args[SCRATCH_STRIDE]
    tasks = tokens * heads
    for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
        token, head = task // heads, task % heads
        tiles = (_last(args, token) - 1) // TILE + 1 - _first(args, token) // TILE
        _clear(whole, width)
        for tile in range(tiles):
            part = args[PARTIALS] + record_bytes * (task * args[MOST_TILES] + tile)
            merge(whole, part, width // GROUP)
        _finish(args, whole, token, head)


def _many(kind: str, isa: Isa) -> Function:
    group_bytes, row_bytes = _sizes(kind)
    half = isa is not Isa.GENERIC
    packed, cells, shape = Cells(kind, half), Cells("f32", half), blocking(isa)
    score, apply = scores(cells, shape), weigh(cells, shape)
    dense_keys, dense_values = unpack_keys(packed), unpack_values(packed)
    score_rows, value_rows = shape.score_rows, shape.value_rows
    as_is = kind == "f32"

    def many(args, thread, threads):
        tokens, kv_heads, size = i64(args[TOKENS])[0], args[KV_HEADS], args[SIZE]
        if tokens <= FEW:
            return
        slots = i32(args[SLOTS])
        width = _up(args[VALUE_SIZE], GROUP)
        record_bytes = 4 * (HEADER + width)
        group = args[HEADS] // kv_heads
        cap = float_of(args[SOFTCAP])
        most = max(1, BLOCK_ROWS // group)
        queries = args[SCRATCH] + 4 * thread * args[SCRATCH_STRIDE]
        weights = queries + 4 * _up(most * group, ROWS) * size
        parts = weights + 4 * most * group * TILE
        wholes = parts + record_bytes * most * group
        key_tile = wholes + record_bytes * most * group
        value_tile = key_tile + 4 * TILE * size
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
                least, last = _first(args, begin), _last(args, begin)
                for token in range(begin, begin + count):
                    least, last = min(least, _first(args, token)), max(last, _last(args, token))
                    for member in range(group):
                        row = (token - begin) * group + member
                        _copy_query(args, token, head * group + member, queries, row)
                        _clear(wholes + row * record_bytes, width)
                index = slots[begin] * kv_heads + head
                for tile in range(least // TILE, (last - 1) // TILE + 1):
                    origin = tile * TILE
                    low, high = max(least - origin, 0), min(last - origin, TILE)
                    left = low // (2 * GROUP) * 2
                    groups = (_up(high, 2 * GROUP) // GROUP) - left
                    where = index * (args[PADDED] // GROUP) + origin // GROUP + left
                    keys = args[KEYS] + where * group_bytes(size)
                    values = args[VALUES] + (index * args[PADDED] + origin) * row_bytes(width)
                    if not as_is:
                        dense_keys(keys, size, groups, key_tile)
                        dense_values(values, width // GROUP, low, high, value_tile)
                        keys, values = key_tile, value_tile
                    for row in range(0, rows, score_rows):
                        score(
                            min(score_rows, rows - row),
                            queries + 4 * (row // ROWS * ROWS * size + row % ROWS),
                            size,
                            keys,
                            groups,
                            weights + 4 * (row * TILE + left * GROUP),
                        )
                    for row in range(rows):
                        token = begin + row // group
                        record = parts + row * record_bytes
                        _clear(record, width)
                        first = max(_first(args, token) - origin, 0)
                        stop = min(_last(args, token) - origin, TILE)
                        if stop > first:
                            soften(weights + 4 * row * TILE, first, stop, cap, record)
                    blocks = (rows + value_rows - 1) // value_rows
                    for block in range(blocks):
                        row, until = rows * block // blocks, rows * (block + 1) // blocks
                        # Every row in the order of its keys: alone up to where all of them see,
                        # then together, then alone again.
                        common, apart = 0, TILE
                        for one in range(row, until):
                            token = begin + one // group
                            common = max(common, _first(args, token) - origin)
                            apart = min(apart, _last(args, token) - origin)
                        common = min(common, TILE)
                        apart = max(apart, common)
                        for part in range(3):
                            single = part != 1
                            one = row
                            while one < until:
                                token = begin + one // group
                                start = max(_first(args, token) - origin, 0)
                                stop = min(_last(args, token) - origin, TILE)
                                if part == 0:
                                    stop = min(stop, common)
                                elif part == 1:
                                    start, stop = common, apart
                                else:
                                    start = max(start, apart)
                                step = 1 if single else until - row
                                if stop > start:
                                    apply(
                                        step,
                                        weights + 4 * one * TILE,
                                        start,
                                        stop,
                                        values,
                                        width // GROUP,
                                        parts + one * record_bytes + 4 * HEADER,
                                        record_bytes,
                                    )
                                one += step
                    for row in range(rows):
                        merge(
                            wholes + row * record_bytes, parts + row * record_bytes, width // GROUP
                        )
                for row in range(rows):
                    _finish(
                        args,
                        wholes + row * record_bytes,
                        begin + row // group,
                        head * group + row % group,
                    )
            begin += count

    return many


append_f32, append_f16, append_q8_0 = (
    kernel_for_isa(partial(_append, kind)) for kind in KIND_BYTES
)
few_f32, few_f16, few_q8_0 = (kernel_for_isa(partial(_few, kind)) for kind in KIND_BYTES)
many_f32, many_f16, many_q8_0 = (kernel_for_isa(partial(_many, kind)) for kind in KIND_BYTES)
