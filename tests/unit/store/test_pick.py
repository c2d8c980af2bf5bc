"""Which of a repository's files a name means."""

from __future__ import annotations

import pytest

from forge.errors import ModelNotFound, UsageError
from forge.store.pick import pick
from forge.store.split import ModelFiles, group, parts

BIG = tuple(f"Q8_0/Big-Q8_0-{i:05}-of-00003.gguf" for i in (1, 2, 3))


@pytest.mark.parametrize(
    ("files", "wanted", "first"),
    [
        (["a-Q8_0.gguf", "a-Q4_K_M.gguf", "a-F16.gguf"], None, "a-Q4_K_M.gguf"),
        (["a-F16.gguf", "a-Q8_0.gguf"], None, "a-Q8_0.gguf"),
        (["a-IQ3_M.gguf"], None, "a-IQ3_M.gguf"),
        (["model.gguf", "README.md"], None, "model.gguf"),
        (["a-q8_0.gguf", "a-q4_k_m.gguf"], "Q8_0", "a-q8_0.gguf"),
        (["a.Q4_K_S.gguf", "a.Q4_K_M.gguf"], "q4_k_s", "a.Q4_K_S.gguf"),
        (["a-UD-Q4_K_XL.gguf", "a-Q4_K_M.gguf"], "Q4_K_XL", "a-UD-Q4_K_XL.gguf"),
        (["a-UD-Q4_K_XL.gguf", "a-Q4_K_XL.gguf"], "Q4_K_XL", "a-Q4_K_XL.gguf"),
        (["a-UD-Q4_K_XL.gguf", "a-Q4_K_XL.gguf"], "UD-Q4_K_XL", "a-UD-Q4_K_XL.gguf"),
        (["a-Q4_K_M-imat.gguf", "a-Q8_0-imat.gguf"], "Q8_0", "a-Q8_0-imat.gguf"),
        (["x/a.gguf", "y/b.gguf"], "b.gguf", "y/b.gguf"),
        (["x/a.gguf", "y/a.gguf"], "y/a.gguf", "y/a.gguf"),
        (["mmproj-a-Q8_0.gguf", "a-Q8_0.gguf", "imatrix.gguf"], "Q8_0", "a-Q8_0.gguf"),
        (["../../a-Q4_K_M.gguf", "/a-Q4_K_M.gguf", "b/../c-Q4_K_M.gguf", "d.gguf"], None, "d.gguf"),
        ([*BIG, "Big-Q4_K_S.gguf"], "Q8_0", BIG[0]),
    ],
)
def test_a_quantisation_picks_its_file(files: list[str], wanted: str | None, first: str) -> None:
    assert pick("user/repo", files, wanted).first == first


def test_a_split_set_is_picked_whole_by_any_part() -> None:
    for wanted in ("Q8_0", BIG[1], BIG[2].rsplit("/")[-1]):
        assert pick("user/repo", reversed(BIG), wanted) == ModelFiles(BIG)


@pytest.mark.parametrize(
    ("files", "wanted", "error", "words"),
    [
        (["a-Q4_K_M.gguf"], "Q2_K", ModelNotFound, r"has no Q2_K; it holds a-Q4_K_M\.gguf"),
        (["a-Q8_0.gguf", "b-Q8_0.gguf"], "Q8_0", UsageError, r"holds a-Q8_0.gguf, b-Q8_0.gguf"),
        (["a.gguf", "b.gguf"], None, UsageError, r"ambiguous; it holds a.gguf, b.gguf\nname one"),
        (["a.safetensors", "mmproj-F16.gguf"], None, ModelNotFound, "no GGUF model"),
        (BIG[:2], "Q8_0", ModelNotFound, r"incomplete there: .*00003-of-00003"),
        (["a\x1b[2J.gguf", "b.gguf"], None, UsageError, r"a\\x1b\[2J.gguf"),
        ([f"{i}.gguf" for i in range(900)], None, UsageError, "and 876 more"),
    ],
)
def test_what_cannot_be_picked_is_answered_with_what_is_there(
    files: list[str], wanted: str | None, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        pick("user/repo", files, wanted)


def test_a_name_that_claims_absurdly_many_parts_is_a_file_of_its_own() -> None:
    for name in ("a-00001-of-99999.gguf", "a-00007-of-00003.gguf", "a-00000-of-00003.gguf"):
        assert parts(name) == (name,)


def test_split_sets_are_grouped_and_their_gaps_known() -> None:
    names = ["m-00001-of-00002.gguf", "m.gguf", "n-00002-of-00002.gguf", "m-00002-of-00002.gguf"]

    assert group(names) == [
        ModelFiles(("m-00001-of-00002.gguf", "m-00002-of-00002.gguf")),
        ModelFiles(("m.gguf",)),
        ModelFiles(("n-00001-of-00002.gguf", "n-00002-of-00002.gguf"), ("n-00001-of-00002.gguf",)),
    ]
