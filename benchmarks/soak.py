"""Replies for an hour, with a random fault every few seconds: soak.py [--minutes 60] [--seed 0]

Several engines at once in threads, with one state folder; their backends hang, crash and compute
nonsense, their workers are killed and stopped, their replies cancelled and abandoned, and other
hosts beside them are killed. Every reply has to be complete and equal, bit by bit, to the
undisturbed one; nothing may be left behind, which is looked at after each of the rounds. Prints a
summary; exit code 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import gc
import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

from soak_lanes import Lane, killed_hosts, undisturbed
from soak_plan import CPU, SECONDS, Asked, Tally

from forge import Engine
from forge.state import Ledger
from forge.testing import write_tiny
from forge.testing.usage import Usage, children, growth
from forge.warmup import warm_up
from forge.worker_options import WorkerOptions
from forge_cpu.cache import caches

LANES = 2
"""Threads with engines one after the other; one more has an engine that lasts."""
_MOST_BYTES = 1 << 20
"""That the host may grow by in a round, on average of the last half; the largest step left out."""
_RECORDS = 50
_FEWEST = 5
"""Rounds to judge by."""


def ours() -> set[int]:
    """Processes that were started, by whomever, with this soak's state folder; not this one."""
    mark = b"FORGE_STATE=" + os.fsencode(os.environ["FORGE_STATE"]) + b"\0"
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "environ").read_bytes() + b"\0":
                found.add(int(folder.name))
        except OSError:  # it has ended, or is somebody else's
            continue
    return found - {os.getpid()}


def left_behind(lasting: Engine) -> list[str]:
    """Processes, threads, temporary files and markers that should not be there any more."""
    found = []
    wanted = {lasting.worker_pid} - {None}
    end = time.monotonic() + 5
    while ours() != wanted and time.monotonic() < end:
        time.sleep(0.1)
    if ours() != wanted or children() != wanted:
        found.append(f"processes {ours()} and {children()}, wanted {wanted}")
    if threading.active_count() != 1:
        found.append(f"threads {threading.enumerate()}")
    if files := os.listdir(tempfile.gettempdir()):
        found.append(f"temporary files {files}")
    state = Path(os.environ["FORGE_STATE"])
    with Ledger.open() as ledger:
        ledger.recover()  # those of hosts that were killed
        if ledger.notes or not ledger.kept:
            found.append(f"a ledger in trouble: {ledger.notes}")
    with sqlite3.connect(state / "state.db") as database:
        (markers,) = database.execute("SELECT count(*) FROM markers").fetchone()
        (whole,) = database.execute("PRAGMA integrity_check").fetchone()
    database.close()
    if markers or whole != "ok":
        found.append(f"{markers} markers; the database is {whole}")
    records = os.listdir(state / "hangs") if (state / "hangs").is_dir() else []
    if len(records) > _RECORDS + LANES or any(name.endswith(".draft") for name in records):
        found.append(f"records of failures: {records}")
    return found


class Soak:
    """Owns the lanes, the engine that lasts, and what was measured after each round."""

    def __init__(self, model: Path, asked: Sequence[Asked], seed: str) -> None:
        self._lanes = [Lane(model, asked, f"{seed}/{number}") for number in range(LANES + 1)]
        self._model, self._seed = model, seed
        self.tally = Tally()
        self.usages: list[Usage] = []
        self.lasting = Engine(model, backend=CPU, fallback_to=[], threads=1, seconds=SECONDS)

    def round(self, end: float) -> None:
        """All lanes until the clock says so; then what they left."""
        number = len(self.usages)
        threads = [threading.Thread(target=lane.run, args=(end,)) for lane in self._lanes[1:]]
        threads.append(threading.Thread(target=self._lanes[0].run, args=(end, self.lasting)))
        seed = f"{self._seed}/{number}"
        threads.append(
            threading.Thread(target=killed_hosts, args=(self._model, end, seed, self.tally))
        )
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for _ in self.lasting.load():  # each round is counted with its worker alive
            pass
        gc.collect()
        self.tally.lost += [f"after round {number}: {what}" for what in left_behind(self.lasting)]
        self.usages.append(Usage.of())
        print(f"round {number}: {self.usages[-1]}", *self._take(), sep="\n  ", flush=True)

    def _take(self) -> list[str]:
        """The losses since the last time."""
        known = len(self.tally.lost)
        for lane in self._lanes:
            self.tally.add(lane.tally)
            lane.tally = Tally()
        return self.tally.lost[known:]

    def judge(self) -> None:
        """What grew from round to round; the first one still fills caches."""
        later = self.usages[1:]
        if len(later) < _FEWEST:
            return
        for what in ("descriptors", "threads", "children"):
            if len(values := {getattr(usage, what) for usage in later}) > 1:
                self.tally.lost.append(f"{what} from round to round: {sorted(values)}")
        if (bytes_ := growth([usage.memory for usage in later])) > _MOST_BYTES:
            self.tally.lost.append(f"memory: {bytes_:,.0f} bytes more a round")


def main() -> int:
    """One soak; its own folders."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument(
        "--rounds", type=int, help="of the soak (one every two minutes; at least 6)"
    )
    parser.add_argument("--seed", default="0")
    chosen = parser.parse_args()
    rounds = chosen.rounds or max(6, int(chosen.minutes / 2))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FORGE_CPU_CACHE"] = str(caches())  # which may be in the home folder
        for name, path in (("FORGE_STATE", "state"), ("TMPDIR", "tmp"), ("HOME", "home")):
            (Path(folder) / path).mkdir()
            os.environ[name] = str(Path(folder) / path)
        tempfile.tempdir = os.environ["TMPDIR"]
        model = write_tiny(Path(folder) / "tiny.gguf", tokenizer="bytes", context=256)
        for _ in warm_up(CPU, model, WorkerOptions(None)):
            pass
        soak = Soak(model, undisturbed(model, Random(chosen.seed)), chosen.seed)
        begun, length = time.monotonic(), chosen.minutes * 60
        with soak.lasting:
            for number in range(rounds):
                soak.round(begun + length * (number + 1) / rounds)
        soak.judge()
        tempfile.tempdir = None
    return report(soak, time.monotonic() - begun)


def report(soak: Soak, seconds: float) -> int:
    """The summary; the exit code."""
    tally = soak.tally
    print(f"{seconds / 60:.1f} minutes, seed {soak._seed}")
    for name, count in sorted(tally.counts.items()):
        print(f"  {name:16}{count:8}")
    print(
        "faults that moved a reply: "
        + ", ".join(f"{name} {n}" for name, n in sorted(tally.faults.items()))
    )
    print("memory by round, MiB:", *(f"{usage.memory / 2**20:.1f}" for usage in soak.usages))
    print("descriptors by round:", *(usage.descriptors for usage in soak.usages))
    for what in tally.lost:
        print(f"LOST {what}")
    print(f"{len(tally.lost)} losses")
    return 1 if tally.lost else 0


if __name__ == "__main__":
    sys.exit(main())
