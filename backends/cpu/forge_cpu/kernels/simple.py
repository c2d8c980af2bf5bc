"""Ops on rows of activations, each thread with its share of the rows or of the numbers."""

from __future__ import annotations

import math

from numba import njit

from forge_cpu.kernels.kernel import kernel
from forge_cpu.kernels.pointers import f32, float_of, i32, i64


@kernel
def embed_f32(args, thread, threads):
    """(count, ids, table, out, columns)."""
    count, ids, columns = i64(args[0])[0], i32(args[1]), args[4]
    for row in range(thread, count, threads):
        source, out = f32(args[2] + 4 * columns * ids[row]), f32(args[3] + 4 * columns * row)
        for i in range(columns):
            out[i] = source[i]


@kernel(fastmath={"contract", "reassoc"})
def rms_norm(args, thread, threads):
    """(count, x, weight or 0, out, columns, size, epsilon): runs of `size` columns."""
    columns, size = args[4], args[5]
    runs = i64(args[0])[0] * (columns // size)
    epsilon = float_of(args[6])
    for run in range(runs * thread // threads, runs * (thread + 1) // threads):
        x, out = f32(args[1] + 4 * run * size), f32(args[3] + 4 * run * size)
        total = 0.0
        for i in range(size):
            total += x[i] * x[i]
        scale = 1 / math.sqrt(total / size + epsilon)
        if args[2]:
            weight = f32(args[2])
            for i in range(size):
                out[i] = x[i] * scale * weight[i]
        else:
            for i in range(size):
                out[i] = x[i] * scale


@njit
def _silu(x):
    return x / (1 + math.exp(-x))


@kernel
def silu_mul(args, thread, threads):
    """(count, gate, up or 0, out, columns)."""
    n = i64(args[0])[0] * args[4]
    gate, up, out = f32(args[1]), f32(args[2]), f32(args[3])
    for i in range(n * thread // threads, n * (thread + 1) // threads):
        out[i] = _silu(gate[i]) * (up[i] if args[2] else 1.0)


@kernel
def add(args, thread, threads):
    """(count, a, b, out, columns, columns of b that repeat or 0)."""
    n = i64(args[0])[0] * args[4]
    a, b, out, period = f32(args[1]), f32(args[2]), f32(args[3]), args[5]
    for i in range(n * thread // threads, n * (thread + 1) // threads):
        out[i] = a[i] + (b[i % period] if period else b[i])


@kernel
def select_rows(args, thread, threads):
    """(count of rows, x, rows, out, columns)."""
    count, rows, columns = i64(args[0])[0], i32(args[2]), args[4]
    for row in range(thread, count, threads):
        x, out = f32(args[1] + 4 * columns * rows[row]), f32(args[3] + 4 * columns * row)
        for i in range(columns):
            out[i] = x[i]


@kernel
def angles(args, thread, threads):
    """(count, positions, frequencies float64 [pairs], out [count, 2, pairs], pairs, magnitude)."""
    if thread == 0:
        count, positions, pairs = i64(args[0])[0], i32(args[1]), args[4]
        magnitude = float_of(args[5])
        for row in range(count):
            out = f32(args[3] + 8 * pairs * row)
            for pair in range(pairs):
                angle = positions[row] * float_of(i64(args[2])[pair])
                out[pair] = math.cos(angle) * magnitude
                out[pairs + pair] = math.sin(angle) * magnitude


@kernel
def rope(args, thread, threads):
    """(count, x, angles, out, columns, heads, pairs, 1 for neox)."""
    columns, heads, pairs = args[4], args[5], args[6]
    size = columns // heads
    tasks = i64(args[0])[0] * heads
    for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
        x, out = f32(args[1] + 4 * task * size), f32(args[3] + 4 * task * size)
        cos = f32(args[2] + 8 * pairs * (task // heads))
        for i in range(pairs):
            first, second = (i, pairs + i) if args[7] else (2 * i, 2 * i + 1)
            a, b = x[first], x[second]
            out[first] = a * cos[i] - b * cos[pairs + i]
            out[second] = a * cos[pairs + i] + b * cos[i]
        for i in range(2 * pairs, size):
            out[i] = x[i]
