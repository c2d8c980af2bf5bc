"""The chat templates of families of models, as transformers renders them."""

from __future__ import annotations

from typing import Any

import pytest

from forge.errors import TextError
from forge.template import ChatTemplate

TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": " Hi "},
    {"role": "assistant", "content": "Hello!"},
    {"role": "user", "content": "Why?\n<b>"},
]
WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {"name": "weather", "description": "≤ now", "parameters": {"type": "object"}},
}
CALL: dict[str, Any] = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"function": {"name": "weather", "arguments": {"city": "Zürich"}}}],
}

ANSWER = {"role": "tool", "content": '{"t": 20}'}
PARTS = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": " See "}]}]

CHATML = """\
{% for message in messages %}
    {% if loop.first and message['role'] != 'system' %}
        {{- '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' -}}
    {% endif %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' -}}
{% endfor %}
{% if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' -}}
{% endif %}
"""
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}"
    "{% set system = messages[0]['content'] %}"
    "{% else %}{% set rest = messages %}{% set system = false %}{% endif %}"
    "{% for message in rest %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Roles must alternate user and assistant') }}{% endif %}"
    "{% if loop.index0 == 0 and system != false %}"
    "{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}"
    "{% endif %}{% endfor %}"
)
LLAMA_3 = """\
{{- bos_token }}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}
        {%- set date_string = strftime_now("%d %b %Y") %}
    {%- else %}
        {%- set date_string = "26 Jul 2024" %}
    {%- endif %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\nToday: " + date_string + "\\n" }}
{%- if tools is not none %}
    {%- for tool in tools %}
        {{- tool | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("One tool call at a time") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{"name": "' + tool_call.name }}
        {{- '", "parameters": ' + (tool_call.arguments | tojson) + "}" }}
    {%- else %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {{- message['content'] | trim }}
    {%- endif %}
    {{- '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
"""
GEMMA = """\
{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}
    {%- set first_user_prefix = "" -%}
    {%- set loop_messages = messages -%}
{%- endif -%}
{%- for message in loop_messages -%}
    {%- set role = "model" if message['role'] == 'assistant' else message['role'] -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}
        {{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}
        {%- for item in message['content'] -%}
            {{ '<start_of_image>' if item['type'] == 'image' else item['text'] | trim }}
        {%- endfor -%}
    {%- else -%}
        {{ raise_exception("Invalid content type") }}
    {%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
    {{ '<start_of_turn>model\\n' }}
{%- endif -%}
"""
MISTRAL = """\
{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}
                        {{- ", " }}
                    {%- endif %}
                {%- endfor %}
                {{- "}}" + ("]" if loop.last else ", ") }}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token }}
    {%- endif %}
{%- endfor %}
"""
QWEN = """\
{%- macro render(content) %}
    {%- if content is string %}
        {{- content }}
    {%- else %}
        {%- for item in content or [] %}{{- item.text }}{%- endfor %}
    {%- endif %}
{%- endmacro %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- if tools %}
    {{- '<|im_start|>system\\n<tools>' }}
    {%- for tool in tools %}{{- "\\n" }}{{- tool | tojson }}{%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- endif %}
{%- for message in messages %}
    {%- set content = render(message.content) %}
    {%- if message.role == "assistant" %}
        {%- if '</think>' in content %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- if message.tool_calls %}
            {%- for call in message.tool_calls %}
                {%- if call.function %}{%- set call = call.function %}{%- endif %}
                {{- '\\n<tool_call>\\n{"name": "' }}{{- call.name }}{{- '", "arguments": ' }}
                {%- if call.arguments is string %}
                    {{- call.arguments }}
                {%- else %}
                    {{- call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
DEEPSEEK = (
    "{% if not add_generation_prompt is defined %}"
    "{% set add_generation_prompt = false %}{% endif %}"
    "{% set ns = namespace(is_first=false, system_prompt='') %}"
    "{%- for message in messages %}{%- if message['role'] == 'system' %}"
    "{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}"
    "{{bos_token}}{{ns.system_prompt}}"
    "{%- for message in messages %}"
    "{%- if message['role'] == 'user' %}{{'<｜User｜>' + message['content']}}{%- endif %}"
    "{%- if message['role'] == 'assistant' and message['content'] is not none %}"
    "{% set content = message['content'] %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1] %}{% endif %}"
    "{% generation %}{{'<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>'}}{% endgeneration %}"
    "{%- endif %}{%- endfor -%}"
    "{% if add_generation_prompt %}{{'<｜Assistant｜>'}}{% endif %}"
)


def make(source: str, **options: Any) -> ChatTemplate:
    return ChatTemplate(source, **{"bos_token": "<s>", "eos_token": "</s>"} | options)


def render(source: str, /, **variables: Any) -> str:
    return make(source).render(variables.pop("messages", TALK), **variables)


# What transformers 5.23 makes of the same templates.
FAMILIES: list[tuple[str, list[dict[str, Any]], dict[str, Any], str]] = [
    (
        CHATML,
        TALK,
        {},
        (
            "<|im_start|>system\n"
            "Be brief.<|im_end|>\n"
            "<|im_start|>user\n"
            " Hi <|im_end|>\n"
            "<|im_start|>assistant\n"
            "Hello!<|im_end|>\n"
            "<|im_start|>user\n"
            "Why?\n"
            "<b><|im_end|>\n"
            "<|im_start|>assistant\n"
        ),
    ),
    (
        CHATML,
        TALK[1:],
        {},
        (
            "<|im_start|>system\n"
            "You are helpful.<|im_end|>\n"
            "<|im_start|>user\n"
            " Hi <|im_end|>\n"
            "<|im_start|>assistant\n"
            "Hello!<|im_end|>\n"
            "<|im_start|>user\n"
            "Why?\n"
            "<b><|im_end|>\n"
            "<|im_start|>assistant\n"
        ),
    ),
    (
        LLAMA_2,
        TALK,
        {},
        (
            "<s>[INST] <<SYS>>\n"
            "Be brief.\n"
            "<</SYS>>\n"
            "\n"
            " Hi [/INST] Hello! </s><s>[INST] Why?\n"
            "<b> [/INST]"
        ),
    ),
    (
        LLAMA_3,
        [TALK[1], CALL, ANSWER],
        {"tools": [WEATHER], "date_string": "DATE"},
        (
            "<s><|start_header_id|>system<|end_header_id|>\n"
            "\n"
            "Today: DATE\n"
            "{\n"
            '    "type": "function",\n'
            '    "function": {\n'
            '        "name": "weather",\n'
            '        "description": "≤ now",\n'
            '        "parameters": {\n'
            '            "type": "object"\n'
            "        }\n"
            "    }\n"
            "}\n"
            "\n"
            "<|eot_id|><|start_header_id|>user<|end_header_id|>\n"
            "\n"
            "Hi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n"
            "\n"
            '{"name": "weather", "parameters": {"city": "Zürich"}}<|eot_id|><|start_header_id'
            "|>tool<|end_header_id|>\n"
            "\n"
            '{"t": 20}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n'
            "\n"
        ),
    ),
    (
        GEMMA,
        TALK,
        {},
        (
            "<s><start_of_turn>user\n"
            "Be brief.\n"
            "\n"
            "Hi<end_of_turn>\n"
            "<start_of_turn>model\n"
            "Hello!<end_of_turn>\n"
            "<start_of_turn>user\n"
            "Why?\n"
            "<b><end_of_turn>\n"
            "<start_of_turn>model\n"
        ),
    ),
    (
        GEMMA,
        PARTS,
        {},
        ("<s><start_of_turn>user\n<start_of_image>See<end_of_turn>\n<start_of_turn>model\n"),
    ),
    (MISTRAL, TALK, {}, ("<s>[INST]  Hi [/INST] Hello!</s>[INST] Be brief.\n\nWhy?\n<b>[/INST]")),
    (
        MISTRAL,
        TALK[1:],
        {"tools": [WEATHER]},
        (
            '<s>[INST]  Hi [/INST] Hello!</s>[AVAILABLE_TOOLS] [{"type": "function", "functio'
            'n": {"name": "weather", "description": "≤ now", "parameters": {"type": "object"}'
            "}}][/AVAILABLE_TOOLS][INST] Why?\n"
            "<b>[/INST]"
        ),
    ),
    (
        QWEN,
        [TALK[1], CALL, ANSWER],
        {"tools": [WEATHER]},
        (
            "<|im_start|>system\n"
            "<tools>\n"
            '{"type": "function", "function": {"name": "weather", "description": "≤ now", "pa'
            'rameters": {"type": "object"}}}\n'
            "</tools><|im_end|>\n"
            "<|im_start|>user\n"
            " Hi <|im_end|>\n"
            "<|im_start|>assistant\n"
            "\n"
            "<tool_call>\n"
            '{"name": "weather", "arguments": {"city": "Zürich"}}\n'
            "</tool_call><|im_end|>\n"
            "<|im_start|>tool\n"
            '{"t": 20}<|im_end|>\n'
            "<|im_start|>assistant\n"
        ),
    ),
    (
        QWEN,
        TALK[1:],
        {"enable_thinking": False},
        (
            "<|im_start|>user\n"
            " Hi <|im_end|>\n"
            "<|im_start|>assistant\n"
            "Hello!<|im_end|>\n"
            "<|im_start|>user\n"
            "Why?\n"
            "<b><|im_end|>\n"
            "<|im_start|>assistant\n"
            "<think>\n"
            "\n"
            "</think>\n"
            "\n"
        ),
    ),
    (QWEN, PARTS, {}, ("<|im_start|>user\n See <|im_end|>\n<|im_start|>assistant\n")),
    (
        DEEPSEEK,
        TALK,
        {},
        (
            "<s>Be brief.<｜User｜> Hi <｜Assistant｜>Hello!<｜end▁of▁sentence｜><｜User｜>Why?\n"
            "<b><｜Assistant｜>"
        ),
    ),
    (
        DEEPSEEK,
        TALK[1:],
        {"add_generation_prompt": False},
        ("<s><｜User｜> Hi <｜Assistant｜>Hello!<｜end▁of▁sentence｜><｜User｜>Why?\n<b>"),
    ),
]


@pytest.mark.parametrize(("source", "messages", "variables", "expected"), FAMILIES)
def test_a_familys_template_renders_as_transformers_renders_it(
    source: str, messages: list[dict[str, Any]], variables: dict[str, Any], expected: str
) -> None:
    assert render(source, messages=messages, **variables) == expected


def test_a_family_refuses_roles_that_do_not_alternate() -> None:
    with pytest.raises(TextError, match=r"Roles must alternate user and assistant$"):
        render(LLAMA_2, messages=TALK[2:])


def test_a_long_ordinary_chat_fits() -> None:
    messages = [
        {"role": ("user", "assistant")[at % 2], "content": f"{at}: " + "words and words " * 60}
        for at in range(2000)
    ]
    for source in (CHATML, LLAMA_3, MISTRAL, QWEN):
        prompt = make(source).render(messages, tools=[WEATHER])
        assert prompt.count("words and words") == 2000 * 60
