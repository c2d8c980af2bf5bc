"""The filters, tests and methods that a chat template may use, each within the budget."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterator
from itertools import chain
from string import Formatter
from typing import Any

from jinja2.filters import FILTERS as ALL_FILTERS
from jinja2.sandbox import SandboxedFormatter
from jinja2.tests import TESTS as ALL_TESTS
from markupsafe import escape

from forge.template.budget import MAX_TEXT, OBJECT_BYTES, SLOW_CHARACTERS_PER_STEP, budget
from forge.template.guards import FILTER_GUARDS, METHOD_GUARDS, check_field, check_width

STEPS_PER_CALL = 10
STEPS_PER_ITEM = {"map": 50, "reject": 50, "select": 50, "rejectattr": 50, "selectattr": 50}
STEPS_PER_LOOK_UP = 10


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Filters that do not look into their input, and those that go over it but no deeper.
IMMEDIATE = _names("attr count d default first items last length")
SHALLOW = _names("batch list map reject rejectattr reverse select selectattr slice")
# Filters that do something in Python with every item, and those that only make a list.
ITEM_BY_ITEM = _names(
    "groupby join map max min reject rejectattr select selectattr sort sum unique"
)
LISTING = _names("batch list slice") | ITEM_BY_ITEM
# HTML, randomness and Python-speed regexes over untrusted text have no place in a prompt.
LEFT_OUT = _names("filesizeformat pprint random striptags urlize wordwrap xmlattr")
DEEP_TESTS = _names("eq equalto == ne != lt lessthan < le <= gt greaterthan > ge >= in")

METHODS: dict[type, frozenset[str]] = {
    str: _names(
        "capitalize casefold center count endswith expandtabs find format format_map index isalnum "
        "isalpha isascii isdecimal isdigit isidentifier islower isnumeric isprintable isspace "
        "istitle isupper join ljust lower lstrip partition removeprefix removesuffix replace rfind "
        "rindex rjust rpartition rsplit rstrip split splitlines startswith strip swapcase title "
        "upper zfill"
    ),
    list: _names("copy count index"),
    tuple: _names("count index"),
    dict: _names("copy get items keys values"),
    range: _names("count index"),
    **dict.fromkeys((int, bool, float, bytes, type(None)), frozenset()),
    **dict.fromkeys((type({}.items()), type({}.keys()), type({}.values())), frozenset()),
}


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as transformers' templates expect it: no HTML escapes, the arguments of json.dumps."""
    for field in (indent or 0, *(separators or ())):
        check_width(field)
    encoder = json.JSONEncoder(
        ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )
    pieces: list[str] = []
    size = 0
    for piece in encoder.iterencode(value):
        size += len(piece)
        budget().spend(1, len(piece) + OBJECT_BYTES)
        if size > MAX_TEXT:
            break
        pieces.append(piece)
    budget().text(size)
    return "".join(pieces)


class BoundedFormatter(SandboxedFormatter):
    """str.format without wide fields; attributes are looked up in the sandbox."""

    def format_field(self, value: Any, format_spec: str) -> str:
        check_field(format_spec)
        budget().text(budget().weigh(value, SLOW_CHARACTERS_PER_STEP))
        return str(Formatter.format_field(self, value, format_spec))

    def convert_field(self, value: Any, conversion: Any) -> Any:
        budget().weigh(value, SLOW_CHARACTERS_PER_STEP)
        return budget().made(Formatter.convert_field(self, value, conversion))


def call_method(method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a string's, list's or dictionary's method within the budget."""
    owner, name = method.__self__, method.__name__
    if isinstance(owner, str):
        budget().touch(owner)
    elif name in ("index", "count"):
        budget().weigh(owner)
    for value in chain(args, kwargs.values()):
        budget().weigh(value)
    if guard := METHOD_GUARDS.get(name):
        guard(owner, *args, **kwargs)
    return budget().made(method(*args, **kwargs))


def _bounded_filter(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    passes_argument = hasattr(function, "jinja_pass_arg")
    guard = FILTER_GUARDS.get(name)

    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        value, *options = args[1:] if passes_argument else args
        left = budget()
        left.spend(STEPS_PER_CALL)
        if name in SHALLOW:
            left.touch(value)
        elif name not in IMMEDIATE:
            left.weigh(value)
        if name in LISTING:
            size = left.touch(value)
            left.spend(size, size * OBJECT_BYTES if isinstance(value, str) else 0)
            if name in ITEM_BY_ITEM:
                # Attributes may be paths, and lists of paths.
                paths = [option for option in (*options, *kwargs.values()) if type(option) is str]
                steps = sum(1 + path.count(".") + path.count(",") for path in paths)
                left.spend(size * (STEPS_PER_ITEM.get(name, 10) + STEPS_PER_LOOK_UP * steps))
        for option in chain(options, kwargs.values()):
            left.weigh(option)
        if guard:
            guard(value, *options, **kwargs)
        result = function(*args, **kwargs)
        if isinstance(result, Iterator):  # lazy filters run here, where their work is counted
            result = _listed(result)
        return left.made(result)

    return bounded


def _listed(items: Iterator[Any]) -> list[Any]:
    out = []
    for item in items:
        budget().spend(4, OBJECT_BYTES)
        out.append(item)
    return out


def _bounded_test(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    passes_argument = hasattr(function, "jinja_pass_arg")

    @functools.wraps(function)
    def bounded(*args: Any, **kwargs: Any) -> Any:
        budget().spend(STEPS_PER_CALL)
        for value in args[1:] if passes_argument else args:
            if name in DEEP_TESTS:
                budget().weigh(value)
            elif isinstance(value, str):
                budget().touch(value)
        return function(*args, **kwargs)

    return bounded


def _plain(value: Any) -> str:
    return str(value)


def _plain_escape(value: Any) -> str:
    text = str(value)
    budget().text(len(text) + 5 * sum(map(text.count, "&<>\"'")))
    return str(escape(text))


FILTERS: dict[str, Callable[..., Any]] = {
    name: _bounded_filter(name, function)
    for name, function in {
        **{k: v for k, v in ALL_FILTERS.items() if k not in LEFT_OUT},
        "tojson": tojson,
        "safe": _plain,  # nothing is escaped, so nothing needs the mark
        "e": _plain_escape,
        "escape": _plain_escape,
        "forceescape": _plain_escape,
    }.items()
}
TESTS: dict[str, Callable[..., Any]] = {
    name: _bounded_test(name, function)  # type: ignore[arg-type]  # jinja2's table is of object
    for name, function in ALL_TESTS.items()
}
