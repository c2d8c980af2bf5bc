"""`forge tokenize`: text files to token ids."""

from __future__ import annotations

import argparse
import json
from typing import Any

from forge.cli.options import add_model, find_model
from forge.errors import TextError, UsageError


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("tokenize", help="print the token ids of text")
    verb.add_argument("text", nargs="?", help="the text; or name files with --file")
    add_model(verb)
    verb.add_argument("--file", action="append", default=[], metavar="F", help="a UTF-8 file")
    verb.add_argument("--special", action="store_true", help="parse control tokens in the text")
    verb.add_argument("--bos", action="store_true", help="begin with the BOS token")
    verb.add_argument(
        "--json", action="store_true", help="one list of ids for each file, a line each"
    )
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Ids on stdout; the bytes of a file are used as they are."""
    if (args.text is None) == (not args.file):
        raise UsageError("give a text or --file F, and not both")
    from forge.gguf import open_gguf
    from forge.tokenizer import Tokenizer

    with open_gguf(find_model(args.model)) as file:
        tokenizer = Tokenizer.from_gguf(file)
    texts = [(None, args.text)] if args.text is not None else [(f, read(f)) for f in args.file]
    for name, text in texts:
        try:
            ids = tokenizer.encode(text, special=args.special, bos=args.bos)
        except TextError as error:
            raise TextError(f"{name}: {error}" if name else str(error)) from None
        if args.json:
            print(json.dumps(ids))
        else:
            for token in ids:
                print(f"{token:8} {tokenizer.piece(token)!r}")
    return 0


def read(path: str) -> bytes:
    """A file's bytes; TextError names the file."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise TextError(f"{path}: {error.strerror}") from None
