"""`forge pull NAME`: fetch a model and print where it lies."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forge.store.types import PullProgress

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_WORDS = {
    "waiting": "waiting for another forge",
    "downloading": "downloading",
    "checking": "checking",
}


def add(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser("pull", help="fetch a model and print its path")
    parser.add_argument(
        "name", metavar="NAME", help="smollm2, hf:user/repo[:QUANT], or another name"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Fetch, then print the path alone, so that `$(forge pull NAME)` is the file."""
    from forge.store import pull  # `forge --help` imports every verb

    with ends_tidily(), progress_bar() as report:
        path = pull(args.name, progress=report)
    if args.json:
        print(json.dumps({"name": args.name, "path": str(path), "bytes": path.stat().st_size}))
    else:
        # A path is bytes: print it as it is, so that a script can open what it reads.
        sys.stdout.flush()
        sys.stdout.buffer.write(os.fsencode(path) + b"\n")
        sys.stdout.flush()
    return 0


@contextmanager
def ends_tidily() -> Iterator[None]:
    """A download that is told to end takes pip and its folder with it."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number, handler in before.items():
        if handler is signal.SIG_DFL:  # nohup and its like stay in force
            signal.signal(number, leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def progress_bar() -> Iterator[Callable[[PullProgress], None] | None]:
    """A reporter that draws a bar on stderr; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from tqdm import tqdm  # see above

    from forge.store.text import printable  # see above

    bar: tqdm[Any] | None = None

    def draw(progress: PullProgress) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(unit="B", unit_scale=True, file=sys.stderr, leave=False, dynamic_ncols=True)
        bar.set_description(f"{printable(progress.name)}: {_WORDS[progress.phase]}", refresh=False)
        bar.total = progress.total
        if progress.done < bar.n:
            bar.reset(total=progress.total)
        bar.update(progress.done - bar.n)

    try:
        yield draw
    finally:
        if bar is not None:
            bar.close()
