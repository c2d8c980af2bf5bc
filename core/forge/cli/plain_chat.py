"""A chat on a plain terminal, line by line."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from forge.cli.prompt import ask
from forge.errors import ForgeError
from forge.session import Session

if TYPE_CHECKING:
    from forge.cli.screen import Screen
    from forge.engine import Engine
    from forge.sampling import SamplingParams


def chat_loop(
    engine: Engine,
    screen: Screen,
    args: argparse.Namespace,
    params: SamplingParams,
) -> int:
    """Ask, answer, ask again, until /bye, Ctrl-D, or Ctrl-C twice at the prompt."""
    session = engine.chat(args.system)
    screen.say(f"{engine.model.name} on {engine.backend}, {engine.device}. /bye or Ctrl-D ends.")
    asked_to_leave = False
    while True:
        try:
            text = ask()
        except EOFError:
            print()
            return 0
        except KeyboardInterrupt:
            print()
            if asked_to_leave:
                return 130
            asked_to_leave = True
            screen.say("Ctrl-C once more, Ctrl-D or /bye to leave")
            continue
        asked_to_leave = False
        if text.strip() == "/bye":
            return 0
        if text.strip():
            _answer(session, screen, text, args, params)


def _answer(
    session: Session, screen: Screen, text: str, args: argparse.Namespace, params: SamplingParams
) -> None:
    try:
        screen.show(session.send(text, params, max_tokens=args.max_tokens, stop=args.stop))
    except ForgeError as error:  # the conversation is intact: another try may do
        screen.say(str(error))
