"""Hang records: whole, damaged, of other GPUs and of other versions."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forge.doctor.hangs import read_hangs

from .cases import SOUND, on
from .trees import Card, hang, look, write

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)
KEYS = st.sampled_from([*hang(), "kind", "piece", "stack", "threads", "more"])


def test_the_newest_record_comes_first(tmp_path: Path) -> None:
    for name, when in (("a", 30), ("b", 10), ("c", 20)):
        write(tmp_path, f"{name}.json", json.dumps({"when": when}))
    records, broken = read_hangs(tmp_path)
    assert [record.when for record in records] == [30, 20, 10]
    assert broken == 0


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 100_000, b'"x"'])
def test_a_damaged_record_is_counted_and_left_out(content: bytes, tmp_path: Path) -> None:
    write(tmp_path, "bad.json", content)
    write(tmp_path, "good.json", json.dumps(hang()))
    records, broken = read_hangs(tmp_path)
    assert ([record.file for record in records], broken) == (["good.json"], 1)


def test_what_is_no_file_is_survived(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "loop.json").symlink_to(tmp_path / "loop.json")
    os.mkfifo(tmp_path / "pipe.json")
    write(tmp_path, "huge.json", b'{"log": "' + b"x" * (2 << 20) + b'"}')
    before = len(os.listdir("/proc/self/fd"))
    records, broken = read_hangs(tmp_path)
    assert (records, broken) == ([], 4)
    assert len(os.listdir("/proc/self/fd")) == before
    assert read_hangs(tmp_path / "nowhere") == ([], 0)
    assert read_hangs(tmp_path / "huge.json") == ([], 0)


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(KEYS, JSON))
def test_any_object_is_a_record(tmp_path: Path, found: dict[str, object]) -> None:
    write(tmp_path, "one.json", json.dumps(found))
    [record], broken = read_hangs(tmp_path)
    assert broken == 0
    assert isinstance(record.driver_stack, str)
    assert all(isinstance(line, str) for line in (*record.log, *record.kernel))


def test_a_record_may_name_its_error_and_its_piece_of_work(tmp_path: Path) -> None:
    record = hang(detail=None, age_s=None, kind="BackendHung", piece="copy of blk.3", phase="load")
    found = look(tmp_path / "hung", on(SOUND, hangs=(record,)))
    assert {"sdma-stall", "mmap-pageable-upload"} <= {f.rule.id for f in found.findings}
    found = look(tmp_path / "lost", on(SOUND, hangs=(record | {"kind": "BackendLost"},)))
    assert not found.findings


def test_what_a_record_does_not_say_makes_a_finding_possible(tmp_path: Path) -> None:
    found = look(tmp_path, on(SOUND, hangs=(hang(phase="load", age_s=None),)))
    [finding] = [f for f in found.findings if f.rule.id == "mmap-pageable-upload"]
    assert finding.certainty == "possible"
    assert "does not say it" in finding.missing[0].why


def test_a_hang_of_one_gpu_is_not_held_against_the_other(tmp_path: Path) -> None:
    two = replace(SOUND, cards=(SOUND.cards[0], Card(address="0000:03:00.0", minor=129)))
    found = look(tmp_path / "named", replace(two, hangs=(hang(phase="load"),)))
    devices = [f.device for f in found.findings if f.rule.id == "mmap-pageable-upload"]
    assert devices == ["0000:c5:00.0"]
    found = look(tmp_path / "unnamed", replace(two, hangs=(hang(phase="load", device="Radeon"),)))
    findings = [f for f in found.findings if f.rule.id == "mmap-pageable-upload"]
    assert [f.certainty for f in findings] == ["possible", "possible"]


def test_a_hang_of_the_cpu_accuses_no_gpu(tmp_path: Path) -> None:
    found = look(tmp_path, on(SOUND, hangs=(hang(backend="cpu", phase="load"), hang(when=1e9))))
    assert not found.findings


def test_the_address_says_which_gpu_it_was(tmp_path: Path) -> None:
    other = replace(SOUND.cards[0], address="0000:03:00.0")
    two = replace(SOUND, cards=(SOUND.cards[0], other))
    record = hang(device="AMD Radeon RX 7900 XTX", address="0000:03:00.0", prompt_tokens=64)
    found = look(tmp_path, replace(two, hangs=(record,)))
    here = {gpu.address: found.facts.value("hang_prompt_tokens", gpu) for gpu in found.facts.gpus}
    assert here["0000:03:00.0"] == 64
    assert here[SOUND.cards[0].address] is None


@pytest.mark.parametrize(
    ("call", "copies"),
    [
        ('File "/x/forge_hip/driver.py", line 3 in memcpy', True),
        ('File "/x/forge_hip/upload.py", line 3 in wait', False),
    ],
)
def test_a_hang_in_a_copy_is_known_by_the_innermost_call(call, copies, tmp_path: Path) -> None:
    stack = f"Current thread 0x1 (most recent call first):\n  {call}\n"
    record = hang(detail="", piece="load 3 of 9: blk.0.attn_q", stack=stack, kind="BackendHung")
    found = look(tmp_path, replace(SOUND, hangs=(record,)))
    assert found.facts.value("hang_in_copy", found.facts.gpus[0]) is copies
