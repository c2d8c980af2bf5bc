"""Gauges are read in time, whatever lies in /proc and /sys; what hangs is left alone."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from forge_tui.monitor.reader import COMMAND, SystemReader

from .machines import ADDRESS, GIB, gpu, machine, write

Reads = Callable[..., SystemReader]


@pytest.fixture
def reads(tmp_path: Path) -> Iterator[Reads]:
    """Readers of the machine in tmp_path."""
    made: list[SystemReader] = []

    def reads(**choices: object) -> SystemReader:
        made.append(SystemReader(tmp_path, **choices))  # type: ignore[arg-type]  # each knows its own
        return made[-1]

    yield reads
    for reader in made:
        reader.close()


def test_every_gauge_of_amdgpu_has_its_unit(tmp_path, reads):
    gpu(machine(tmp_path))
    found = reads().read()
    assert (found.ram_used, found.ram_total) == (600 * 1024, 1000 * 1024)
    assert (found.silent, found.problem) == ((), "")
    [card] = found.gpus
    assert (card.address, card.name, card.asleep) == (ADDRESS, "AMD", False)
    assert (card.busy, card.memory_busy) == (pytest.approx(0.87), pytest.approx(0.4))
    assert (card.vram_used, card.vram_total) == (4 * GIB, 16 * GIB)
    assert (card.gtt_used, card.gtt_total) == (GIB, 32 * GIB)
    assert (card.temperature, card.hotspot) == (pytest.approx(61), pytest.approx(74))
    assert (card.power, card.power_cap, card.fan) == (pytest.approx(212), pytest.approx(300), 1450)
    assert (card.clock, card.memory_clock) == (2.41e9, 1.25e9)


def test_loads_are_rates_between_two_readings(tmp_path, reads):
    machine(tmp_path)
    ticks = os.sysconf("SC_CLK_TCK")
    now = iter([0.0, 0.0, 2.0, 2.0, 4.0, 4.0])
    reader = reads(clock=lambda: next(now))

    def worker(pid: int, seconds: int) -> None:
        fields = ["S", *["0"] * 10, str(seconds * ticks), "0", *["0"] * 10]
        write(tmp_path, f"proc/{pid}/stat", f"{pid} (forge (x) 1) {' '.join(fields)}")
        write(tmp_path, f"proc/{pid}/status", "Name: python\nVmRSS:\t 2048 kB")

    worker(42, 10)
    first = reader.read(42)
    assert (first.load, first.worker_load, first.worker_ram) == (None, None, 2048 * 1024)
    write(tmp_path, "proc/stat", "cpu  175 0 50 820 55 0 0 0 0 0")
    worker(42, 13)
    second = reader.read(42)
    assert second.load == pytest.approx(0.75)
    assert second.worker_load == pytest.approx(1.5)
    worker(43, 99)
    assert reader.read(43).worker_load is None  # another process's time is no rate


def test_a_worker_s_gpu_memory_counts_each_client_once(tmp_path, reads):
    client = (
        "drm-driver: amdgpu\ndrm-pdev: 0000:03:00.0\ndrm-client-id: {}\ndrm-memory-vram: {} KiB"
    )
    for handle, (number, kib) in enumerate([(7, 1024), (7, 1024), (8, 512)]):
        write(machine(tmp_path), f"proc/42/fdinfo/{handle}", client.format(number, kib))
    write(tmp_path, "proc/42/fdinfo/9", "pos: 0\nflags: 02")
    found = reads().read(42)
    assert (found.worker_vram, found.worker_gtt) == (1536 * 1024, 0)


@pytest.mark.parametrize("text", ["", "many", "-", "²", "9" * 400, "1e9", "\x00\xff", "nan", "--5"])
def test_a_gauge_that_shows_nonsense_is_left_out(tmp_path, reads, text):
    folder = gpu(machine(tmp_path), **{"hwmon/hwmon3/power1_average": text})
    (folder / "gpu_busy_percent").write_bytes(text.encode("latin-1"))
    write(tmp_path, "proc/meminfo", f"MemTotal: {text} kB\nMemAvailable: {text}")
    found = reads().read()
    [card] = found.gpus
    assert (card.busy, card.power, found.ram_total) == (None, None, None)
    assert card.temperature == pytest.approx(61)


def test_a_sleeping_gpu_is_not_woken(tmp_path, reads):
    gpu(machine(tmp_path), **{"power/runtime_status": "suspended"})
    [card] = reads().read().gpus
    assert (card.asleep, card.busy, card.temperature) == (True, None, None)


def test_other_devices_are_no_gpus(tmp_path, reads):
    gpu(machine(tmp_path), "0000:04:00.0", **{"class": "0x010802"})
    assert reads().read().gpus == ()


def test_a_driver_that_does_not_answer_is_left_alone_and_the_rest_is_shown(tmp_path, reads):
    folder = gpu(machine(tmp_path))
    gpu(tmp_path, "0000:04:00.0")
    (folder / "gpu_busy_percent").unlink()
    os.mkfifo(folder / "gpu_busy_percent")  # opening it blocks, as a stuck driver's file does
    now = [100.0]
    reader = reads(step_seconds=0.3, clock=lambda: now[0])
    first = reader.read()
    assert first.silent == (f"gpu {ADDRESS}",)
    assert first.ram_total == 1000 * 1024
    now[0] += 1
    started = time.monotonic()
    second = reader.read()
    assert time.monotonic() - started < 10
    assert [card.silent for card in second.gpus] == [True, False]
    assert second.gpus[1].busy == pytest.approx(0.87)
    (folder / "gpu_busy_percent").unlink()
    write(folder, "gpu_busy_percent", 5)
    now[0] += 61
    third = reader.read()
    assert third.silent == ()
    assert third.gpus[0].busy == pytest.approx(0.05)


def test_a_reader_that_dies_is_replaced(tmp_path, reads):
    pids = tmp_path / "pids"
    code = f"import os; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n'); " + COMMAND[4]
    reader = reads(command=[*COMMAND[:4], code, COMMAND[5]])
    machine(tmp_path)
    assert reader.read().ram_total
    os.kill(int(pids.read_text()), signal.SIGKILL)
    problems = [reader.read().problem for _ in range(2)]
    assert "cannot be read" in problems[0]
    assert problems[1] == ""
    assert len(pids.read_text().split()) == 2


@pytest.mark.parametrize(
    "command",
    [
        ["/nonexistent/python"],
        [sys.executable, "-c", "print('not json', flush=True); input()"],
        [sys.executable, "-c", "print('[1, 2', flush=True); input()"],
        [sys.executable, "-c", "import os; [os.write(1, b'x' * 65536) for _ in range(99)]"],
    ],
)
def test_a_reader_that_makes_no_sense_is_told_and_stops_nobody(reads, command):
    found = reads(command=command).read()
    assert "the gauges cannot be read" in found.problem
    assert found.ram_total is None


def test_closing_ends_a_reading_that_hangs_and_leaves_no_process(tmp_path, reads):
    folder = gpu(machine(tmp_path))
    (folder / "class").unlink()
    os.mkfifo(folder / "class")
    pids = tmp_path / "pids"
    code = f"import os; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n'); " + COMMAND[4]
    reader = reads(command=[*COMMAND[:4], code, COMMAND[5]], step_seconds=30)
    found = []
    thread = threading.Thread(target=lambda: found.extend(reader.readings(lambda: None)))
    thread.start()
    while not pids.exists() or not pids.read_text().endswith("\n"):
        time.sleep(0.01)
    reader.close()
    thread.join(20)
    assert not thread.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pids.read_text()), 0)


def test_the_process_ends_with_its_host(tmp_path):
    code = (
        "import sys; from pathlib import Path; from forge_tui.monitor.reader import SystemReader\n"
        "r = SystemReader(Path(sys.argv[1])); r.read(); print(r._process.pid, flush=True)\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    import subprocess

    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(machine(tmp_path))], capture_output=True, check=False
    )
    pid, end = int(done.stdout), time.monotonic() + 20
    while time.monotonic() < end and Path(f"/proc/{pid}/status").exists():
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == "Z":
            break
        time.sleep(0.02)
    else:
        assert not Path(f"/proc/{pid}").exists()
