"""`forge perplexity`: how well a model predicts a text."""

from __future__ import annotations

import argparse
import json
from typing import Any

from forge.cli.options import add_backend, add_model, engine_choices, find_model
from forge.errors import UsageError


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("perplexity", help="how well a model predicts a text")
    verb.add_argument("-f", "--file", required=True, metavar="F", help="a UTF-8 text")
    add_model(verb)
    verb.add_argument(
        "-w",
        "--window",
        type=int,
        metavar="N",
        help="tokens at a time; 512, or the context if less",
    )
    verb.add_argument("--json", action="store_true", help="one object")
    add_backend(verb)
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Never falls back: figures belong to one backend."""
    if args.window is not None and args.window < 2:
        raise UsageError(f"a window of {args.window} tokens: give at least 2")
    from forge.cli.screen import Screen, load
    from forge.cli.tokenize import encode_file
    from forge.engine import Engine
    from forge.perplexity import WINDOW, perplexity

    screen = Screen()
    choices = {**engine_choices(args), "context": args.context or args.window}
    with Engine(find_model(args.model), **choices, strict=True) as engine:
        tokens = encode_file(engine.tokenizer, args.file)
        load(engine, screen)
        window = args.window or min(WINDOW, engine.context)
        result = perplexity(
            engine.logit_blocks, tokens, window, engine.tokenizer.leading_bos, screen.status
        )
        backend = engine.backend
    screen.status("")
    if args.json:
        print(
            json.dumps(
                {
                    "perplexity": result.perplexity,
                    "standard_error": result.standard_error,
                    "scored": result.scored,
                    "window": result.window,
                    "tokens": len(tokens),
                    "backend": backend,
                }
            )
        )
    else:
        print(
            f"perplexity {result.perplexity:.4f} ± {result.standard_error:.4f} "
            f"({result.scored} tokens scored in windows of {result.window}, {backend})"
        )
    return 0
