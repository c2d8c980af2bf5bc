"""The texts that kernels are compiled from."""

from __future__ import annotations

import re

import pytest

from forge_gpu.formats import FORMATS
from forge_hip import variants


def test_a_name_has_its_choices_and_those_of_the_target_are_left_out() -> None:
    kernel, chosen = variants.split("matvec.TYPE=q4_k.SUBGROUPS=1.DOT=1")
    assert (kernel.name, chosen) == ("matvec", {"TYPE": "q4_k"})
    assert variants.unit("gemm.TYPE=q8_0.COOPMAT=1") == "gemm.TYPE=q8_0"
    assert variants.entry("norm.KIND=rms.SUBGROUPS=1", (64, 32, 1)) == "norm_rms_64_32_1"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("matmul", "there is no kernel matmul"),
        ("matvec", "the choices of matvec are TYPE"),
        ("matvec.TYPE=q4_9", "TYPE is one of q4_0"),
        ("planes.TYPE=q4_0", "the choices of planes are"),
    ],
)
def test_what_there_is_not_is_refused_by_name(name: str, said: str) -> None:
    with pytest.raises(variants.SourceError, match=re.escape(said)):
        variants.split(name)


def test_sets_of_constants_are_functions_of_one_text() -> None:
    made = variants.source("select_rows", [(64, 1), (128, 1)])
    assert made.entries == ("select_rows_64_1", "select_rows_128_1")
    assert made.text.count('extern "C" __global__') == 2
    assert "__launch_bounds__(128) select_rows_128_1(" in made.text
    assert "#include" not in made.text
    assert made.text.count("typedef unsigned int u32;") == 1


def test_every_type_of_weight_has_its_kernels() -> None:
    for name in ("matvec", "embed", "choices"):
        assert {*variants.kernels()[name].choices["TYPE"]} == {*FORMATS}
    coded = {kind for kind, form in FORMATS.items() if form.quantised}
    assert {*variants.kernels()["tiles"].choices["TYPE"]} == coded
    assert {*variants.kernels()["gemm"].choices["TYPE"]} == coded | {"f16"}
    assert {*variants.kernels()["dense"].choices["TYPE"]} == {*FORMATS} - coded


def test_texts_use_nothing_that_a_run_time_compiler_lacks() -> None:
    """hiprtc has no INFINITY, and the fixed-width types of stdint.h only in a namespace."""
    lacking = re.compile(r"\b(INFINITY|NAN|u?int(8|16|32|64)_t|std::|size_t)\b")
    for path in sorted(variants.KERNELS.iterdir()):
        code = re.sub(r"//.*", "", path.read_text())
        assert not lacking.search(code), path.name


def test_a_source_that_says_nothing_of_itself_is_refused(tmp_path) -> None:
    for text, said in (
        ("int x;", "INLINE void run("),
        ("INLINE void run(u32* x) {}", "no `//! constants:`"),
        ("INLINE void run(u32* x) {}\n//! constants: many", "is not as it should be"),
    ):
        path = tmp_path / "odd.hip"
        path.write_text(text)
        with pytest.raises(variants.SourceError, match=re.escape(said)):
            variants.described(path)
