"""What a self-test asks for, what its soak makes of replies, and what its outcome is good for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from forge.config import Config
from forge.errors import BackendLost, OutputError, UsageError
from forge.events import Done, Timings
from forge.health import Device
from forge.order import ranked
from forge.past import Past
from forge.selftest import Answer, Report, Soak, soak
from forge.selftest.plan import TYPES, plan
from forge.selftest.report import write
from forge.selftest.run import remember
from forge.spec import BackendSpec
from forge.state import Ledger
from forge.worker_options import WorkerOptions

HIP = BackendSpec("hip", "m:C", priority=10, proven=30)
VULKAN = BackendSpec("vulkan", "m:C", priority=20)
RIGHT = Report("hip", Device("a card"), (Answer("all", True),), Soak("m", replies=6))


@dataclass
class Talker:
    """Stands for an engine: replies as it is told, and counts them."""

    say: Any
    context: int = 400
    asked: list[tuple[int, bool]] = field(default_factory=list[tuple[int, bool]])
    tokenizer: Any = field(default_factory=lambda: SimpleNamespace(size=50))
    model: Path = Path("m.gguf")

    def generate(self, tokens: list[int], *_: object, reuse: bool, **__: object) -> Iterator[Done]:
        self.asked.append((len(tokens), reuse))
        ids = tuple(self.say(len(self.asked), len(tokens)))
        rate = Timings(decode_tok_s=10.0 * len(self.asked))
        yield Done(ids, len(tokens), "length", "hip", "a card", timings=rate)


def test_the_plan_has_every_type_once_and_refuses_others() -> None:
    names = [small.name for small in plan()]
    assert len(set(names)) == len(names)
    assert {f"weights of {kind}" for kind in TYPES} <= {*names}
    assert [small.quant for small in plan(["Q4_K", "q4_k"])][:2] == ["q4_k", "f16"]
    with pytest.raises(UsageError, match="weight types q4_x: known are"):
        plan(["q4_x"])


def test_replies_that_stay_the_same_pass() -> None:
    talker = Talker(lambda _, length: [length] * 4)
    found = soak(talker, 0)  # type: ignore[arg-type]  # an engine's stand-in
    assert (found.ok, found.replies, found.tokens, found.differing) == (True, 6, 24, 0)
    assert (found.slowest_tok_s, found.decode_tok_s) == (10.0, 35.0)
    assert talker.asked == [(1, False), (24, False), (160, False)] * 2


def test_a_reply_that_differs_from_the_first_of_its_prompt_fails() -> None:
    found = soak(Talker(lambda n, _: [n if n == 5 else 1]), 0)  # type: ignore[arg-type]  # as above
    assert (found.ok, found.differing) == (False, 1)


def test_it_goes_on_until_the_time_is_over() -> None:
    ticks = iter(range(100))
    found = soak(Talker(lambda *_: [1]), 12, clock=lambda: float(next(ticks)))  # type: ignore[arg-type]  # as above
    assert found.replies > 6
    assert found.seconds >= 12


def test_a_slow_device_is_not_asked_for_hours() -> None:
    ticks = iter(range(0, 10_000, 50))
    found = soak(Talker(lambda *_: [1]), 1, clock=lambda: float(next(ticks)))  # type: ignore[arg-type]  # as above
    assert found.ok
    assert found.replies < 6


def test_a_context_that_is_small_leaves_long_prompts_out() -> None:
    talker = Talker(lambda *_: [1], context=60)
    assert soak(talker, 0).replies == 4  # type: ignore[arg-type]  # as above
    assert {length for length, _ in talker.asked} == {1, 24}


def test_a_failure_ends_it_with_what_was_said() -> None:
    def fail(number: int, _: int) -> list[int]:
        if number == 3:
            raise BackendLost("gone")
        return [1]

    found = soak(Talker(fail), 0)  # type: ignore[arg-type]  # as above
    assert (found.ok, found.replies, found.detail) == (False, 2, "gone")


def test_scores_that_lie_apart_fail() -> None:
    assert replace(RIGHT.soak, perplexity=10.0, floor_perplexity=10.1).ok
    assert not replace(RIGHT.soak, perplexity=10.0, floor_perplexity=11.0).ok
    assert replace(RIGHT.soak, perplexity=10.0).ok


def test_a_report_is_well_only_if_everything_was_asked_and_right() -> None:
    assert RIGHT.ok
    assert not replace(RIGHT, answers=()).ok
    assert not replace(RIGHT, answers=(Answer("all", True), Answer("one", False))).ok
    assert not replace(RIGHT, stopped="why").ok
    assert not replace(RIGHT, soak=Soak("m")).ok


def test_a_report_is_written_whole_and_over_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    report = replace(RIGHT, stopped=f"{tmp_path}/models/x.gguf is gone")
    write(report, tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text())["stopped"] == "~/models/x.gguf is gone"
    with pytest.raises(OutputError, match="--force"):
        write(RIGHT, tmp_path / "a.json")
    write(RIGHT, tmp_path / "a.json", force=True)
    assert json.loads((tmp_path / "a.json").read_text())["ok"]
    with pytest.raises(OutputError, match="cannot be written"):
        write(RIGHT, tmp_path / "no folder" / "a.json")
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.parametrize("right", [True, False])
def test_an_outcome_is_remembered_and_decides_the_order(
    right: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORGE_STATE", str(tmp_path))
    options = WorkerOptions(None, asked="hip")
    report = RIGHT if right else replace(RIGHT, stopped="lost")
    remember(HIP, options, report)
    with closing(Past(WorkerOptions(None), Ledger.open())) as past:
        names = [place.spec.name for place in ranked([HIP, VULKAN], Config(), past)]
    assert names == (["hip", "vulkan"] if right else ["vulkan", "hip"])


def test_the_models_of_types_have_each_type_in_tables_matrices_and_experts(tmp_path: Path) -> None:
    from forge.gguf import open_gguf

    [small] = [small for small in plan(["q6_k"]) if small.quant == "q6_k"]
    path = small.write(tmp_path)
    with open_gguf(path) as file:
        kinds = {name: tensor.type.name.lower() for name, tensor in file.tensors.items()}
    assert path.parent == tmp_path
    for name in ("token_embd.weight", "blk.0.attn_q.weight", "blk.0.ffn_down_exps.weight"):
        assert kinds[name] == "q6_k"
