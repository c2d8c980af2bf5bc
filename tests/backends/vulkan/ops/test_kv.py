"""How large the caches are."""

from __future__ import annotations

import pytest
from tests.backends.vulkan.ops.stage import Stage

from forge.backend import BackendUnsupported, StateSpec
from forge_gpu import kv


@pytest.mark.parametrize(
    ("size", "dtype", "words"),
    [
        *((64, "f32", 64), (6, "f32", 8), (64, "f16", 32), (6, "f16", 4)),
        *((32, "q8_0", 9), (64, "q8_0", 17), (96, "q8_0", 26), (128, "q8_0", 34)),
    ],
)
def test_a_row_is_as_long_as_the_shaders_have_it(size, dtype, words):
    assert kv.row_words(size, dtype) == words
    assert kv.state_bytes(StateSpec(2, 3, 5, size, dtype)) == 4 * 2 * 3 * 5 * words


def test_a_type_of_cache_that_the_kernels_lack_is_named():
    with pytest.raises(BackendUnsupported, match="no cache of type q4_0"):
        kv.row_words(64, "q4_0")


def test_a_cache_that_one_binding_cannot_cover_is_refused_with_a_context_that_fits(stage: Stage):
    most = stage.gpu.features.storage_bytes
    fitting = StateSpec(1, 8, most // (8 * 64 * 2), 64, "f16")
    kv.check(fitting, stage.gpu.features)
    larger = StateSpec(1, 8, fitting.capacity + 1, 64, "f16")
    with pytest.raises(BackendUnsupported, match=rf"a context of {fitting.capacity} or less"):
        kv.check(larger, stage.gpu.features)
