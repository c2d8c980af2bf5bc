"""`hf:` names against a Hub on the loopback address: resumed, verified, and refused with a reason.

huggingface_hub reads its settings when it is imported, so each pull is a process of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

COMMIT = "a" * 40
MEGABYTE = 1 << 20

_CHILD = """
import argparse, sys
from forge.cli import models, pull
from forge.errors import ForgeError
parser = argparse.ArgumentParser()
verbs = parser.add_subparsers()
pull.add(verbs), models.add(verbs)
args = parser.parse_args()
try:
    sys.exit(args.run(args))
except ForgeError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    repo: str = "org/Tiny-GGUF"
    checksums: bool = True  # a mirror may tell none
    corrupt: bool = False  # sends other bytes than it announces
    ranges: bool = True  # knows the Range header
    cut: list[int] = field(default_factory=list)  # answer n ends after so many bytes
    stall: int = 0  # answers stop after so many bytes and stay open
    redirect: bool = False  # sends large files from another host, as the real one does
    refusal: tuple[int, str] = (0, "")  # status and X-Error-Code of every file
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    tokens: set[tuple[str, str | None]] = field(default_factory=set)  # by host

    def info(self) -> dict[str, object]:
        siblings = [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": "0" * 40,
                "lfs": {
                    "size": len(data),
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "pointerSize": 134,
                }
                if self.checksums
                else None,
            }
            for name, data in self.files.items()
        ]
        return {"id": self.repo, "modelId": self.repo, "sha": COMMIT, "siblings": siblings}

    def transfers(self) -> list[tuple[str, str | None]]:
        """The files that were fetched, with the Range asked for."""
        return [(path.rsplit("/", 1)[-1], span) for verb, path, span in self.asked if verb == "GET"]


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    address: str

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            self._answer(body=True)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        hub = self.hub
        host = self.headers["Host"].split(":")[0]
        hub.tokens.add((host, self.headers.get("Authorization")))
        if self.path.startswith("/api/models/"):
            if self.path.split("?")[0] != f"/api/models/{hub.repo}":
                return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            return self._send(200, json.dumps(hub.info()).encode(), {})
        hub.asked.append((self.command, self.path, self.headers.get("Range")))
        if hub.refusal[0]:
            return self._send(hub.refusal[0], b"{}", {"X-Error-Code": hub.refusal[1]})
        name = self.path.rsplit("/", 1)[1]
        data = hub.files[name]
        etag = hashlib.sha256(data).hexdigest()
        if hub.redirect and host != "localhost":
            port = self.headers["Host"].split(":")[1]
            return self._send(
                302,
                b"",
                {
                    "Location": f"http://localhost:{port}/signed/{name}",
                    "X-Repo-Commit": COMMIT,
                    "X-Linked-Etag": f'"{etag}"',
                    "X-Linked-Size": str(len(data)),
                },
            )
        if hub.corrupt:
            data = data[:-1] + bytes([data[-1] ^ 1])
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        status, start = 200, 0
        if hub.ranges and (span := self.headers.get("Range")):
            status, start = 206, int(span.removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self._send(status, data[start:], headers, body=body, limited=body)
        return None

    def _send(
        self,
        status: int,
        data: bytes,
        headers: dict[str, str],
        *,
        body: bool = True,
        limited: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if limited and self.hub.cut:
            data = data[: self.hub.cut.pop(0)]
        if limited and self.hub.stall:
            self.wfile.write(data[: self.hub.stall])
            self.connection.settimeout(30)
            self.connection.recv(1)  # until the client hangs up
        elif body:
            self.wfile.write(data)


@pytest.fixture
def hub(gguf: bytes, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with one repository: a model, a split one, and files that are none."""
    served = Hub()
    served.files = {
        "README.md": b"# Tiny",
        "tiny-Q4_K_M.gguf": gguf,
        "tiny-Q8_0-00001-of-00002.gguf": b"GGUF" + bytes(1000),
        "tiny-Q8_0-00002-of-00002.gguf": b"GGUF" + bytes(500),
        "mmproj-F16.gguf": b"GGUF" + bytes(10),
    }
    handler = type("Bound", (Handler,), {"hub": served})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_HOME", str(home / "hf"))
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        yield served
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def blobs(home: Path) -> Path:
    return home / "hf/hub/models--org--Tiny-GGUF/blobs"


class Forge:
    """Runs verbs as the command line would."""

    def __init__(self, python: list[str]) -> None:
        self.command = [*python, "-W", "ignore", "-c", _CHILD]

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, *arguments], capture_output=True, text=True, timeout=50, check=False
        )

    def pulled(self, name: str) -> Path:
        done = self("pull", name)
        assert done.returncode == 0, done.stderr
        return Path(done.stdout.removesuffix("\n"))

    def refused(self, name: str, status: int = 1) -> str:
        done = self("pull", name)
        assert (done.returncode, done.stdout) == (status, ""), done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    @contextmanager
    def started(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        with subprocess.Popen([*self.command, *arguments], stderr=subprocess.DEVNULL) as child:
            try:
                yield child
            finally:
                child.kill()


@pytest.fixture
def forge(python: list[str]) -> Forge:
    return Forge(python)


def wait_for(path: Path, pattern: str, least: int) -> Path:
    """The one file that matches, once it has grown to a size."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        for found in path.glob(pattern):
            if found.stat().st_size >= least:
                return found
        time.sleep(0.02)
    raise AssertionError(f"no {pattern} of {least} bytes in {path}")


def test_a_pulled_model_lies_in_the_shared_cache_and_is_not_fetched_twice(
    hub: Hub, forge: Forge, gguf: bytes, blobs: Path
) -> None:
    path = forge.pulled("hf:org/Tiny-GGUF")

    assert path.read_bytes() == gguf
    assert path == blobs.parent / "snapshots" / COMMIT / "tiny-Q4_K_M.gguf"
    assert path.resolve() == blobs / hashlib.sha256(gguf).hexdigest()
    assert forge.pulled("hf:org/Tiny-GGUF:q4_k_m") == path
    assert hub.transfers() == [("tiny-Q4_K_M.gguf", None)]
    listed = json.loads(forge("models", "--json").stdout)
    assert [model["name"] for model in listed] == ["hf:org/Tiny-GGUF:Q4_K_M"]


def test_a_split_set_is_fetched_whole(hub: Hub, forge: Forge) -> None:
    path = forge.pulled("hf:org/Tiny-GGUF:Q8_0")

    assert path.name == "tiny-Q8_0-00001-of-00002.gguf"
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "tiny-Q8_0-00001-of-00002.gguf",
        "tiny-Q8_0-00002-of-00002.gguf",
    ]


def test_a_broken_transfer_goes_on_where_it_stopped(hub: Hub, forge: Forge, gguf: bytes) -> None:
    hub.cut = [2 * MEGABYTE]

    assert forge.pulled("hf:org/Tiny-GGUF").read_bytes() == gguf

    (_, first), (_, second) = hub.transfers()
    assert (first, second) == (None, f"bytes={2 * MEGABYTE}-")


@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_pull_looks_unfinished_and_the_next_one_resumes_it(
    hub: Hub, forge: Forge, gguf: bytes, blobs: Path, kill: signal.Signals
) -> None:
    hub.stall = 2 * MEGABYTE + 5
    with forge.started("pull", "hf:org/Tiny-GGUF") as child:
        partial = wait_for(blobs, "*.incomplete", MEGABYTE)
        os.kill(child.pid, kill)
        assert child.wait(15) != 0
    assert json.loads(forge("models", "--json").stdout) == []
    arrived = partial.stat().st_size

    hub.stall = 0
    assert forge.pulled("hf:org/Tiny-GGUF").read_bytes() == gguf

    assert hub.transfers()[-1] == ("tiny-Q4_K_M.gguf", f"bytes={arrived}-")
    assert [file.name for file in blobs.iterdir()] == [hashlib.sha256(gguf).hexdigest()]


def test_a_server_without_ranges_is_read_from_the_start(
    hub: Hub, forge: Forge, gguf: bytes
) -> None:
    hub.ranges = False
    hub.cut = [MEGABYTE]

    assert forge.pulled("hf:org/Tiny-GGUF").read_bytes() == gguf


def test_a_partial_file_of_other_bytes_is_thrown_away(
    hub: Hub, forge: Forge, gguf: bytes, blobs: Path
) -> None:
    blobs.mkdir(parents=True)
    partial = blobs / f"{hashlib.sha256(gguf).hexdigest()}.forge.incomplete"
    partial.write_bytes(bytes(MEGABYTE))

    assert "SHA-256" in forge.refused("hf:org/Tiny-GGUF")
    assert not partial.exists()
    assert forge.pulled("hf:org/Tiny-GGUF").read_bytes() == gguf


def test_a_corrupted_file_is_refused_and_not_kept(hub: Hub, forge: Forge, blobs: Path) -> None:
    hub.corrupt = True

    said = forge.refused("hf:org/Tiny-GGUF")

    assert "tiny-Q4_K_M.gguf arrived with the SHA-256" in said
    assert list(blobs.iterdir()) == []
    assert json.loads(forge("models", "--json").stdout) == []


def test_from_a_mirror_without_checksums_huggingface_hub_downloads_in_silence(
    hub: Hub, forge: Forge, gguf: bytes
) -> None:
    hub.checksums = False

    done = forge("pull", "hf:org/Tiny-GGUF")

    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).read_bytes() == gguf


def test_two_pulls_at_once_share_one_transfer(
    hub: Hub, forge: Forge, gguf: bytes, blobs: Path
) -> None:
    hub.stall = 2 * MEGABYTE
    with forge.started("pull", "hf:org/Tiny-GGUF") as first:
        wait_for(blobs, "*.incomplete", MEGABYTE)
        with forge.started("pull", "hf:org/Tiny-GGUF") as second:
            time.sleep(1.5)
            assert second.poll() is None
            assert len(hub.transfers()) == 1
            hub.stall = 0
            first.kill()
            assert second.wait(30) == 0
    assert (blobs / hashlib.sha256(gguf).hexdigest()).read_bytes() == gguf


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ((401, "GatedRepo"), ["is gated", "accept their terms", "hf auth login"]),
        ((403, "GatedRepo"), ["is gated", "hf auth login"]),
        ((403, ""), ["refuses access (status 403)", "hf auth login"]),
        ((404, "EntryNotFound"), ["status 404"]),
    ],
)
def test_a_refusal_says_what_to_do(
    hub: Hub, forge: Forge, refusal: tuple[int, str], words: list[str]
) -> None:
    hub.refusal = refusal

    said = forge.refused("hf:org/Tiny-GGUF")

    assert all(word in said for word in ["hf:org/Tiny-GGUF", *words]), said
    assert len(said.splitlines()) <= 3


def test_a_repository_that_does_not_exist_is_not_found(hub: Hub, forge: Forge) -> None:
    assert "no such repository, or it is private" in forge.refused("hf:org/Typo-GGUF")


def test_a_quantisation_that_is_not_there_lists_what_is(hub: Hub, forge: Forge) -> None:
    said = forge.refused("hf:org/Tiny-GGUF:Q2_K")

    assert "tiny-Q4_K_M.gguf" in said
    assert "tiny-Q8_0-00001-of-00002.gguf" in said
    assert "mmproj" not in said


def test_a_hub_that_names_files_outside_is_not_followed(hub: Hub, forge: Forge, home: Path) -> None:
    hub.files = {"../../../../escaped-Q4_K_M.gguf": b"GGUF"}

    assert "holds no GGUF model" in forge.refused("hf:org/Tiny-GGUF")
    assert not list(home.rglob("escaped*"))


def test_offline_a_pull_says_so(hub: Hub, forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    assert "is this machine offline?" in forge.refused("hf:org/Tiny-GGUF")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set" in forge.refused("hf:org/Tiny-GGUF")


def test_what_is_cached_needs_no_network(
    hub: Hub, forge: Forge, python: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    split = forge.pulled("hf:org/Tiny-GGUF:Q8_0")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    code = "import sys; from forge.store import resolve; print(resolve(sys.argv[1]))"

    for name in ("hf:org/Tiny-GGUF:Q8_0", "hf:org/Tiny-GGUF", "org/Tiny-GGUF:q8_0"):
        found = subprocess.run(
            [*python, "-c", code, name], capture_output=True, text=True, check=True
        )
        assert found.stdout == f"{split}\n"


def test_the_users_token_goes_to_the_hub_and_to_no_other_host(
    hub: Hub, forge: Forge, gguf: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.redirect = True
    hub.cut = [MEGABYTE]

    assert forge.pulled("hf:org/Tiny-GGUF").read_bytes() == gguf

    assert hub.tokens == {("127.0.0.1", "Bearer hf_secret"), ("localhost", None)}
    assert hub.transfers()[-1] == ("tiny-Q4_K_M.gguf", f"bytes={MEGABYTE}-")


def test_a_hub_cache_that_cannot_be_written_is_named(
    hub: Hub, forge: Forge, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("in the way")
    monkeypatch.setenv("HF_HOME", str(home / "file"))

    said = forge.refused("hf:org/Tiny-GGUF")

    assert "cannot write here" in said
    assert "HF_HOME" in said
