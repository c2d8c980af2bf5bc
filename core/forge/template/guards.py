"""What an operation is about to cost, charged before it is done.

A guard takes the arguments of the filter, method or operator that it stands before, under the same
names, and raises LimitExceeded where that would grow beyond bounds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from forge.template.budget import (
    OBJECT_BYTES,
    SLOW_CHARACTERS_PER_STEP,
    LimitExceeded,
    budget,
)

MAX_WIDTH = 1000  # of a padded, indented or formatted field
MAX_PARTS = 100_000  # of |batch and |slice
MAX_PRECISION = 300
MAX_INTEGER_BITS = 4096
URL_GROWTH = 12  # a character of four bytes, each written as %XX
LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # where str.splitlines cuts
WIDE = re.compile(r"\d{4,}|\*")
FIELD_PARTS = re.compile(r"[%)*]|\d{4,}|[A-Za-z]+")
STEPS_PER_FORMAT_CHARACTER = 4


def check_width(width: Any) -> int:
    """The width of a field, or of the text that stands for one, if it is within reason."""
    number = width if isinstance(width, int) else len(str(width))
    if number > MAX_WIDTH:
        raise LimitExceeded(f"a width of {number} is more than {MAX_WIDTH}")
    return max(number, 0)


def check_field(spec: str) -> None:
    """Refuse a width, or one that comes from elsewhere, in a format's field."""
    if found := WIDE.search(spec):
        raise LimitExceeded(f"{found[0]!r} is too wide for a formatted field")


def check_integer(value: Any) -> Any:
    """`value`, unless it is a number that only serves to fill memory."""
    if isinstance(value, int) and value.bit_length() > MAX_INTEGER_BITS:
        raise LimitExceeded(f"it makes a number of more than {MAX_INTEGER_BITS} bits")
    return value


def printf(text: Any, *values: Any, **named: Any) -> None:
    """`text % values`."""
    text = str(text)
    budget().spend(STEPS_PER_FORMAT_CHARACTER * len(text))
    # A width stands between a % (with a name in brackets) and a letter.
    in_field = seen = False
    for part in FIELD_PARTS.finditer(text):
        if part[0] == "%":
            in_field = seen = True
        elif part[0] == ")":
            in_field = seen
        elif part[0].isalpha():
            in_field = False
        elif in_field:
            check_field(part[0])
    characters = budget().weigh([values, named], SLOW_CHARACTERS_PER_STEP)
    budget().text(len(text) + text.count("%") * (MAX_WIDTH + characters))


def replace(s: Any, old: Any, new: Any, count: Any = None) -> None:
    """|replace and str.replace."""
    text, old, new = str(s), str(old), str(new)
    times = text.count(old)
    if isinstance(count, int) and count >= 0:
        times = min(times, count)
    budget().text(len(text) + times * max(0, len(new) - len(old)))


def join(value: Any, d: Any = "", *_: Any, **__: Any) -> None:
    """|join."""
    characters = budget().weigh(value, SLOW_CHARACTERS_PER_STEP)
    size = budget().touch(value)
    budget().text(characters + len(str(d)) * size)
    budget().spend(size, OBJECT_BYTES * size)


def indent(s: Any, width: Any = 4, *_: Any, **__: Any) -> None:
    """|indent."""
    budget().text(len(str(s)) + check_width(width) * splitlines(str(s)))


def splitlines(text: str, *_: Any, **__: Any) -> int:
    """str.splitlines; how many lines there are at most."""
    lines = 1 + sum(map(text.count, LINE_ENDS))
    budget().spend(lines + len(text) // 4, lines * OBJECT_BYTES)
    return lines


def split(text: str, sep: Any = None, *_: Any, **__: Any) -> None:
    """str.split and str.rsplit."""
    parts = text.count(sep) + 1 if sep else len(text) // 2 + 1
    budget().spend(parts, parts * OBJECT_BYTES)


def words(s: Any) -> None:
    """|title and |wordcount, which cut a text into words with a regex."""
    size = len(str(s))
    budget().spend(4 * size, size * OBJECT_BYTES)


def _expandtabs(text: str, tabsize: Any = 8) -> None:
    budget().text(len(text) + text.count("\t") * check_width(tabsize))


def _pad(_: Any, width: Any = 80, *__: Any) -> None:
    check_width(width)


def _parts(number: Any) -> None:
    if isinstance(number, int) and number > MAX_PARTS:
        raise LimitExceeded(f"{number} parts are more than {MAX_PARTS}")
    budget().spend(max(int(number), 0), max(int(number), 0) * OBJECT_BYTES)


def _batch(_: Any, linecount: Any, *__: Any, **___: Any) -> None:
    _parts(linecount)


def _slice(_: Any, slices: Any, *__: Any, **___: Any) -> None:
    _parts(slices)


def _round(_: Any, precision: Any = 0, *__: Any, **___: Any) -> None:
    if not -MAX_PRECISION <= precision <= MAX_PRECISION:
        raise LimitExceeded(f"a precision of {precision} is more than {MAX_PRECISION}")


def _sum(_: Any, __: Any = None, start: Any = 0, **___: Any) -> None:
    if not isinstance(start, int | float):
        raise TypeError("sum adds numbers only")


def _number(value: Any, *_: Any, **__: Any) -> None:
    budget().spend(len(value) if isinstance(value, str) else 0)


def _urlencode(value: Any) -> None:
    budget().text(URL_GROWTH * budget().weigh(value, SLOW_CHARACTERS_PER_STEP))


FILTER_GUARDS: Mapping[str, Callable[..., object]] = {
    "batch": _batch,
    "center": _pad,
    "format": printf,
    "indent": indent,
    "int": _number,
    "join": join,
    "replace": replace,
    "round": _round,
    "slice": _slice,
    "sum": _sum,
    "title": words,
    "urlencode": _urlencode,
    "wordcount": words,
}
METHOD_GUARDS: Mapping[str, Callable[..., object]] = {
    "center": _pad,
    "expandtabs": _expandtabs,
    "join": lambda separator, items: join(items, separator),
    "ljust": _pad,
    "replace": replace,
    "rjust": _pad,
    "rsplit": split,
    "split": split,
    "splitlines": splitlines,
    "zfill": _pad,
}


def operator(symbol: str, left: Any, right: Any) -> None:
    """`left symbol right`."""
    have = budget()
    if symbol == "%" and isinstance(left, str):
        printf(left, right)
    elif symbol == "*":
        _multiply(left, right)
    elif symbol == "**":
        numbers = isinstance(left, int) and isinstance(right, int)
        if numbers and right > 0 and left.bit_length() * right > 2 * MAX_INTEGER_BITS:
            raise LimitExceeded(f"it makes a number of more than {MAX_INTEGER_BITS} bits")
    elif symbol == "+" and isinstance(left, str) and isinstance(right, str):
        have.text(len(left) + len(right))
    elif not isinstance(left, int | float) or not isinstance(right, int | float):
        size = have.touch(left) + have.touch(right)
        have.spend(size, 8 * size)
        if symbol == "-":
            have.weigh([left, right])  # sets of a dictionary's items hash them


def _multiply(left: Any, right: Any) -> None:
    for value, times in ((left, right), (right, left)):
        if isinstance(times, int) and isinstance(value, str | list | tuple):
            size = len(value) * max(times, 0)
            if isinstance(value, str):
                budget().text(size)
            else:
                budget().spend(size, 8 * size)
