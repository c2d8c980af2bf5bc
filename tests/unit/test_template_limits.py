"""What a chat template must not do: reach Python, run for ever, or fill the memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from forge.errors import TextError
from forge.template import ChatTemplate

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hi "},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Why?"},
]


def make(source: str) -> ChatTemplate:
    return ChatTemplate(source, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize(
    "expression",
    [
        "''.__class__.__mro__",
        "''['__class__'].__mro__",
        "(''|attr('__class__')).__mro__",
        "(['']|map(attribute='__class__')|first).__mro__",
        "{}.__class__.__base__.__subclasses__()",
        "'{0.__class__.__mro__}'.format('').x",
        "('{0.__class__.__mro__}'|attr('format'))('').x",
        "'{x.__class__.__mro__}'.format_map({'x': 1}).x",
        "cycler.__init__.__globals__",
        "namespace.__init__.__globals__",
        "raise_exception.__globals__.x",
        "strftime_now.__closure__.x",
        "self._TemplateReference__context.x",
        "nothing._fail_with_undefined_error.__globals__",
        "messages.__init_subclass__()",
        "range.__class__.__mro__",
        "messages[0].items.__self__.x",
        "'a'.encode().hex()",
        "(5).to_bytes(9, 'little')",
        "'a'.translate({97: 'x'})",
        "environment.x",
        "context.x",
        "lipsum()",
        "counted(-1, 0)",
    ],
)
def test_python_is_out_of_reach(expression: str) -> None:
    with pytest.raises(TextError, match=r"unsafe|undefined|has no attribute|not for templates"):
        make("{{ " + expression + " }}").render(TALK)


TWICE = "{% set ns = namespace(x='abcdefgh', y=[1], z=[1], t=(1,)) %}{% for i in range(99) %}"
TANGLE = TWICE + (
    "{% set ns.y = [ns.y, ns.y] %}{% set ns.z = [ns.z, ns.z] %}{% set ns.t = (ns.t, ns.t) %}"
    "{% endfor %}"
)
LONG = "{% set a = 'x' * 8000000 %}{% set b = ('x' * 7999999) ~ 'x' %}{% for i in range(99999) %}"
MANY = "{% set a = [0] * 1000000 %}{% for i in range(99999) %}"
HOSTILE = {
    "a long range": "{% for i in range(10**9) %}x{% endfor %}",
    "nested loops without output": "{% for i in range(99999) %}{% for j in range(99999) %}"
    "{% endfor %}{% endfor %}",
    "a loop that selects nothing": "{% for i in range(99999) %}{% for j in range(99999) if false %}"
    "{% endfor %}{% endfor %}",
    "a loop over a string": LONG + "{% for c in a %}{% endfor %}{% endfor %}",
    "text times number": "{{ 'a' * 10**9 }}",
    "number times text": "{{ 10**9 * 'a' }}",
    "list times number": "{{ ([0] * 10**9) | length }}",
    "power of power": "{{ 10 ** (10 ** 10) }}",
    "squares of squares": "{% set ns = namespace(x=99) %}{% for i in range(60) %}"
    "{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "doubling by +": TWICE + "{% set ns.x = ns.x + ns.x %}{% endfor %}",
    "doubling by ~": TWICE + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "doubling by a block": TWICE + "{% set v %}{{ ns.x }}{{ ns.x }}{% endset %}"
    "{% set ns.x = v %}{% endfor %}",
    "doubling by |join": TWICE + "{% set ns.x = [ns.x, ns.x] | join %}{% endfor %}",
    "doubling by join": TWICE + "{% set ns.x = ''.join([ns.x, ns.x]) %}{% endfor %}",
    "doubling by %": TWICE + "{% set ns.x = '%s%s' % (ns.x, ns.x) %}{% endfor %}",
    "doubling by format": TWICE + "{% set ns.x = '{0}{0}'.format(ns.x) %}{% endfor %}",
    "doubling by replace": TWICE + "{% set ns.x = ns.x.replace('a', ns.x) %}{% endfor %}",
    "doubling lists": TWICE + "{% set ns.y = ns.y + ns.y %}{% endfor %}",
    "a tangle printed": TANGLE + "{{ ns.y }}",
    "a tangle in its namespace": TANGLE + "{{ ns }}",
    "a tangle as a string": TANGLE + "{{ ns.y | string | length }}",
    "a tangle compared": TANGLE + "{{ ns.y == ns.z }}",
    "a tangle tested": TANGLE + "{{ ns.y is eq ns.z }}",
    "a tangle looked for": TANGLE + "{{ [ns.y].index(ns.z) }}",
    "a tangle as a key": TANGLE + "{{ {ns.t: 1} }}",
    "a tangle as an index": TANGLE + "{{ {}[ns.t] }}",
    "a tangle got": TANGLE + "{{ {}.get(ns.t) }}",
    "a tangle as an attribute": TANGLE + "{{ {} | attr(ns.t) }}",
    "a tangle in JSON": TANGLE + "{{ ns.y | tojson }}",
    "a tangle raised": TANGLE + "{{ raise_exception(ns.y) }}",
    "a tangle formatted": TANGLE + "{{ '{}'.format(ns.y) }}",
    "a tangle sorted": TANGLE + "{{ [ns.y, ns.z] | sort }}",
    "a tangle as a wrong index": TANGLE + "{{ [1][ns.y].x }}",
    "a namespace in itself": "{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}",
    "a wide |center": "{{ 'a' | center(10**9) }}",
    "a constant |center": "{{ 'a' | center(1000000000) }}",
    "a wide center": "{{ 'a'.center(10**9) }}",
    "a wide ljust": "{{ 'a'.ljust(10**9) }}",
    "a wide zfill": "{{ 'a'.zfill(10**9) }}",
    "wide tabs": "{{ '\t'.expandtabs(10**9) }}",
    "a wide |indent": "{{ 'a\nb' | indent(10**9) }}",
    "a wide |indent by text": "{{ 'a\nb' | indent('x' * 99999) }}",
    "an |indent of many lines": "{{ ('a\n' * 1000000) | indent(900) }}",
    "a wide %d": "{{ '%1000000000d' % 1 }}",
    "a wide named %d": "{{ '%(a b)1000000000d' % {'a b': 1} }}",
    "a starred %d": "{{ '%*d' % (1000000000, 1) }}",
    "a precise %f": "{{ '%.1000000000f' % 1 }}",
    "a wide |format": "{{ '%1000000000d' | format(1) }}",
    "many fields": "{{ ('%(a)s' * 99999) % {'a': 'x' * 99999} }}",
    "a wide format": "{{ '{:1000000000}'.format(1) }}",
    "a nested format": "{{ '{:{}}'.format(1, 1000000000) }}",
    "a wide format_map": "{{ '{a:1000000000}'.format_map({'a': 1}) }}",
    "a wide |attr format": "{{ ('{:1000000000}' | attr('format'))(1) }}",
    "a growing |replace": "{{ ('a' * 99999) | replace('a', 'b' * 99999) }}",
    "a growing replace": "{{ ('a' * 99999).replace('', 'b' * 99999) }}",
    "a growing |join": "{{ range(99999) | join('x' * 99999) }}",
    "a growing join": "{{ ('x' * 99999).join('a' * 99999) }}",
    "a full |batch": "{{ [1] | batch(10**9, 0) | list }}",
    "many a |slice": "{{ [1] | slice(10**9) | list }}",
    "a |round of many digits": "{{ 1.5 | round(10**9, 'ceil') }}",
    "a |sum of lists": "{{ ([[0] * 99] * 99) | sum(start=[]) }}",
    "a |list of a text": "{{ ('€x' * 4000000) | list | length }}",
    "a wide tojson": "{{ [0] | tojson(indent=10**9) }}",
    "wide separators": "{{ ([0] * 99999) | tojson(separators=['x' * 1000, '']) }}",
    "comparing long texts": LONG + "{% if a == b %}{% endif %}{% endfor %}",
    "searching long texts": LONG + "{% if 'xxxy' in a %}{% endif %}{% endfor %}",
    "finding in long texts": LONG + "{% set c = a.find('xxxy') %}{% endfor %}",
    "cutting long texts": LONG + "{% set c = a[1:] %}{% endfor %}",
    "raising long texts": LONG + "{% set c = a | upper %}{% endfor %}",
    "testing long texts": LONG + "{% set c = a is lower %}{% endfor %}",
    "titles of long texts": LONG + "{% set c = a | title %}{% endfor %}",
    "sorting long texts": LONG + "{% set c = a | sort %}{% endfor %}",
    "the least of long texts": LONG + "{% set c = a | min %}{% endfor %}",
    "joining long texts": LONG + "{% set c = a | join %}{% endfor %}",
    "a path of many attributes": "{{ ([{}] * 99999) | map(attribute='a' ~ '.a' * 99999) | list }}",
    "a field of many attributes": "{{ ('{0' ~ '.a' * 3000000 ~ '}').format({}) }}",
    "keeping astral texts": "{% set ns = namespace(x=0) %}{% for i in range(99) %}"
    "{% set ns.x = [ns.x, '\U0001f600' * 7999999] %}{% endfor %}",
    "many arguments": "{% for i in range(99999) %}{{ cycler(*range(99999)) }}{% endfor %}",
    "many digits": "{% for i in range(99999) %}{% set c = ('9' * 4000) | int %}{% endfor %}",
    "splitting long texts": LONG + "{% set c = a.split('x') %}{% endfor %}",
    "reversing long lists": MANY + "{% set c = a[::-1] %}{% endfor %}",
    "mapping long lists": MANY + "{% set c = a | map('string') | list %}{% endfor %}",
    "rejecting long lists": MANY + "{% set c = a | reject('eq', 0) | list %}{% endfor %}",
    "selecting long lists lazily": MANY + "{% set c = a | select | first %}{% endfor %}",
    "writing long lists": MANY + "{% set c = a | tojson %}{% endfor %}",
    "passing long lists": "{% macro f() %}{% endmacro %}" + MANY + "{{ f(*a) }}{% endfor %}",
    "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a macro that calls itself twice": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}"
    "{% endif %}{% endmacro %}{{ f(90) }}",
    "a block that calls itself": "{% block a %}{{ self.a() }}{% endblock %}",
    "a loop that calls itself": "{% for i in [1, 2] recursive %}"
    "{{ loop([1, 2]) if loop.depth0 < 90 }}{% endfor %}",
    "literal text in a block": "{% set x %}{% for i in range(99999) %}"
    + "y" * 99999
    + "{% endfor %}{% endset %}",
    "literal text by a caller": "{% macro f() %}{% for i in range(99999) %}{{ caller() }}"
    "{% endfor %}{% endmacro %}{% call f() %}" + "y" * 9999 + "{% endcall %}",
    "endless output": "{% set a = 'x' * 999999 %}{% for i in range(99999) %}{{ a }}{% endfor %}",
    "a deep list": "{% set ns = namespace(x=[1]) %}{% for i in range(99999) %}"
    "{% set ns.x = [ns.x] %}{% endfor %}{{ ns.x }}",
}


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_template_that_would_run_or_grow_for_ever_is_stopped(source: str) -> None:
    template = make(source)
    with pytest.raises(TextError) as caught:
        template.render(TALK)
    message = str(caught.value)
    assert message.startswith("chat template 'default'")
    assert any(
        reason in message
        for reason in ("more than", "too wide", "too deeply", "Range too big", "numbers only")
    ), message


def test_hostile_templates_stay_within_little_memory() -> None:
    """In a process of 1 GB, where taking more is a MemoryError."""
    program = (
        "import json, resource, sys\n"
        "from forge.errors import TextError\n"
        "from forge.template import ChatTemplate\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "for name, source in json.load(sys.stdin).items():\n"
        "    try:\n"
        "        ChatTemplate(source, bos_token='', eos_token='').render([])\n"
        "    except TextError as error:\n"
        "        if 'too much memory' in str(error):\n"
        "            print(name)\n"
    )
    kinds = (
        "doubling",
        "text",
        "list",
        "wide",
        "growing",
        "many",
        "splitting",
        "sorting",
        "astral",
    )
    heavy = {name: source for name, source in HOSTILE.items() if any(k in name for k in kinds)}
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(heavy),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_template_is_reusable_after_it_failed() -> None:
    template = make("{% for i in range(n) %}{% for j in range(n) %}{% endfor %}{% endfor %}ok")
    with pytest.raises(TextError):
        template.render([], n=90_000)
    assert template.render([], n=3) == "ok"
