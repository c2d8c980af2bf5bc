"""Kernels compiled by several processes at once: numba's compiler takes one core of each.

Such a process is `python -P -m forge_cpu.compilers ISA`. It reads names of kernels, one a line, and
answers each with the code's length in eight bytes and the code. It needs no cache.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import struct
import subprocess
import sys
from collections.abc import Generator, Sequence
from typing import IO

from forge.backend import BackendHung
from forge_cpu.isa import Isa

_LEAST = 3
"""Kernels for which it pays to start processes, each of which imports numba."""
_MOST = 4
"""Processes; each takes 150 MB."""
_SECONDS = 100.0
"""In which some kernel is compiled; a second is usual."""
_LONG = ("matmul", "experts", "dense", "attention")
"""Modules whose kernels take longest: they come first, so that all processes end together."""
_LENGTH = struct.Struct("<Q")


def symbol(name: str) -> str:
    """What the code of a kernel defines."""
    return f"forge_{name.replace('.', '_')}"


def compile_several(names: Sequence[str], isa: Isa) -> Generator[tuple[str, bytes], None, None]:
    """Each kernel's object file when it is ready; those that fail, or are too few, are left out.

    BackendHung where nothing is ready for too long.
    """
    cores = len(os.sched_getaffinity(0))
    if cores < 2 or len(names) < _LEAST or not sys.executable:
        return
    waiting = sorted(names, key=lambda name: (not name.startswith(_LONG), name))
    waiting.reverse()
    processes: list[_Process] = []
    with selectors.DefaultSelector() as selector:
        try:
            for _ in range(min(cores, _MOST, len(names))):
                processes.append(_Process(isa))
                processes[-1].ask(waiting.pop())
                selector.register(processes[-1].answers, selectors.EVENT_READ, processes[-1])
            while selector.get_map():
                ready = selector.select(_SECONDS)
                if not ready:
                    raise BackendHung(f"no kernel was compiled for {_SECONDS:.0f} s")
                for key, _ in ready:
                    process: _Process = key.data
                    name, code = process.name, process.answer()
                    if code and waiting:
                        process.ask(waiting.pop())
                    else:
                        selector.unregister(process.answers)
                    if code:
                        yield name, code
        finally:
            for process in processes:
                process.end()


class _Process:
    """Owns a process and what it is at."""

    def __init__(self, isa: Isa) -> None:
        self.name = ""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", __spec__.name, isa],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    @property
    def answers(self) -> IO[bytes]:
        """Where its code comes from."""
        return _given(self._process.stdout)

    def ask(self, name: str) -> None:
        """Have it compile a kernel; one that has ended says so by its answer."""
        self.name = name
        with contextlib.suppress(OSError):
            requests = _given(self._process.stdin)
            requests.write(f"{name}\n".encode())
            requests.flush()

    def answer(self) -> bytes:
        """The code; nothing where it has ended, which may be in the middle."""
        length = self.answers.read(_LENGTH.size)
        if len(length) < _LENGTH.size:
            return b""
        (size,) = _LENGTH.unpack(length)
        code = self.answers.read(size)
        return code if len(code) == size else b""

    def end(self) -> None:
        """Whatever it is at."""
        self._process.kill()
        with contextlib.suppress(OSError):  # a name that was never read
            _given(self._process.stdin).close()
        self.answers.close()
        self._process.wait()


def _given(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise ValueError("the process was started without a pipe")
    return stream


def main() -> None:
    """Compile what is asked for until there is nothing more."""
    from forge_cpu.kernels.kernel import compile_kernel  # takes numba

    isa = Isa(sys.argv[1])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    for line in sys.stdin:
        name = line.strip()
        code = compile_kernel(name, symbol(name), isa)
        answers.write(_LENGTH.pack(len(code)) + code)
        answers.flush()


if __name__ == "__main__":
    main()
