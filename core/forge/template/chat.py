"""Chat templates: the Jinja program in a model's file that turns messages into a prompt.

A template is untrusted: it sees plain data only, in jinja2's sandbox, with bounded work, memory and
output. Its settings, functions and variables are those of transformers' apply_chat_template, which
templates are written for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from os import PathLike
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn

from forge.errors import GGUFError, TextError

if TYPE_CHECKING:
    from forge.gguf import GGUFFile

KEY = "tokenizer.chat_template"
NAMES_KEY = "tokenizer.chat_templates"
# Field of Vocabulary -> the variable that transformers gives to templates.
SPECIAL_TOKENS = {
    "bos_id": "bos_token",
    "eos_id": "eos_token",
    "unk_id": "unk_token",
    "sep_id": "sep_token",
    "pad_id": "pad_token",
    "mask_id": "mask_token",
}
REASON_LENGTH = 300
COMPILED_AS = "<template>"  # jinja2's name for a template without a file, in tracebacks


def _local_time() -> datetime:
    return datetime.now().astimezone()


class ChatTemplate:
    """One compiled chat template.

    template = ChatTemplate.from_gguf(file)
    prompt = template.render([{"role": "user", "content": "Why is the sky blue?"}])
    """

    def __init__(
        self,
        source: str,
        *,
        bos_token: str,
        eos_token: str,
        name: str = "default",
        path: str | None = None,
        special_tokens: Mapping[str, str] | None = None,
        now: Callable[[], datetime] = _local_time,
    ) -> None:
        """Compile `source`; `path` and `name` appear in errors, `now` is what strftime_now asks."""
        # Imported here, so that commands without a chat do not wait for jinja2.
        from forge.template.budget import MAX_SOURCE
        from forge.template.sandbox import BoundedEnvironment

        self.name = name
        self.source = source
        self._title = f"{path}: chat template {name!r}" if path else f"chat template {name!r}"
        self._special = {**(special_tokens or {}), "bos_token": bos_token, "eos_token": eos_token}
        if len(source) > MAX_SOURCE:
            raise TextError(
                f"{self._title}: it has {len(source)} characters; {MAX_SOURCE} are the most."
            )
        environment = BoundedEnvironment()
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = lambda form: _strftime(now(), form)
        try:
            self._template = environment.from_string(source)
        except Exception as error:  # noqa: BLE001  any text may come, and compile in any way
            self._fail(error)

    @classmethod
    def from_gguf(
        cls, file: GGUFFile | str | PathLike[str], name: str | None = None
    ) -> ChatTemplate:
        """The chat template of an open file or of one at a path, or that which it calls `name`."""
        if isinstance(file, str | PathLike):
            from forge.gguf import open_gguf

            with open_gguf(file) as opened:
                return cls.from_gguf(opened, name)
        from forge.tokenizer.vocabulary import Vocabulary

        source = _source(file, name)
        vocabulary = Vocabulary.from_gguf(file)
        special = {"bos_token": "", "eos_token": ""}
        for field, variable in SPECIAL_TOKENS.items():
            token = getattr(vocabulary, field)
            if token is not None and token < len(vocabulary.tokens):
                special[variable] = vocabulary.tokens[token]
        return cls(
            source,
            bos_token=special.pop("bos_token"),
            eos_token=special.pop("eos_token"),
            name=name or "default",
            path=str(file.path),
            special_tokens=special,
        )

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        *,
        tools: Sequence[Mapping[str, Any]] | None = None,
        documents: Sequence[Mapping[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """The prompt for `messages`. The template gets copies: it cannot change the caller's.

        `variables` are the template's own, such as enable_thinking; all values are plain data.
        """
        from forge.template.budget import MAX_TEXT, LimitExceeded, budgeted

        given = {
            **self._special,
            "messages": messages,
            "tools": tools,
            "documents": documents,
            "add_generation_prompt": add_generation_prompt,
            **variables,
        }
        plain = {key: _plain(value, key) for key, value in given.items()}
        pieces: list[str] = []
        size = 0
        try:
            with budgeted():
                for piece in self._template.generate(plain):
                    size += len(piece)
                    if size > MAX_TEXT:
                        raise LimitExceeded(f"it writes more than {MAX_TEXT} characters")
                    pieces.append(piece)
        except Exception as error:  # noqa: BLE001  a template may fail in any way
            self._fail(error)
        return "".join(pieces)

    def _fail(self, error: Exception) -> NoReturn:
        line = getattr(error, "lineno", None) or _line(error.__traceback__)
        where = f", line {line}" if line else ""
        raise TextError(f"{self._title}{where}: {_reason(error)}") from None


def _source(file: GGUFFile, name: str | None) -> str:
    metadata = file.metadata
    prefix = f"{KEY}."
    names = sorted(key.removeprefix(prefix) for key in metadata if key.startswith(prefix))
    key = (
        KEY
        if name is None or (name == "default" and prefix + name not in metadata)
        else prefix + name
    )
    source = metadata.get(key)
    if isinstance(source, str) and source:
        return source
    if source is not None and not isinstance(source, str):
        raise GGUFError(f"{file.path}: {key} must be a string.")
    if metadata.get(KEY):
        names = ["default", *names]
    if not names:
        raise TextError(f"{file.path}: this model has no chat template: use --raw.")
    wanted = "no default chat template" if name is None else f"no chat template {name!r}"
    raise TextError(f"{file.path}: {wanted}; there are: {', '.join(names)}.")


def _plain(value: Any, where: str) -> Any:
    """A copy of `value` of dictionaries, lists, strings and numbers alone."""
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(item, f"{where}[{at}]") for at, item in enumerate(value)]
    raise TextError(
        f"{where} holds a {type(value).__name__}; "
        "a chat template takes text, numbers, lists and dictionaries."
    )


def _raise_exception(message: Any) -> NoReturn:
    from jinja2.exceptions import TemplateError

    raise TemplateError(str(message))


def _strftime(now: datetime, form: Any) -> str:
    if not isinstance(form, str) or len(form) > 200:
        raise ValueError("strftime_now takes a short format")
    return now.strftime(form)


def _line(traceback: TracebackType | None) -> int | None:
    """The innermost line of the template; jinja2 rewrites its frames to the template's lines."""
    line = None
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == COMPILED_AS:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line


def _reason(error: Exception) -> str:
    text = str(error) or type(error).__name__
    if isinstance(error, RecursionError):
        text = "it nests or calls itself too deeply"
    elif isinstance(error, MemoryError):
        text = "it needs too much memory"
    text = " ".join(text.split())
    return text if len(text) <= REASON_LENGTH else text[: REASON_LENGTH - 1] + "…"
