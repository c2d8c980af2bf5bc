"""Bugs that small tests miss, and honest backends of another shape: the suite tells them apart."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from forge.testing.suite.test_decoding import CHOICES

from .suite_run import run_suite_fixture  # noqa: F401

OPS, MODELS, CONTRACT = "test_ops", "test_models", "test_contract"
DECODING, SIDE = "test_decoding", "test_side_by_side"
QUICK = "--forge-quick"
HEEDS = "*heeds_everything*[[]"

PLANTED = {
    "RareRace": (OPS, "often and softcap", ["*however_often[[]softcap--]"]),
    "OneScale": (OPS, "matmul and outlier", ["*[[]matmul-q8_0-outlier]"]),
    "SecondTileOfTokens": (OPS, "matmul and crowd", ["*[[]matmul-q8_0-crowd]"]),
    "EightTokens": (OPS, "matmul and growing", ["*[[]matmul-f16-growing]"]),
    "GridOfRows": (OPS, "matmul and tall", ["*[[]matmul-q4_0-tall]"]),
    "GridOfNumbers": (OPS, "silu_mul and many", ["*[[]silu_mul---many]"]),
    "OneWarpOfExperts": (OPS, "experts and 128", ["*[[]experts-f32-128of8]"]),
    "OddHeads": (OPS, "attention and 2x72", ["*[[]attention-causal-8over2x72]"]),
    "FourTokens": (OPS, "attention and growing", ["*[[]attention-causal-growing]"]),
    "Float64": (DECODING, "last_place", ["*last_place*"]),
    "WritesToPositions": (OPS, "rope and 5x64 or numbers and scale", ["*test_numbers*"]),
    "FusesInPlace": (OPS, "rms_norm and 3x64", ["*test_numbers[[]rms_norm*"]),
    "WeightsByName": (SIDE, "executables", ["*do_not_disturb*"]),
    "StateOfTheLast": (SIDE, "executables", ["*do_not_disturb*"]),
    "OneReplay": (SIDE, "turns", ["*in_turns*"]),
    "KeepForAll": (SIDE, "slot", ["*the_other_keeps*"]),
    "SlotOfTheFirst": (SIDE, "sequences", ["*as_if_it_were_alone*"]),
    "DecodesSlotZero": (SIDE, "slot", ["*the_other_keeps*"]),
    "AllAtTheEnd": (DECODING, "yields", ["*long_before_the_last*"]),
    "OneTooMany": (DECODING, "heeds and cut", [f"{HEEDS}cut]"]),
    "NanIsAToken": (DECODING, "nan or alike", ["*[[]nan]", "*[[]alike]"]),
    "AcceptsNothing": (DECODING, "heeds", [f"{HEEDS}frequency]"]),
    "DrawsItsOwnWay": (DECODING, "heeds", [f"{HEEDS}{choice}]" for choice in CHOICES]),
    "HangsAtExit": (CONTRACT, "process and ends", ["*ends_by_itself*"]),
    "NoByItself": (CONTRACT, "every_node", ["*every_node*"]),
}
"""Which tests each bug is tried on, and patterns of those that must fail; each must match some."""


@pytest.mark.parametrize("bug", PLANTED)
def test_a_bug_that_small_tests_miss_fails_the_right_test(bug, run_suite):
    module, chosen, patterns = PLANTED[bug]
    run = run_suite(module, f"subtle:{bug}", chosen, {}, "--forge-timeout", "5")
    for pattern in patterns:
        assert any(fnmatchcase(test, pattern) for test in run.failed()), (pattern, run.text)


@pytest.mark.parametrize(
    ("shape", "module", "like"),
    [
        ("OneAtATime", OPS, "numbers and (attention and (33 or slots or growing) or select_rows)"),
        ("ThreeAtATime", OPS, "attention and slots"),
        ("ThreeAtATime", MODELS, "llama"),
        ("ThreeAtATime", DECODING, ""),
        ("ThreeAtATime", SIDE, ""),
        ("ThousandsAtATime", OPS, "crowd or 1031x"),
        ("Int8", OPS, "matmul and (outlier or crowd or growing)"),
        ("LlamaAlone", CONTRACT, ""),
        ("LlamaAlone", SIDE, ""),
    ],
)
def test_an_honest_backend_of_another_shape_passes(shape, module, like, run_suite):
    name = f"{'mutants' if shape == 'Int8' else 'honest'}:{shape}"
    run = run_suite(module, name, like, {}, *[QUICK] * (module != OPS))
    assert not run.failed(), run.text
    assert run.passed()
