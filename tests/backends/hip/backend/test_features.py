"""What kernels are chosen by follows from the instruction set, less what is switched off."""

from __future__ import annotations

import pytest

from forge.backend import BackendUnavailable
from forge_hip.features import WITHOUT, features


@pytest.mark.parametrize(
    ("arch", "dot", "coopmat"),
    [
        ("gfx1010", False, False),
        ("gfx1013", False, False),
        ("gfx1012", True, False),
        ("gfx1030", True, False),
        ("gfx1036", True, False),
        ("gfx1100", True, True),
        ("gfx1151", True, True),
        ("gfx1201", True, True),
    ],
)
def test_an_instruction_set_has_what_its_manual_says(arch: str, dot: bool, coopmat: bool) -> None:
    found = features(arch, 65536)
    assert (found.dot, found.coopmat) == (dot, coopmat)
    assert found.subgroup == found.subgroup_most == 32


def test_what_is_switched_off_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WITHOUT, "dot,coopmat")
    found = features("gfx1100", 65536)
    assert not found.dot
    assert not found.coopmat


def test_a_name_that_is_no_feature_is_answered_with_those_that_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(WITHOUT, "dots")
    with pytest.raises(BackendUnavailable, match="names dots; known are dot, coopmat, graphs"):
        features("gfx1100", 65536)
