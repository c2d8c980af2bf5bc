"""A device that stalls or is lost takes the usual road: the reply goes on, and says why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests import vulkan_device

from forge import BackendSpec, Done, Engine, SamplingParams
from forge_vulkan.plugin import forge_backends

CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
GREEDY = SamplingParams(temperature=0)
COUNT = 8


def reply(model: Path, fault: str = "") -> Done:
    """The end of a reply by the Vulkan backend, whose driver may fail."""
    (spec,) = forge_backends()
    if fault:
        spec = replace(spec, options={"fault": fault})
    device = vulkan_device.device()
    choices = {"device": device, "fallback_to": [CPU], "patience": 0.2}
    with Engine.open(model, backend=spec, **choices) as engine:
        *_, done = engine.generate([60, 61, 62], GREEDY, max_tokens=COUNT, stop_ids=())
        assert isinstance(done, Done)
        return done


@pytest.fixture(scope="module")
def undisturbed(tiny_chat: Path) -> Iterator[Done]:
    done = reply(tiny_chat)
    assert (done.backend, done.fallbacks) == ("vulkan", ())
    return done


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("hang@decode", "no progress for"),
        ("lost@decode", "the device is lost"),
        ("lost@prefill", "the device is lost"),
    ],
)
def test_the_reply_continues_with_the_tokens_that_were_shown(
    tiny_chat: Path, undisturbed: Done, fault: str, says: str
) -> None:
    done = reply(tiny_chat, fault)
    assert done.backend == "cpu"
    (moved,) = done.fallbacks
    assert (moved.source, moved.target) == ("vulkan", "cpu")
    assert says in moved.reason
    assert (moved.at_token > 0) == fault.endswith("decode")
    assert len(done.tokens) == COUNT
    assert done.tokens[: moved.at_token] == undisturbed.tokens[: moved.at_token]


def test_the_record_of_a_stall_names_the_layer(tiny_chat: Path) -> None:
    (moved,) = reply(tiny_chat, "hang@decode").fallbacks
    record = json.loads(Path(moved.record).read_text())
    assert "waiting for the device for" in record["log"]
    assert "the last that it began: " in record["log"]
