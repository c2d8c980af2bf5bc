"""A conversation: it owns the messages and their tokens, nothing else."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from forge.errors import TextError, UsageError
from forge.events import Event, Text, Token
from forge.sampling import SamplingParams
from forge.transcript import Transcript

if TYPE_CHECKING:
    from typing import Self

    from forge.engine import Engine


class Session:
    """Turns of a chat; what was said stays in the backend's cache from one turn to the next.

    messages: an earlier conversation to go on with, as dictionaries with `role` and `content`.
    variables: the chat template's own, such as enable_thinking=False.
    """

    def __init__(
        self,
        engine: Engine,
        system: str | None = None,
        messages: Sequence[Mapping[str, str]] = (),
        **variables: Any,
    ) -> None:
        self.messages: list[dict[str, str]] = [dict(message) for message in messages]
        if system is not None:
            if self.messages and self.messages[0].get("role") == "system":
                raise UsageError("the messages begin with a system prompt: give no other one")
            self.messages.insert(0, {"role": "system", "content": system})
        self._engine = engine
        self._variables = variables
        self._transcript = Transcript()

    @property
    def tokens(self) -> list[int]:
        """The ids of what was said so far: the place that it takes in the context."""
        if not self.messages:
            return []
        rendered = self._engine.template.render(
            self.messages, add_generation_prompt=False, **self._variables
        )
        return self._transcript.encode(rendered, self._engine.tokenizer)

    def prompt(self, text: str) -> list[int]:
        """The ids that `send(text)` would hand to the model."""
        return self._prompt([*self.messages, {"role": "user", "content": text}])[1]

    def send(
        self,
        text: str,
        params: SamplingParams | None = None,
        *,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
    ) -> Generator[Event, None, None]:
        """Say something; the reply's events, the last of them Done.

        A reply that was cancelled, failed, or was left by its reader stays as far as it came; one
        that never began leaves the conversation as it was. `Engine.cancel` ends it from now on.
        """
        asked = [*self.messages, {"role": "user", "content": text}]
        return self._answer(asked, params, max_tokens, stop)

    def regenerate(
        self,
        params: SamplingParams | None = None,
        *,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
    ) -> Generator[Event, None, None]:
        """Answer the last message again, as `send` does; the new reply takes the old one's place.

        To keep both, regenerate in a `fork`.
        """
        asked = self.messages
        if asked and asked[-1].get("role") == "assistant":
            asked = asked[:-1]
        if not asked or asked[-1].get("role") != "user":
            raise UsageError("there is nothing to answer again: send a message first")
        return self._answer(asked, params, max_tokens, stop)

    def fork(self, messages: int | None = None) -> Self:
        """Another conversation that begins like this one, with its first `messages` messages.

        Their tokens stay as they are, and with them their place in the backend's cache.
        """
        branch = type(self)(self._engine, messages=self.messages[:messages], **self._variables)
        branch._transcript = self._transcript.copy()
        return branch

    def _answer(
        self,
        asked: Sequence[dict[str, str]],
        params: SamplingParams | None,
        max_tokens: int | None,
        stop: Sequence[str],
    ) -> Generator[Event, None, None]:
        rendered, prompt = self._prompt(asked)
        if not prompt:
            raise TextError("the chat template makes an empty prompt of this: use --raw")
        events = self._engine.generate(prompt, params, max_tokens=max_tokens, stop=stop)
        return self._told(asked, rendered, prompt, events)

    def _told(
        self,
        asked: Sequence[dict[str, str]],
        rendered: str,
        prompt: list[int],
        events: Generator[Event, None, None],
    ) -> Generator[Event, None, None]:
        reply = ""
        said: list[int] = []
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
                    self.messages = [*asked, {"role": "assistant", "content": reply}]
                    tokenizer = self._engine.tokenizer
                    if tokenizer.decode(said) != reply:  # a stop string is not part of the text
                        said = tokenizer.encode(reply)
                    self._transcript.write(rendered, prompt, reply, said)

    def _prompt(self, messages: Sequence[dict[str, str]]) -> tuple[str, list[int]]:
        rendered = self._engine.template.render(messages, **self._variables)
        return rendered, self._transcript.encode(rendered, self._engine.tokenizer)
