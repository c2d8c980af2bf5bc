"""`forge chat`: the terminal's front end where one is installed, else a chat line by line."""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import closing
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from forge.cli.options import (
    SAMPLING,
    add_backend,
    add_model,
    add_sampling,
    engine_choices,
    sampling_params,
)
from forge.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

FRONT_ENDS = "forge.chat"
"""The entry points' group: a callable with the arguments of `_open` that returns an exit code."""
_STREAMS = 3


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("chat", help="chat, and see what the machine is doing")
    add_model(verb)
    verb.add_argument("--system", metavar="TEXT", help="a system prompt")
    verb.add_argument("-n", "--max-tokens", type=int, metavar="N", help="a reply's most tokens")
    verb.add_argument(
        "--continue", dest="resume", action="store_true", help="go on with the latest conversation"
    )
    verb.add_argument("--plain", action="store_true", help="line by line, as on a teletype")
    verb.add_argument("--strict", action="store_true", help="fail rather than change the backend")
    verb.add_argument(
        "--standby",
        action="store_true",
        help="hold a second worker ready on the CPU: twice the memory",
    )
    add_backend(verb)
    add_sampling(verb)
    verb.set_defaults(run=run)


def wanted(arguments: list[str]) -> list[str]:
    """What `forge` alone means: on a terminal, a chat."""
    return ["chat"] if not arguments and sys.stdin.isatty() and sys.stdout.isatty() else arguments


def run(args: argparse.Namespace) -> int:
    """Chat until the person leaves."""
    if args.max_tokens is not None and args.max_tokens < 1:
        raise UsageError(f"--max-tokens {args.max_tokens}: ask for at least 1")
    if not args.plain and _drawable():
        front_end, why_not = _front_end()
        if front_end is not None:
            return _open(front_end, args)
        print(f"forge: {why_not}", file=sys.stderr)
    return _plain(args)


def _drawable() -> bool:
    """Whether there is a terminal that can do more than print."""
    terminals = all(os.isatty(number) for number in range(_STREAMS))
    return terminals and os.environ.get("TERM", "") not in ("", "dumb", "unknown")


def _front_end() -> tuple[Callable[..., int] | None, str]:
    """What draws the chat, or why nothing does."""
    for entry in entry_points(group=FRONT_ENDS):
        try:
            found: Callable[..., int] = entry.load()
        except ModuleNotFoundError as error:
            return None, (
                f"{error.name} is not installed, so this is the plain chat; "
                "pip install 'forge-llm[tui]' brings the other one"
            )
        return found, ""
    return None, "no front end is installed, so this is the plain chat"


def _open(front_end: Callable[..., int], args: argparse.Namespace) -> int:
    sampling = {
        field: getattr(args, field)
        for _, field, _, _ in SAMPLING
        if getattr(args, field) is not None
    }
    if sampling or args.logit_bias:  # only then, for it imports numpy
        sampling |= {"logit_bias": dict(sampling_params(args).logit_bias)}
    choices = engine_choices(args)
    backend = choices.pop("backend")
    choices |= {"strict": args.strict, "standby": args.standby}
    return front_end(
        *(args.model, backend, choices),
        system=args.system,
        sampling=sampling,
        max_tokens=args.max_tokens,
        resume=args.resume,
    )


def _plain(args: argparse.Namespace) -> int:
    from forge.cli.options import find_model, worker_ahead
    from forge.cli.plain_chat import chat_loop
    from forge.cli.screen import Screen, interrupts, load
    from forge.engine import Engine

    params = sampling_params(args)
    args.stop = []
    with closing(worker_ahead(args)) as ahead:
        screen = Screen()
        engine = Engine(
            find_model(args.model),
            **engine_choices(args),
            strict=args.strict,
            ahead=ahead,
            standby=args.standby,
        )
        with engine, interrupts(engine):
            if not load(engine, screen, chat=True):
                return 130
            return chat_loop(engine, screen, args, params)
