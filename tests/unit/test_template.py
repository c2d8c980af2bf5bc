"""Chat templates: what they are given, where they come from, and how they fail."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest

from forge.errors import GGUFError, TextError
from forge.template import ChatTemplate

TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hi "},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Why?"},
]


def make(source: str, **options: Any) -> ChatTemplate:
    return ChatTemplate(source, **{"bos_token": "<s>", "eos_token": "</s>"} | options)


def render(source: str, /, **variables: Any) -> str:
    return make(source).render(variables.pop("messages", TALK), **variables)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ bos_token }}|{{ eos_token }}", "<s>|</s>"),
        ("{{ tools is none }} {{ documents is none }}", "True True"),
        ("{{ nothing }}{{ nothing is defined }}{{ messages[9] is defined }}", "FalseFalse"),
        ("{{ messages[0].nothing }}|{{ messages[0]['nothing'] }}", "|"),
        ("{{ {'b': 1, 'a': 'é<\"'} | tojson }}", '{"b": 1, "a": "é<\\""}'),
        ("{{ {'b': [1], 'a': 2} | tojson(sort_keys=true) }}", '{"a": 2, "b": [1]}'),
        ("{{ {'a': [1]} | tojson(indent=2) }}", '{\n  "a": [\n    1\n  ]\n}'),
        ("{{ {'a': 1, 'b': 2} | tojson(separators=(',', ':')) }}", '{"a":1,"b":2}'),
        ("{{ 'é' | tojson(ensure_ascii=true) }}", '"\\u00e9"'),
        ("{% for k, v in {'a': 1} | items %}{{ k }}={{ v }}{% endfor %}", "a=1"),
        (
            "{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}"
            "{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}",
            "013",
        ),
        ("{% generation %}{{ 1 }}{% endgeneration %}", "1"),
        ("  {% if true %}\nx\n  {% endif %}\ny", "x\ny"),
        ("{{ '<b>' }}{{ '<b>' | e }}{{ '<b>' | safe }}", "<b>&lt;b&gt;<b>"),
        ("{{ 'a' ~ 1 ~ none ~ [1, 'x'] }}", "a1None[1, 'x']"),
        (
            "{{ ['b', 'a'] | sort | join(', ') }}{{ [1, 2] | map('string') | join(d='+') }}",
            "a, b1+2",
        ),
        ("{{ '%s-%d' % ('a', 5) }} {{ '{:>3}|{x}'.format(1, x=2) }}", "a-5   1|2"),
        ("{{ 'a\nb' | indent(2) }} {{ 'ab'.replace('b', 'c') }} {{ 'x' * 3 }}", "a\n  b ac xxx"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}", "2"),
        ("{{ messages | map(attribute='role') | unique | join(',') }}", "system,user,assistant"),
        ("{{ messages[-1].role }} {{ messages[:-1] | length }} {{ 'abc'[::-1] }}", "user 3 cba"),
        (
            "{{ 1 < 2 < 3 }} {{ 'a' in 'abc' }} {{ 2 not in [1] }} {{ 2 ** 10 }} {{ 7 // 2 }}",
            "True True True 1024 3",
        ),
        (
            "{% macro m(a, b=2) %}{{ a }}{{ b }}{{ caller() if caller }}{% endmacro %}"
            "{{ m(1) }}{% call m(3) %}!{% endcall %}",
            "1232!",
        ),
        (
            "{% for x in [[1, [2]]] recursive %}{% if x is iterable %}{{ loop(x) }}"
            "{% else %}{{ x }}{% endif %}{% endfor %}",
            "12",
        ),
        (
            "{% for x in [1, 2, 3] if x != 2 %}{{ loop.index }}/{{ loop.length }} {% endfor %}",
            "1/2 2/2 ",
        ),
        ("{% set x %}a{{ 1 }}{% endset %}{% filter upper %}{{ x }}{% endfilter %}", "A1"),
        ("{% block b %}x{% endblock %}{{ self.b() }}", "xx"),
    ],
)
def test_a_template_has_what_transformers_gives_it(source: str, expected: str) -> None:
    assert render(source) == expected


def test_other_variables_reach_the_template() -> None:
    assert render("{{ enable_thinking }} {{ documents[0].text }}", enable_thinking=False,
                  documents=[{"text": "D"}]) == "False D"  # fmt: skip


def test_other_special_tokens_are_variables() -> None:
    template = make("{{ unk_token }}{{ bos_token }}", special_tokens={"unk_token": "<unk>"})
    assert template.render([]) == "<unk><s>"


def test_the_time_is_the_callers() -> None:
    template = make("{{ strftime_now('%d %b %Y') }}", now=lambda: datetime(2031, 2, 3, tzinfo=UTC))
    assert template.render([]) == "03 Feb 2031"


def test_messages_are_copies_and_the_template_cannot_change_even_those() -> None:
    messages = copy.deepcopy(TALK)
    for change in (
        "messages.append(1)",
        "messages.clear()",
        "messages[0].update({'role': 'x'})",
        "messages[0].pop('role')",
        "messages[0].__setitem__('role', 'x')",
    ):
        with pytest.raises(TextError, match="unsafe"):
            render("{{ " + change + " }}", messages=messages)
    assert messages == TALK


def test_only_plain_data_goes_in() -> None:
    with pytest.raises(TextError, match=r"^messages\[0\]\.content holds a object; "):
        render("{{ messages }}", messages=[{"role": "user", "content": object()}])


def test_an_error_names_template_line_and_reason_in_one_line() -> None:
    template = make("a\n{% if true %}\n{{ raise_exception('Roles must\nalternate') }}{% endif %}",
                    name="tool_use", path="m.gguf")  # fmt: skip
    with pytest.raises(TextError) as caught:
        template.render([])
    expected = "m.gguf: chat template 'tool_use', line 3: Roles must alternate"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\n{% if %}", "line 2: Expected an expression, got 'end of statement block'"),
        ("{{ 1 | nosuch }}", "line 1: No filter named 'nosuch'."),
        ("{% for x in y %}", "line 1: Unexpected end of template."),
        ("{% include 'x' %}", r"line 1: \{% include %\} has no place in a chat template"),
        ("\n\n{% import 'os' as os %}", r"line 3: \{% import %\} has no place"),
        ("{% extends 'x' %}", r"line 1: \{% extends %\} has no place"),
        ("{% autoescape true %}{% endautoescape %}", r"line 1: \{% autoescape %\} has no place"),
        ("x" * 300_000, "it has 300000 characters; 262144 are the most"),
        ("{{ a" + "~a" * 60_000 + " }}", "it has more than 50000 parts"),
        ("{{ " + "(" * 9000 + "1" + ")" * 9000 + " }}", "it nests or calls itself too deeply"),
    ],
)
def test_a_template_that_does_not_compile_is_refused_at_once(source: str, message: str) -> None:
    with pytest.raises(TextError, match=f"^chat template 'default'(, |: ){message}"):
        make(source)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\n{{ nothing.more }}", "line 2: 'nothing' is undefined"),
        ("{{ 'a' + 1 }}", "line 1: can only concatenate str"),
        ("{{ 1 / 0 }}", "line 1: division by zero"),
        ("{{ nothing() }}", "line 1: 'nothing' is undefined"),
        ("{{ nothing | tojson }}", "line 1: Object of type Undefined is not JSON serializable"),
        ("{{ strftime_now('%Y' * 999) }}", "line 1: strftime_now takes a short format"),
        ("{{ raise_exception('x' * 9999) }}", "line 1: x{200,300}…$"),
    ],
)
def test_a_template_that_fails_says_where(source: str, message: str) -> None:
    with pytest.raises(TextError, match=f"^chat template 'default', {message}"):
        render(source)


@dataclass(frozen=True)
class MetadataOnly:
    """Stands in for a GGUF file that holds nothing but its metadata."""

    metadata: Mapping[str, Any]
    path: str = "m.gguf"
    tensors: Mapping[str, Any] = field(default_factory=dict)


def from_file(templates: dict[str, Any], name: str | None = None) -> ChatTemplate:
    metadata: dict[str, Any] = {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": ["<unk>", "<s>", "</s>", "<pad>"],
        "tokenizer.ggml.eos_token_id": 3,
        **{f"tokenizer.chat_template{key}": value for key, value in templates.items()},
    }
    return ChatTemplate.from_gguf(MetadataOnly(metadata), name)  # type: ignore[arg-type]  # a fake


def test_the_files_template_knows_the_files_special_tokens() -> None:
    template = from_file({"": "{{ bos_token }}{{ eos_token }}{{ unk_token }}"})
    assert template.render([]) == "<s><pad><unk>"
    assert template.name == "default"


def test_named_templates_are_found_by_name() -> None:
    both = {"": "plain", ".tool_use": "tools", "s": ["tool_use"]}
    assert from_file(both).render([]) == "plain"
    assert from_file(both, "default").render([]) == "plain"
    assert from_file(both, "tool_use").render([]) == "tools"


def test_a_missing_template_is_told_with_the_names_there_are() -> None:
    with pytest.raises(
        TextError, match=r"^m\.gguf: no chat template 'rag'; there are: default, tool_use\.$"
    ):
        from_file({"": "plain", ".tool_use": "tools"}, "rag")
    with pytest.raises(TextError, match=r"^m\.gguf: no default chat template; there are: rag\.$"):
        from_file({".rag": "r"})
    with pytest.raises(TextError, match=r"^m\.gguf: this model has no chat template: use --raw\.$"):
        from_file({})


def test_a_template_of_another_type_is_a_malformed_file() -> None:
    with pytest.raises(GGUFError, match=r"^m\.gguf: tokenizer\.chat_template must be a string\.$"):
        from_file({"": 7})


def test_jinja2_is_imported_for_a_template_only() -> None:
    code = "import sys, forge.template; print(sorted(m for m in sys.modules if 'jinja2' in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_default_models_own_template_renders() -> None:
    path = os.environ.get("FORGE_TEST_MODEL")
    if not path:
        pytest.skip("FORGE_TEST_MODEL names no file")
    from forge.gguf import open_gguf

    with open_gguf(path) as file:
        template = ChatTemplate.from_gguf(file)
    assert template.render([{"role": "user", "content": "Hi"}]) == (
        "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face"
        "<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    )
