"""How fast a Vulkan device's attention kernels are, each alone.

    python benchmarks/vulkan_attention.py [--device 0] [--shapes 32/8x128 9/3x64] [--capacity 8192]

Decode: one token at the end of a context, its rope and append included; `empty` is the same kernel
with nothing to do, so that the difference is what it waits for and works. GB/s are bytes of keys
and values read. Prefill: the plain kernel, that with cooperative matrices (its follow-up included)
where the device has them, and the follow-up alone; TFLOP/s count 4 operations for each column of
each key that a head of a token sees. Kernels take turns over several caches, more than the
device's own cache memory holds. Whether they are right, tests/backends/vulkan/ops tells.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from forge.backend import Array, BackendConfig
from forge_gpu.kv import Cache
from forge_gpu.memory import Region
from forge_gpu.steps import attention_coopmat, attention_decode
from forge_gpu.steps.attention import Heads, Rotation, attention
from forge_gpu.tape import CHUNK, HEADER, REACH, ROWS, TOKENS, Activation, Tape
from forge_vulkan.opening import Opening
from forge_vulkan.runtime.kernels import Kernels
from forge_vulkan.runtime.memory import Arenas
from forge_vulkan.runtime.recording import Commands, Recording
from forge_vulkan.runtime.submission import Queue

_SHAPES = ("32/8x128", "32/8x64", "9/3x64")
"""Query heads / key heads x size: llamas of 8e9 and 1e9 weights, SmolLM2-135M."""
_POSITIONS = (0, 31, 127, 511, 2047, 4095, 8191)
_PREFILLS = (32, 128, 512)
_CHUNK = 512
_COPIES = 8
_WORD = 0x2C002C00
"""Two small numbers in half precision."""
_WARM, _TIMES = 0.05, 8


class Bench:
    """Owns an open device and what kernels need on it."""

    def __init__(self, device: str | None) -> None:
        self.opening = Opening(BackendConfig(device=device, asked=True))
        self.gpu = self.opening.gpu
        self.queue, self.kernels = Queue(self.gpu), Kernels(self.gpu)
        self.memory = Arenas(self.gpu, "device")

    def put(self, values: Array) -> Region:
        """An array on the device."""
        host = Arenas(self.gpu, "upload")
        source, target = host.region(values.nbytes), self.memory.region(values.nbytes)
        source.view()[:] = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        self._run(lambda recording: recording.copy(source, target))
        host.close()
        return target

    def rows(self, count: int, width: int) -> Activation:
        """Random numbers."""
        numbers = np.random.default_rng(0).standard_normal((count, width), np.float32)
        return Activation(self.put(numbers), width, TOKENS, count)

    def cache(self, shape: Heads, capacity: int) -> Cache:
        """A cache full of small numbers."""
        size = 2 * shape.kv_heads * capacity * shape.size
        made = Cache(self.memory.region(size), self.memory.region(size), "f16", capacity)
        self._run(lambda r: (r.fill(made.keys, _WORD), r.fill(made.values, _WORD)))
        return made

    def frame(self, start: int, count: int) -> Region:
        """Tokens from a position on; none of them counts if there are none."""
        words = np.zeros(HEADER + 4 * _CHUNK, np.int32)
        words[TOKENS] = words[ROWS] = count
        words[REACH], words[CHUNK] = start + count, _CHUNK
        words[HEADER + _CHUNK :][: max(1, count)] = np.arange(start, start + max(1, count))
        return self.put(words)

    def seconds(self, frame: Region, write: Callable[[Tape, int], None], times: int) -> float:
        """The least of several runs of a kernel, each of `times` after one another."""
        commands = Commands(self.gpu)
        recording = Recording(commands)
        for index in range(times):
            write(Tape(self.kernels, frame, recording), index)
        handle = recording.end()
        end = time.perf_counter() + _WARM
        while time.perf_counter() < end:
            self.queue.run([handle])
        least = min(self.queue.run([handle]) for _ in range(_TIMES))
        commands.close()
        return least / times

    def _run(self, write: Callable[[Recording], object]) -> None:
        commands = Commands(self.gpu)
        recording = Recording(commands)
        write(recording)
        self.queue.run([recording.end()])
        commands.close()

    def close(self) -> None:
        """Give all of it back."""
        self.queue.close()
        self.memory.close()
        self.kernels.close()
        self.opening.close()


def shape_of(text: str) -> Heads:
    """From "32/8x128"."""
    heads, _, rest = text.partition("/")
    kv_heads, _, size = rest.partition("x")
    return Heads(int(heads), int(kv_heads), int(size), int(size), int(size) ** -0.5)


def decode(bench: Bench, name: str, shape: Heads, caches: list[Cache]) -> None:
    """Print a line for each length of context."""
    shares = attention_decode.splits(bench.gpu.compute_units, shape, caches[0].capacity)
    q, k, v = (bench.rows(1, n * shape.size) for n in (shape.heads, *[shape.kv_heads] * 2))
    out = bench.rows(1, shape.heads * shape.size)
    scratch = bench.put(np.zeros(attention_decode.scratch_bytes(shape, shares), np.uint8))
    turns = (1e4 ** (-np.arange(0, 1, 2 / shape.size))).astype(np.float32)
    rotation = Rotation(bench.put(turns))

    def write(tape: Tape, index: int) -> None:
        attention_decode.attention_decode(
            *(tape, shape, caches[index % len(caches)], q, k, v, out),
            scratch=scratch,
            shares=shares,
            rotation=rotation,
        )

    empty = bench.seconds(bench.frame(0, 0), write, 64)
    print(f"decode  {name:>10}   empty{empty * 1e6:10.1f} us, {shares} shares", flush=True)
    for position in _POSITIONS:
        if position < caches[0].capacity:
            spent = bench.seconds(bench.frame(position, 1), write, 64)
            size = 4 * shape.kv_heads * shape.size * (position + 1)
            rate = f"{spent * 1e6:10.1f} us{size / spent / 1e9:9.1f} GB/s"
            print(f"decode  {name:>10}{position:8}{rate}", flush=True)


def prefill(bench: Bench, name: str, shape: Heads, caches: list[Cache]) -> None:
    """Print a line for each kernel and number of tokens."""
    for count in _PREFILLS:
        q, out = (bench.rows(count, shape.heads * shape.size) for _ in range(2))
        size = attention_coopmat.left_bytes(shape, count)
        left = bench.put(np.zeros(size, np.uint8))
        starts = {0, caches[0].capacity // 2} if count == _CHUNK else {0}
        for start in sorted(start for start in starts if start + count <= caches[0].capacity):
            given = bench, shape, caches, q, out, bench.frame(start, count)
            times = {"plain": _prefill(*given, attention)}
            if attention_coopmat.cooperative(bench.gpu.features, shape, caches[0]):
                record = partial(attention_coopmat.attention_coopmat, left=left)
                times["coopmat"] = _prefill(*given, record)
                times["follow-up"] = _prefill(*given, partial(attention, left=left))
            work = 4 * shape.heads * shape.size * count * (start + (count + 1) / 2)
            for kind, spent in times.items():
                rate = f"{spent * 1e6:10.1f} us{work / spent / 1e12:9.2f} TFLOP/s"
                print(f"prefill {name:>10}{count:5} from {start:5} {kind:10}{rate}", flush=True)


def _prefill(
    bench: Bench,
    shape: Heads,
    caches: list[Cache],
    q: Activation,
    out: Activation,
    frame: Region,
    record: Callable[..., None],
) -> float:
    def write(tape: Tape, index: int) -> None:
        record(tape, shape, caches[index % len(caches)], q, out)

    return bench.seconds(frame, write, 4)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", help="as `forge run --device` takes it")
    parser.add_argument("--shapes", nargs="+", default=_SHAPES, help="heads/kv heads x size")
    parser.add_argument("--capacity", type=int, default=8192, help="positions of a cache")
    given = parser.parse_args()
    bench = Bench(given.device)
    print(f"{bench.gpu.listed.device.name}: {bench.gpu.features}")
    for name in given.shapes:
        shape = shape_of(name)
        caches = [bench.cache(shape, given.capacity) for _ in range(_COPIES)]
        decode(bench, name, shape, caches)
        prefill(bench, name, shape, caches)
    bench.close()


if __name__ == "__main__":
    main()
