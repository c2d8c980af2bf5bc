"""Text from tokens that arrive one by one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forge.tokenizer import StreamDecoder

PIECES = [bytes([byte]) for byte in range(256)]
PIECES += [b"the", "é".encode(), "中".encode(), "😀".encode(), "日本"[:2].encode()[:4], b""]


def stream(tokens: list[int]) -> list[str]:
    decoder = StreamDecoder(PIECES.__getitem__)
    return [*map(decoder.push, tokens), decoder.finish()]


@given(st.lists(st.integers(0, len(PIECES) - 1)))
def test_any_tokens_give_the_text_of_all_their_bytes_at_once(tokens: list[int]) -> None:
    whole = b"".join(PIECES[token] for token in tokens)
    assert "".join(stream(tokens)) == whole.decode("utf-8", "replace")


@given(st.text())
def test_a_character_comes_out_whole_when_its_last_byte_arrives(text: str) -> None:
    shown = stream(list(text.encode()))
    assert [part for part in shown if part] == list(text)


def test_bytes_that_never_become_a_character_come_out_at_the_end() -> None:
    assert stream(list("中".encode()[:2])) == ["", "", "\ufffd"]


def test_a_hidden_token_inside_a_character_does_not_break_it() -> None:
    first, *rest = "é".encode()
    empty = len(PIECES) - 1
    assert stream([first, empty, *rest]) == ["", "", "é", ""]


def test_a_finished_decoder_starts_anew() -> None:
    decoder = StreamDecoder(PIECES.__getitem__)
    decoder.push(0xE4)
    assert decoder.finish() == "\ufffd"
    assert decoder.push(ord("a")) == "a"
    assert decoder.finish() == ""
