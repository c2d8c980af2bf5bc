"""`forge bench`: prefill and decode rates, measured from the host's side of the worker."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from typing import Any

from forge.cli.options import add_backend, add_model, engine_choices, find_model
from forge.errors import UsageError

_REPETITIONS = 4
"""Runs whose kernels are timed, for each repetition that was asked for."""


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("bench", help="measure prefill and decode")
    add_model(verb)
    verb.add_argument("-p", type=int, default=512, metavar="N", help="prompt tokens")
    verb.add_argument("-n", type=int, default=128, metavar="N", help="decoded tokens")
    verb.add_argument("-r", type=int, default=5, metavar="N", help="repetitions, after one warm-up")
    verb.add_argument("-d", type=int, default=0, metavar="N", help="tokens in the context before")
    verb.add_argument(
        "--profile", action="store_true", help="how long each kernel takes, where a backend can say"
    )
    verb.add_argument("--json", action="store_true", help="one object")
    add_backend(verb)
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Never falls back: figures belong to one backend."""
    for flag, least in (("p", 1), ("n", 1), ("r", 1), ("d", 0)):
        if getattr(args, flag) < least:
            raise UsageError(f"-{flag} {getattr(args, flag)}: give at least {least}")
    from forge.bench import bench
    from forge.cli.screen import Screen, load
    from forge.engine import Engine
    from forge.profile import table

    screen = Screen()
    need = args.d + max(args.p + 1, args.n + 2)
    choices = {**engine_choices(args), "context": args.context or need}
    with Engine(find_model(args.model), **choices, strict=True) as engine:
        load(engine, screen)
        screen.status("timing kernels" if args.profile else "")
        profiles = [
            engine.profile(tokens, _REPETITIONS * args.r, args.d)
            for tokens in ((args.p, 1) if args.profile else ())
        ]
        result = bench(engine, args.p, args.n, args.r, args.d, args.threads, screen.status)
    screen.status("")
    if args.json:
        kernels = {"profile": [asdict(profile) for profile in profiles]} if profiles else {}
        print(json.dumps({**result, **kernels}))
    else:
        depth = f" at {args.d} tokens" if args.d else ""
        print(f"{result['model']} on {result['backend']}, {result['device']}{depth}")
        print(f"prefill {args.p:6} tokens  {result['prefill_tok_s']:10.2f} tok/s")
        print(f"decode  {args.n:6} tokens  {result['decode_tok_s']:10.2f} tok/s")
        print(f"load {result['load_s']:.2f} s, peak memory {result['peak_rss_mb']:.0f} MB")
        for profile in profiles:
            print()
            for line in table(profile):
                print(line)
    return 0
