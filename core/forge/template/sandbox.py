"""Jinja2's immutable sandbox, with every loop, call, operator and output counted.

The sandbox keeps a template away from Python; this keeps it from running or growing for ever.
Calls, filters, tests and arithmetic pass through the environment anyway. What jinja2 compiles to
plain Python (loops, comparisons, concatenation, slices) is rewritten in the syntax tree first.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

from jinja2 import nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, LoopControlExtension
from jinja2.parser import Parser
from jinja2.runtime import Context, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, pass_context

from forge.template import guards
from forge.template.budget import OBJECT_BYTES, budget
from forge.template.counting import counted
from forge.template.functions import FILTERS, METHODS, TESTS, BoundedFormatter, call_method

STEPS_PER_ARGUMENT = 8


class GenerationTag(Extension):
    """`{% generation %}` marks what the assistant said, for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012  jinja2's own protocol

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class BoundedEnvironment(ImmutableSandboxedEnvironment):
    """What transformers renders chat templates in, within the budget in force."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=[LoopControlExtension, GenerationTag],
            finalize=_printed,
            cache_size=0,
            optimized=False,
        )
        self.filters = dict(FILTERS)
        self.tests = dict(TESTS)
        del self.globals["lipsum"]
        # What the rewritten tree calls; a template cannot name them.
        self.counted = _counted
        self.weighed = _weighed
        self.sliced = _sliced
        self.joined = _joined
        self._own = frozenset(map(id, (_counted, _weighed, _sliced, _joined)))

    def _generate(self, source: nodes.Template, *args: Any, **kwargs: Any) -> str:
        return super()._generate(counted(source, self), *args, **kwargs)

    def call(
        __self,  # noqa: N805  a template may pass any keyword, `self` among them
        __context: Context,
        __obj: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        if id(__obj) in __self._own:
            return __obj(*args)
        scopes = {key: kwargs.pop(key) for key in ("_loop_vars", "_block_vars") if key in kwargs}
        left = budget()
        given = len(args) + len(kwargs)
        left.spend(STEPS_PER_ARGUMENT * given, OBJECT_BYTES * given)
        if isinstance(__obj, types.BuiltinMethodType) and type(__obj.__self__) in METHODS:
            if __obj.__name__ not in METHODS[type(__obj.__self__)]:
                raise SecurityError(f"{__obj.__name__} is not for templates")
            return call_method(__obj, args, kwargs)
        if not isinstance(__obj, Macro) and __obj is not Namespace:
            for value in (*args, *kwargs.values()):
                left.weigh(value)
        return super().call(__context, __obj, *args, **kwargs, **scopes)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        guards.operator(operator, left, right)
        return guards.check_integer(super().call_binop(context, operator, left, right))

    def getitem(self, obj: Any, argument: Any) -> Any:
        if not isinstance(argument, str | int):
            budget().weigh(argument)  # to hash it, or to print it in an error
        return super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        allowed = METHODS.get(type(obj))
        if allowed is not None and attr not in allowed:
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        if not (
            isinstance(value, types.BuiltinMethodType)
            and isinstance(value.__self__, str)
            and value.__name__ in ("format", "format_map")
        ):
            return None
        text, takes_mapping = value.__self__, value.__name__ == "format_map"

        def bounded_format(*args: Any, **kwargs: Any) -> str:
            if takes_mapping:
                (kwargs,), args = args, ()
            budget().spend(guards.STEPS_PER_FORMAT_CHARACTER * len(text))
            result = BoundedFormatter(self).vformat(text, args, kwargs)
            budget().text(len(result))
            return result

        return bounded_format


def _counted(steps: int, characters: int) -> bool:
    budget().spend(steps, characters)
    return True


def _weighed(value: Any) -> Any:
    budget().weigh(value)
    return value


def _sliced(value: Any) -> Any:
    left = budget()
    left.spend(0, left.touch(value) * (1 if isinstance(value, str) else 8))
    return value


def _joined(*values: Any) -> str:
    left = budget()
    left.text(sum(left.weigh(value) for value in values))
    return "".join(map(str, values))


@pass_context  # which also keeps jinja2 from printing constants while it compiles
def _printed(_: Context, value: Any) -> Any:
    left = budget()
    left.text(left.weigh(value))
    return value
