"""`forge run`: a reply to a prompt, or a chat on the terminal."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import closing
from typing import TYPE_CHECKING, Any

from forge.cli.options import (
    add_backend,
    add_model,
    add_sampling,
    engine_choices,
    find_model,
    sampling_params,
    token_ids,
    worker_ahead,
)
from forge.errors import TextError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forge.ahead import Ahead
    from forge.engine import Engine
    from forge.events import Done, Event


_MOST_BYTES = 64 << 20
"""Of a prompt: a context holds less, and a pipe may never end."""


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("run", help="answer a prompt, or chat on the terminal")
    verb.add_argument(
        "prompt", nargs="?", help="without it: standard input, or a chat on a terminal"
    )
    add_model(verb)
    verb.add_argument("--system", metavar="TEXT", help="a system prompt")
    verb.add_argument(
        "--raw", action="store_true", help="use the prompt as it is, no chat template"
    )
    verb.add_argument("--bos", action="store_true", help="begin a raw prompt with the BOS token")
    verb.add_argument("--tokens", metavar="1,2,3", help="the prompt as token ids, used as given")
    verb.add_argument("-n", "--max-tokens", type=int, metavar="N", help="the reply's most tokens")
    verb.add_argument(
        "--stop", action="append", default=[], metavar="TEXT", help="end the reply before TEXT"
    )
    verb.add_argument("--strict", action="store_true", help="fail rather than change the backend")
    verb.add_argument(
        "--standby",
        action="store_true",
        help="hold a second worker ready on the CPU: twice the memory",
    )
    verb.add_argument("--json", action="store_true", help="one object on one line, when it is done")
    add_backend(verb)
    add_sampling(verb)
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """One reply, or a chat."""
    _refuse_contradictions(args)
    with closing(worker_ahead(args)) as ahead:
        return _run(args, ahead)


def _run(args: argparse.Namespace, ahead: Ahead) -> int:
    params = sampling_params(args)
    chat = args.prompt is None and args.tokens is None and sys.stdin.isatty() and not args.json
    prompt = None if chat or args.tokens is not None else _prompt(args)
    tokens = None if args.tokens is None else token_ids(args.tokens)

    from forge.cli.screen import Screen, interrupts, load
    from forge.engine import Engine

    screen = Screen(json=args.json)
    choices = engine_choices(args)
    engine = Engine(
        find_model(args.model), **choices, strict=args.strict, ahead=ahead, standby=args.standby
    )
    with engine, interrupts(engine):
        if not load(engine, screen, chat=not chat and tokens is None and not args.raw):
            return 130
        if chat:
            from forge.cli.plain_chat import chat_loop

            return chat_loop(engine, screen, args, params)
        if tokens is None:
            events = _reply(engine, args, prompt or "", params)
        else:
            events = engine.generate(tokens, params, max_tokens=args.max_tokens, stop=args.stop)
        done = screen.show(events)
    if args.json:
        # ASCII: no terminal's encoding loses a character, and no U+2028 looks like a second line.
        print(json.dumps(as_json(done)), flush=True)
    return 130 if done.finish_reason == "cancelled" else 0


def _refuse_contradictions(args: argparse.Namespace) -> None:
    if args.prompt is not None and args.tokens is not None:
        raise UsageError("give a prompt or --tokens, not both")
    if args.raw and args.system is not None:
        raise UsageError("--raw uses no chat template, so there is no place for --system")
    if args.bos and not args.raw:
        raise UsageError("--bos goes with --raw: a chat template writes its own BOS")
    if args.max_tokens is not None and args.max_tokens < 1:
        raise UsageError(f"--max-tokens {args.max_tokens}: ask for at least 1")
    for option, text in (("--system", args.system), *(("--stop", stop) for stop in args.stop)):
        _utf8(os.fsencode(text or ""), option)


def _prompt(args: argparse.Namespace) -> str:
    """The argument or standard input, which must be UTF-8."""
    if args.prompt is None:
        raw = sys.stdin.buffer.read(_MOST_BYTES + 1)
    else:
        raw = os.fsencode(args.prompt)
    if len(raw) > _MOST_BYTES:
        raise TextError(f"the prompt is larger than {_MOST_BYTES >> 20} MiB")
    text = _utf8(raw, "the prompt")
    if not text.strip() and not args.raw:
        raise UsageError("the prompt is empty")
    return text


def _utf8(raw: bytes, what: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = error.object[error.start]
        raise TextError(f"{what} is not UTF-8: byte {error.start} is {byte:#04x}") from None


def _reply(engine: Engine, args: argparse.Namespace, prompt: str, params: Any) -> Iterator[Event]:
    if not args.raw:
        return engine.chat(args.system).send(
            prompt, params, max_tokens=args.max_tokens, stop=args.stop
        )
    tokens = engine.tokenizer.encode(prompt, bos=args.bos)
    return engine.generate(tokens, params, max_tokens=args.max_tokens, stop=args.stop)


def as_json(done: Done) -> dict[str, Any]:
    """What --json prints of a reply."""
    timings = {
        name: None if value is None else round(value, 3)
        for name in ("load_s", "first_token_s", "prefill_tok_s", "decode_tok_s")
        for value in [getattr(done.timings, name)]
    }
    return {
        "text": done.text,
        "tokens": list(done.tokens),
        "prompt_tokens": done.prompt_tokens,
        "finish_reason": done.finish_reason,
        "backend": done.backend,
        "device": done.device,
        "fallbacks": [
            {
                "from": f.source,
                "to": f.target,
                "reason": f.reason,
                "at_token": f.at_token,
                "tried": f.tried,
                "record": f.record,
            }
            for f in done.fallbacks
        ],
        "timings": timings,
    }
