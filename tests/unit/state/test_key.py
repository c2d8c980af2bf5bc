"""When something remembered is still about the present."""

import pytest

from forge.gguf import open_gguf
from forge.state import Key, model_digest
from forge.testing import write_tiny

PARTS = {"kernel": "6.17.9", "driver": "amdgpu", "model": "abc"}
KEPT = Key("hip", "a", PARTS)


@pytest.mark.parametrize(
    ("present", "holds"),
    [
        (Key("hip", "a", PARTS), True),
        (Key("hip", "a", {**PARTS, "kernel": "6.18.3"}), False),
        (Key("hip", "a", {**PARTS, "model": "other"}), False),
        (Key("hip", "a", {**PARTS, "driver": ""}), True),
        (Key("hip", "a", {"kernel": "6.17.9"}), True),
        (Key("hip", "a", {**PARTS, "rocm": "7.0"}), True),
        (Key("hip", "b", PARTS), False),
        (Key("hip", "", PARTS), False),
        (Key("vulkan", "a", PARTS), False),
    ],
)
def test_a_key_holds_while_no_part_known_on_both_sides_differs(present, holds):
    assert KEPT.holds(present) is holds


def test_a_key_of_any_device_or_model_holds_for_each():
    for device in ("", "a", "b"):
        assert Key("hip").holds(Key("hip", device, PARTS))
    assert Key("hip", "a", {**PARTS, "model": ""}).holds(KEPT)


def test_what_changed_is_said_in_words():
    now = {"kernel": "6.18.3", "driver": "amdgpu", "model": "def", "rocm": "7"}
    assert KEPT.changed(Key("hip", "a", now)) == ["kernel 6.17.9 -> 6.18.3", "another model"]
    assert KEPT.changed(KEPT) == []


def test_a_models_digest_is_of_its_table_and_not_of_its_weights(tmp_path):
    one, other, third = (tmp_path / f"{name}.gguf" for name in "abc")
    write_tiny(one)
    write_tiny(other)
    write_tiny(third, tokenizer="bytes")
    with other.open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    digest = model_digest(one)
    assert len(digest) == 24
    assert model_digest(other) == digest
    assert model_digest(third) != digest
    with open_gguf(one) as file:
        assert model_digest(file) == digest
