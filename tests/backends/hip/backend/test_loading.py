"""Weights get to the device through the pinned ring, byte for byte, or not at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.backends.stored import Stored, placed, planes_of, stored

from forge.backend import BackendError
from forge_gpu.formats import FORMATS
from forge_gpu.loading import Loaded
from forge_gpu.matrices import Matrix
from forge_hip.backend import HipBackend
from forge_hip.memory import behind
from forge_hip.runtime.pool import Pool


def brought(backend: HipBackend, weights: dict[str, Stored], beats: list) -> Loaded:
    return backend.workshop.load(weights, placed(weights), lambda *beat: beats.append(beat))


def same(backend: HipBackend, matrix: Matrix, weight: Stored) -> None:
    """Every byte of every plane."""
    form = matrix.format
    (part,) = matrix.parts
    want = planes_of(matrix.kind, weight.blocks, matrix.k)
    got = backend.workshop.stream.copy_from(behind(part.region))
    starts = form.layout(part.rows, matrix.k).starts
    for plane, start, there in zip(form.planes, starts, part.planes, strict=False):
        size = weight.blocks.size // form.size * plane.size
        ours = got[16 * there : 16 * there + size]
        assert np.array_equal(ours, want[16 * start : 16 * start + size])


@pytest.mark.parametrize("kind", FORMATS)
def test_weights_of_every_type_arrive_in_their_planes(backend: HipBackend, kind: str) -> None:
    k = 3 * FORMATS[kind].columns if FORMATS[kind].quantised else 37
    weights = {"w": stored(kind, 33, k)}
    loaded = brought(backend, weights, [])
    same(backend, loaded.matrices["w"], weights["w"])
    loaded.close()


def test_a_weight_larger_than_a_piece_of_the_ring_goes_in_several_with_a_beat_each(
    backend: HipBackend,
) -> None:
    step = backend.workshop.stream.ring.step
    weights = {"a": stored("q8_0", 2 * step // 1088, 1024), "b": stored("q8_0", 3, 512)}
    beats: list = []
    loaded = brought(backend, weights, beats)
    for name, weight in weights.items():
        same(backend, loaded.matrices[name], weight)
        assert weight.released == weight.asked == 1
    assert len([beat for beat in beats if beat[0] == "load" and beat[3:] == ("a",)]) >= 2
    assert beats[-1] == ("load", 2, 2, "b")
    loaded.close()


def test_vectors_become_float32(backend: HipBackend) -> None:
    weight = stored("f16", 70)
    loaded = brought(backend, {"norm": weight}, [])
    got = backend.workshop.stream.copy_from(behind(loaded.vectors["norm"]), np.float32)
    assert np.array_equal(got[:70], weight.dense(np.float32).ravel())
    loaded.close()


def test_what_was_loaded_is_given_back_when_a_weight_cannot_be_read(backend: HipBackend) -> None:
    class Damaged(Stored):
        def raw(self) -> np.ndarray:
            raise BackendError("the file ends too early")

    good, bad = stored("q4_0", 64, 256), stored("q4_0", 64, 256)
    weights = {"good": good, "bad": Damaged(bad.spec, bad.blocks)}
    pool = Pool(backend.workshop.stream.driver, small=0)
    workshop = replace(backend.workshop, pool=pool)
    kept = workshop.load({"good": good}, placed({"good": good}), lambda *_: None)
    assert pool.arenas == 1
    with pytest.raises(BackendError, match="ends too early"):
        workshop.load(weights, placed(weights), lambda *_: None)
    assert pool.arenas == 1
    kept.close()
    assert pool.arenas == 0
