"""`forge warmup`: what a first reply would wait for is compiled, counted, and then there."""

import json

import pytest

pytest.importorskip("numba", reason="the kernels need the extra: pip install 'forge-llm[cpu]'")


def test_kernels_are_compiled_ahead_once(forge, tiny_chat, tmp_path):
    env = {"FORGE_CPU_CACHE": str(tmp_path / "code"), "FORGE_CPU_ISA": "generic"}
    (first,) = json.loads(forge("warmup", "-m", tiny_chat, "--json", env=env).stdout)
    assert first["backend"] == "cpu"
    assert first["pieces"] > 5
    assert first["folder"].startswith(str(tmp_path))
    (again,) = json.loads(forge("warmup", "-m", tiny_chat, "--json", env=env).stdout)
    assert again["pieces"] == 0
    done = forge("warmup", "-m", tiny_chat, env=env)
    assert done.stdout.startswith("cpu ")
    assert "all was compiled before" in done.stdout
    before = sorted((tmp_path / "code").rglob("*.o"))
    assert forge("run", "-m", tiny_chat, "hello", "-n", "3", env=env).returncode == 0
    assert sorted((tmp_path / "code").rglob("*.o")) == before


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
