"""Peak memory of whole programs: memory_cpu.py MODEL.gguf ... [--peer 'COMMAND'] [-n 64]

`forge run` (host and worker together) beside a peer called as `COMMAND MODEL --tokens IDS -n N
-t T`. Counted is the proportional set size of all processes (proc(5), smaps_rollup: a page of the
file that two processes map counts half in each), every 5 ms, the largest sum; mapped pages of the
model count as long as they are resident. The sum of each process's own peak resident set (VmHWM)
misses no moment, but counts shared pages twice and different moments: the truth is between the two.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from machine import description, markdown_table

_PERIOD = 0.005
_MB = 1e6


@dataclass(frozen=True, slots=True)
class Peak:
    """Bytes: the largest sum of proportional set sizes, and the sum of largest resident sets."""

    shared_out: int
    resident: int


def family(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    with suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            for child in (thread / "children").read_text(encoding="ascii").split():
                yield from family(int(child))


def bytes_in(path: Path, field: str) -> int:
    """A field of a file of /proc that counts kB; 0 where the process is gone."""
    with suppress(OSError):
        for line in path.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) << 10
    return 0


def peak(command: list[str]) -> Peak:
    """Of one run."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    most, resident = 0, dict[int, int]()
    while process.poll() is None:
        members = [Path(f"/proc/{pid}") for pid in family(process.pid)]
        most = max(most, sum(bytes_in(member / "smaps_rollup", "Pss") for member in members))
        for member in members:
            known = resident.get(int(member.name), 0)
            resident[int(member.name)] = max(known, bytes_in(member / "status", "VmHWM"))
        time.sleep(_PERIOD)
    assert process.stderr is not None
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)}\n{process.stderr.read().decode()}")
    process.stderr.close()
    return Peak(most, sum(resident.values()))


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+")
    parser.add_argument("--peer", default="", metavar="COMMAND")
    parser.add_argument("-p", type=int, default=128, help="tokens of the prompt")
    parser.add_argument("-n", type=int, default=64, help="tokens decoded")
    parser.add_argument("-t", type=int, default=2, help="threads of both")
    asked = parser.parse_args()
    prompt = ",".join(str(7919 * i % 997 + 1) for i in range(asked.p))
    options = ["--tokens", prompt, "-n", str(asked.n), "-t", str(asked.t)]
    rows: list[list[object]] = []
    for model in asked.models:
        ours = [sys.executable, "-P", "-m", "forge", "run", "-b", "cpu", "-m", model]
        context = ["-c", str(asked.p + asked.n + 8)]  # as much as the peer's
        found = peak([*ours, *options, *context])
        row: list[object] = [Path(model).name, *_megabytes(found)]
        if asked.peer:
            other = peak([*shlex.split(asked.peer), model, *options])
            allowed = (1.3 * other.shared_out + 200e6) / _MB
            row += [*_megabytes(other), f"{found.shared_out / other.shared_out:.2f}"]
            row.append(f"{allowed:.0f}")
        rows.append(row)
    titles = ["model", "forge MB", "(VmHWM)"]
    if asked.peer:
        titles += ["peer MB", "(VmHWM)", "ratio", "1.3 × peer + 200"]
    print(f"{description()}\n\n{markdown_table(titles, rows)}")


def _megabytes(found: Peak) -> list[str]:
    return [f"{found.shared_out / _MB:.0f}", f"{found.resident / _MB:.0f}"]


if __name__ == "__main__":
    main()
