"""The conformance suite itself: honest backends pass, planted bugs fail the right test."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest

from .suite_run import run_suite_fixture  # noqa: F401

OPS, MODELS, CONTRACT = "test_ops", "test_models", "test_contract"

PLANTED = {
    "RopePairs": (OPS, "rope", ["*test_numbers[[]rope-n*]"]),
    "RopeHalfPositions": (OPS, "rope", ["*[[]rope-n*-at-4095]", "*[[]rope-n*-at-131071]"]),
    "DroppedScale": (OPS, "matmul and q4_", ["*test_numbers[[]matmul-q4_0-*"]),
    "UnwrittenTail": (OPS, "matmul and f32", ["*test_numbers[[]matmul-f32-*"]),
    "HalfSums": (OPS, "matmul and (f32 or f16)", ["*test_numbers[[]matmul-f32-*"]),
    "WashedNan": (OPS, "matmul and (q4_0 or q8_0)", ["*nowhere_else[[]matmul-q?_0-x-*"]),
    "NanSpreads": (OPS, "rms_norm", ["*nowhere_else[[]rms_norm-*"]),
    "Noise": (OPS, "matmul and q8_0", ["*test_numbers[[]matmul-q8_0-*"]),
    "LastRowOfTable": (OPS, "embed and q8_0", ["*test_numbers[[]embed-q8_0-*"]),
    "EpsilonOutside": (OPS, "rms_norm", ["*test_numbers[[]rms_norm-f32-small*"]),
    "GeluAlwaysTanh": (OPS, "gelu_mul", ["*gelu_mul-quick*", "*gelu_mul-none*"]),
    "ExpertsNotNormalised": (OPS, "experts and f32", ["*test_numbers[[]experts-f32-*"]),
    "RowsInOrder": (OPS, "select_rows", ["*select_rows-*-reversed-*", "*select_rows-*-twice-*"]),
    "WindowOffByOne": (OPS, "attention and (window or softcap)", ["*attention-window-*"]),
    "NoSoftcap": (OPS, "attention and (window or softcap)", ["*attention-softcap-*"]),
    "NoSinks": (OPS, "attention and (sinks or softcap)", ["*test_numbers[[]attention-sinks-*"]),
    "HeadsInterleaved": (OPS, "attention and over", ["*attention-causal-8over2x*"]),
    "LastPlaceLost": (OPS, "attention and (full or window)", ["*attention-causal-full-33*"]),
    "SecondChunkBlind": (
        MODELS,
        "llama and (chunks or prefix)",
        ["*in_chunks*", "*a_prefix_that_was_kept*"],
    ),
    "DecodeUnscaled": (MODELS, "llama and (token or last)", ["*token_by_token*"]),
    "StaleCache": (
        MODELS,
        "llama and token",
        ["*decode_may_be_left*", "*token_by_token*"],
    ),
    "LyingKeep": (MODELS, "llama and prefix", ["*a_prefix_that_was_kept*"]),
    "GreedyDecode": (MODELS, "decode", ["*decode_draws*drawn]"]),
    "DecodeAhead": (MODELS, "decode and llama", ["*decode_may_be_left*"]),
    "NumberedProfile": (MODELS, "profile and llama", ["*a_profile_names*"]),
    "LastingProfile": (MODELS, "profile and llama", ["*a_profile_names*"]),
    "NoHalf": (MODELS, "f16 and llama", ["*test_logits_are_those_of_the_model[[]llama-f16]"]),
    "ReusedBuffer": (OPS, "add", ["*test_numbers*"]),
    "PromisesTooMuch": (OPS, "embed and q4", ["*embed-q4_1-*"]),
    "NoProgress": (CONTRACT, "loading", ["*every_piece_of_loading_is_a_beat"]),
    "DeafToCancel": (CONTRACT, "loading", ["*loading_can_be_given_up*"]),
    "ClosesOnce": (CONTRACT, "closing", ["*closing_twice*"]),
    "SharedState": (CONTRACT, "two", ["*two_of_them_in_one_process*"]),
    "AnyDevice": (CONTRACT, "device", ["*every_device_that_it_lists*"]),
    "Littering": (CONTRACT, "folder or chunk", ["*current_folder*"]),
}
"""Which tests each bug is tried on, and patterns of those that must fail; each must match some."""


@pytest.mark.parametrize("bug", PLANTED)
def test_a_planted_bug_fails_the_right_test(bug, run_suite):
    module, chosen, patterns = PLANTED[bug]
    run = run_suite(module, f"mutants:{bug}", chosen, {}, "--forge-quick")
    for pattern in patterns:
        assert any(fnmatchcase(test, pattern) for test in run.failed()), (pattern, run.text)


@pytest.mark.parametrize(
    ("shortcut", "module", "like"),
    [
        ("Int8", OPS, "matmul or experts or attention"),
        ("Int8", MODELS, ""),
        ("WholeBlocks", OPS, "attention"),
        ("WholeBlocks", MODELS, ""),
    ],
)
def test_an_honest_shortcut_passes(shortcut, module, like, run_suite):
    run = run_suite(module, f"mutants:{shortcut}", like, {}, "--forge-quick")
    assert not run.failed(), run.text
    assert len(run.passed()) > 20


@pytest.mark.parametrize(
    ("ending", "words"), [("Segfault", "SIGSEGV"), ("Hang", "no progress for 2 s in Run")]
)
def test_a_kernel_that_ends_its_process_fails_its_test_and_no_other(ending, words, run_suite):
    some = "(scale or softcap or add) and 3x64 or softcap-x"
    run = run_suite(OPS, f"mutants:{ending}", some, {}, "--forge-timeout", "2")
    assert {_op(test) for test in run.failed()} == {"softcap"}
    assert {_op(test) for test in run.passed()} == {"scale", "add"}
    assert words in run.text


def _op(test: str) -> str:
    return test.partition("[")[2].partition("-")[0]


def test_a_known_failure_is_expected_and_must_fail(tmp_path, run_suite):
    known = tmp_path / "known.txt"
    options = "--forge-xfails", str(known)

    def rope(text: str, backend: str):
        known.write_text(text)
        return run_suite(OPS, backend, "numbers and rope-norm-5x", {}, *options)

    swapped = "# ours\ntest_ops.py::test_numbers[rope-norm-5x*]  # pairs are swapped\n"
    wrong = rope(swapped, "mutants:RopePairs")
    assert not wrong.failed(), wrong.text
    assert "XFAIL" in wrong.outcomes.values()
    mended = rope(swapped, "mutants:Sound")
    assert mended.failed(), "a failure that is known and does not happen is news"
    gone = rope("test_numbers[no-such-op]  # gone\n", "mutants:Sound")
    assert "no test is like 'test_numbers[no-such-op]'" in gone.text
    marked = rope("\ufeff" + swapped.replace("\n", "\r\n"), "mutants:RopePairs")
    assert not marked.failed(), "an editor's mark before the first line is no part of it"
    bare = rope("test_numbers[rope-*]\n", "mutants:Sound")
    assert "say why after a #" in bare.text


def test_the_table_is_written_and_can_be_required(tmp_path, run_suite):
    table, asks = tmp_path / "table.csv", "every_node"
    full = run_suite(CONTRACT, "mutants:Sound", asks, {}, "--forge-report", str(table))
    assert not full.failed(), full.text
    lines = table.read_text().splitlines()
    assert lines[0] == "op,type,level"
    assert {"matmul,q4_k,supported", "attention,sinks,supported"} <= {*lines}
    poor = run_suite(CONTRACT, "mutants:NoHalf", asks, {}, "--forge-require", str(table))
    assert poor.failed()
    assert "matmul with f16: unsupported, required is supported" in poor.text
    assert re.search(r"matmul +no: f32 f16 .*; yes: q8_0", poor.text)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--forge-report", "no/such/folder.csv", "there is no such folder to write to"),
        ("--forge-require", "no-such.csv", "No such file"),
        ("--forge-xfails", "binary", "not a text in UTF-8"),
        ("--forge-require", "binary", "not a text in UTF-8"),
        ("--forge-timeout", "nan", "invalid seconds value: 'nan'"),
    ],
)
def test_an_option_that_cannot_be_is_refused_before_any_test(
    option, value, words, run_suite, tmp_path
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "binary").write_bytes(b"\xff\xfe\0")
    report = run_suite(CONTRACT, "mutants:Sound", "takes_at", {}, option, value)
    assert not report.outcomes
    assert words in report.text
    assert "Traceback" not in report.text


def test_a_report_that_no_test_has_made_is_said_to_be_missing(run_suite, tmp_path):
    report = tmp_path / "report.csv"
    run = run_suite(CONTRACT, "mutants:Sound", "takes_at", {}, "--forge-report", str(report))
    assert "report.csv is not written" in run.text
    assert not report.exists()


def test_without_a_backend_or_with_one_that_is_not_there_it_says_what_there_is(run_suite):
    assert "there is no backend 'nope'; there are: cpu" in run_suite(CONTRACT, "nope").text
    assert "say which backend with --forge-backend: cpu" in run_suite(CONTRACT, "").text
