"""A machine whose processes, boots and clocks a test decides on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from forge.state import Key, Ledger, Machine, ProcessId

DAY = 86400.0


class FakeMachine:
    """A proc folder of its own; `time` is what its clocks say."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.proc = folder / "proc"
        self.time = 1000.0
        (self.proc / "sys/kernel/random").mkdir(parents=True)
        (folder / "etc").mkdir()
        (folder / "etc/machine-id").write_text("this-machine\n")
        self.boot("first")
        self.process(ProcessId(1, 1))
        (self.proc / "self").symlink_to("1")
        self.process(ProcessId(os.getpid(), 50))

    def boot(self, name: str) -> None:
        """Another boot: no process survives."""
        (self.proc / "sys/kernel/random/boot_id").write_text(f"{name}\n")
        for folder in self.proc.iterdir():
            if folder.name.isdigit() and folder.name != "1":
                self.gone(int(folder.name))

    def process(
        self, process: ProcessId, state: str = "S", *, flags: int = 0, pending: int = 0
    ) -> None:
        """A process of one thread."""
        for folder in (self.proc / str(process.pid), self.proc / f"{process.pid}/task/1"):
            folder.mkdir(parents=True, exist_ok=True)
            self.thread(folder, process, state, flags=flags, pending=pending)

    def thread(
        self, folder: Path, process: ProcessId, state: str, *, flags: int = 0, pending: int = 0
    ) -> None:
        """Its files as the kernel writes them; the name is as nasty as a name can be."""
        folder.mkdir(parents=True, exist_ok=True)
        before = f"{process.pid} (a ) S 7) {state} 1 1 1 0 -1 {flags}"
        (folder / "stat").write_text(f"{before} {'0 ' * 12}{process.started} 0 0\n")
        (folder / "status").write_text(f"Name:\ta\nSigPnd:\t{pending:016x}\nShdPnd:\t{0:016x}\n")

    def gone(self, pid: int) -> None:
        """It ended and was reaped."""
        for folder in sorted((self.proc / str(pid)).rglob("*"), reverse=True):
            folder.rmdir() if folder.is_dir() else folder.unlink()
        (self.proc / str(pid)).rmdir()

    def seen(self) -> Machine:
        """What a ledger gets."""
        return Machine(self.proc, self.root, lambda: self.time, lambda: self.time)


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path / "machine")


@pytest.fixture
def ledger(tmp_path: Path, machine: FakeMachine) -> Iterator[Ledger]:
    with Ledger.open(tmp_path / "state", machine.seen()) as opened:
        yield opened


@pytest.fixture
def key() -> Key:
    return Key("hip", "0000:03:00.0", {"kernel": "6.17.9", "driver": "amdgpu 1", "model": "abc"})
