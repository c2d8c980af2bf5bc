"""A conversation: it owns the tokens and the messages, nothing else."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from forge.errors import TextError
from forge.events import Event, Text, Token
from forge.sampling import SamplingParams

if TYPE_CHECKING:
    from forge.engine import Engine


class Session:
    """Turns of a chat; what was said stays in the backend's cache from one turn to the next."""

    def __init__(self, engine: Engine, system: str | None = None) -> None:
        self._engine = engine
        self.messages: list[dict[str, str]] = []
        self.tokens: list[int] = []
        self._rendered = ""
        if system is not None:
            self.messages.append({"role": "system", "content": system})

    def send(
        self,
        text: str,
        params: SamplingParams | None = None,
        *,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
    ) -> Generator[Event, None, None]:
        """Say something; the reply's events, the last of them Done.

        A reply that was cancelled, failed, or was left by its reader stays as far as it came.
        """
        messages = [*self.messages, {"role": "user", "content": text}]
        rendered = self._engine.template.render(messages)
        prompt = self._continue(rendered)
        if not prompt:
            raise TextError("the chat template makes an empty prompt of this: use --raw")
        reply = ""
        said: list[int] = []
        events = self._engine.generate(prompt, params, max_tokens=max_tokens, stop=stop)
        with closing(events):
            try:
                for event in events:
                    match event:
                        case Token():
                            said.append(event.id)
                        case Text():
                            reply += event.text
                    yield event
            finally:
                if said:
                    self.messages = [*messages, {"role": "assistant", "content": reply}]
                    # A stop string is in the tokens and not in the text: tokenize anew then.
                    same = self._engine.tokenizer.decode(said) == reply
                    self.tokens = [*prompt, *said] if same else []
                    self._rendered = rendered + reply

    def _continue(self, rendered: str) -> list[int]:
        """The ids of `rendered`; those of the conversation so far stay exactly what they were.

        Tokenizing a reply's text again may give other ids than the model chose, and its place in
        the cache would be lost: only what the template adds after it is tokenized.
        """
        tokenizer = self._engine.tokenizer
        if self.tokens and rendered.startswith(self._rendered):
            added = rendered[len(self._rendered) :]
            return [*self.tokens, *tokenizer.encode(added, special=True)]
        return tokenizer.encode(rendered, special=True)
