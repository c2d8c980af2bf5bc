"""Attention that streams keys and values, tile by tile (arXiv 2205.14135, 2307.08691).

Four kernels over one list of arguments (attention_parts). `append` writes keys and values to the
cache, `many` takes long runs, `few` short ones, whose tiles `join` merges. A token's numbers come
to the same bits either way. Each kernel does nothing where the other is meant.
"""

from __future__ import annotations

from functools import partial

from forge_cpu.isa import Isa
from forge_cpu.kernels.appending import append_one
from forge_cpu.kernels.attention_few import few
from forge_cpu.kernels.attention_few import join as join_tiles
from forge_cpu.kernels.attention_many import many
from forge_cpu.kernels.attention_parts import KV_HEADS, TOKENS
from forge_cpu.kernels.kernel import Function, kernel, kernel_for_isa
from forge_cpu.kernels.pointers import i64
from forge_cpu.kv import KIND_BYTES


def _append(kind: str, isa: Isa) -> Function:
    append = append_one(kind, isa)

    def kernel(args, thread, threads):
        tasks = i64(args[TOKENS])[0] * args[KV_HEADS]
        for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
            append(args, task // args[KV_HEADS], task % args[KV_HEADS])

    return kernel


append_f32, append_f16, append_q8_0 = (kernel_for_isa(partial(_append, k)) for k in KIND_BYTES)
few_f32, few_f16, few_q8_0 = (kernel_for_isa(partial(few, k)) for k in KIND_BYTES)
many_f32, many_f16, many_q8_0 = (kernel_for_isa(partial(many, k)) for k in KIND_BYTES)
join = kernel(join_tiles)
