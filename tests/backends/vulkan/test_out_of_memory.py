"""What is too large for the device is said before anything is loaded, with what would fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests import vulkan_device
from tests.backends.vulkan.tiny_models import tiny

from forge import Engine, SamplingParams
from forge.backend import BackendError, BackendOutOfMemory
from forge_vulkan.plugin import forge_backends

LONG = 1 << 30
"""Tokens, whose keys and values no machine of today holds."""


def opened(path: Path, context: int | None) -> Engine:
    (spec,) = forge_backends()
    choices = {"device": vulkan_device.device(), "context": context, "strict": True}
    return Engine.open(path, backend=spec, **choices)


def test_a_context_that_is_too_long_is_refused_with_both_sizes_and_one_that_fits(
    tmp_path: Path,
) -> None:
    path = tiny(tmp_path, quant="f16", context=LONG, tokenizer="bytes", vocabulary=None)
    with pytest.raises(BackendOutOfMemory) as refused:
        opened(path, LONG)
    found = re.search(
        r"has ([\d,]+) MiB free, and .* with a context of 1073741824 tokens needs ([\d,]+) MiB: "
        r"a context of (\d+) fits \(-c (\d+)\)",
        str(refused.value),
    )
    assert found, refused.value
    free, needed = (int(found[i].replace(",", "")) for i in (1, 2))
    assert needed > free
    assert int(found[3]) == int(found[4]) < LONG
    assert needed / LONG * int(found[3]) < free


def test_a_cache_that_no_binding_covers_is_refused_with_the_longest_that_fits(
    tmp_path: Path,
) -> None:
    """A smaller limit than the memory's: what it names runs, and one token more does not."""
    path = tiny(tmp_path, quant="f16", context=LONG, tokenizer="bytes", vocabulary=None)
    with pytest.raises(BackendError, match="choose a context of") as refused:
        opened(path, 1 << 21)
    (fits,) = re.findall(r"a context of (\d+) or less", str(refused.value))
    with pytest.raises(BackendError, match="choose a context of"):
        opened(path, int(fits) + 1)
    with opened(path, int(fits)) as engine:
        events = engine.generate([60, 61], SamplingParams(temperature=0), max_tokens=2, stop_ids=())
        *_, done = events
        assert engine.backend == "vulkan"
        assert len(done.tokens) == 2
