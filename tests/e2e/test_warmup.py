"""`forge warmup`: what a first reply would wait for is compiled, counted, and then there."""

import json
import os
import shutil
from pathlib import Path

import pytest

pytest.importorskip("numba", reason="the kernels need the extra: pip install 'forge-llm[cpu]'")

MISSING = {"rope.angles.o", "rope.rotate_norm.o", "rows.select_rows.o"}


@pytest.fixture(scope="session")
def warm(forge, tiny_chat) -> Path:
    """The folder of the code that the tiny model takes."""
    (warmth,) = json.loads(forge("warmup", "-m", tiny_chat, "--json").stdout)
    return Path(warmth["folder"])


@pytest.fixture
def cache(warm, tmp_path, monkeypatch) -> Path:
    """A cache of code in which some is missing."""
    copy = tmp_path / "code" / warm.name
    shutil.copytree(warm, copy)
    for name in MISSING & {*os.listdir(copy)}:
        (copy / name).unlink()
    monkeypatch.setenv("FORGE_CPU_CACHE", str(copy.parent))
    return copy


def test_kernels_are_compiled_ahead_once(forge, tiny_chat, warm, cache):
    expected = {*os.listdir(warm)}
    assert {*os.listdir(cache)} == expected - MISSING
    (first,) = json.loads(forge("warmup", "-m", tiny_chat, "--json").stdout)
    assert (first["backend"], first["folder"]) == ("cpu", str(cache))
    assert first["pieces"] == len(MISSING & expected) > 1
    assert {*os.listdir(cache)} == expected
    again = forge("warmup", "-m", tiny_chat)
    assert again.stdout == f"cpu          all was compiled before; kept in {cache}\n"


def test_a_first_reply_takes_no_more_than_was_compiled_ahead(forge, tiny_chat, cache):
    assert forge("warmup", "-m", tiny_chat).returncode == 0
    before = {*os.listdir(cache)}
    assert forge("run", "-m", tiny_chat, "hello", "-n", "3").returncode == 0
    assert {*os.listdir(cache)} == before


def test_a_first_reply_on_a_terminal_shows_what_it_waits_for(
    terminal, forge_command, tiny_chat, cache
):
    reply = terminal([*forge_command, *"run hello -n 3 --temp 0 -m".split(), str(tiny_chat)])
    reply.wait_for("cpu: compiling kernels, 0 of ")
    reply.wait_for("cpu: compiling kernels, 1 of ")
    assert reply.end() == 0


def test_a_backend_without_anything_to_compile_says_so(forge, tiny_chat):
    done = forge("warmup", "-b", "cpu", "-m", tiny_chat, env={"FORGE_CPU_KERNELS": "0"})
    assert done.returncode == 0
    assert "nothing to compile" in done.stdout


def test_what_keeps_kernels_from_being_compiled_is_told(forge, tiny_chat):
    done = forge("warmup", "-m", tiny_chat, env={"FORGE_CPU_ISA": "sse9"})
    assert done.returncode == 1
    assert "FORGE_CPU_ISA=sse9" in done.stderr


def test_any_model_and_one_model_contradict_each_other(forge, tiny_chat):
    done = forge("warmup", "--all", "-m", tiny_chat)
    assert done.returncode == 2
    assert "--all" in done.stderr
