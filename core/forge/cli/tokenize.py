"""`forge tokenize`: text files to token ids."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from forge.cli.options import add_model, find_model
from forge.errors import TextError, UsageError

if TYPE_CHECKING:
    from forge.tokenizer import Tokenizer


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
    for warning in tokenizer.warnings:
        print(f"forge: {tokenizer.vocabulary.path}: {warning}", file=sys.stderr)
    options = {"special": args.special, "bos": args.bos}
    if args.text is not None:
        show(tokenizer, tokenizer.encode(args.text, **options), as_json=args.json)
    for path in args.file:
        show(tokenizer, encode_file(tokenizer, path, **options), as_json=args.json)
    return 0


def show(tokenizer: Tokenizer, ids: list[int], *, as_json: bool) -> None:
    """A list on one line, or a line for each token."""
    if as_json:
        print(json.dumps(ids))
    else:
        for token in ids:
            print(f"{token:8} {tokenizer.piece(token)!r}")


def encode_file(tokenizer: Tokenizer, path: str, **options: bool) -> list[int]:
    """The ids of a file's bytes, as they are; TextError names the file."""
    try:
        with open(path, "rb") as file:
            return tokenizer.encode(file.read(), **options)
    except OSError as error:
        raise TextError(f"{path}: {error.strerror}") from None
    except TextError as error:
        raise TextError(f"{path}: {error}") from None
