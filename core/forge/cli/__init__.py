"""The `forge` command. Each verb is a module; what is slow to import is imported when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from forge._version import __version__
from forge.errors import ForgeError
from forge.paths import leave_current_folder

VERBS = (
    "run",
    "backends",
    "pull",
    "models",
    "tokenize",
    "perplexity",
    "bench",
    "graph",
    "plugins",
)


def parser() -> argparse.ArgumentParser:
    """The whole command line, plugins' verbs included."""
    from forge.plugins import Plugins

    top = argparse.ArgumentParser(
        prog="forge",
        description="Run language models on the GPU you have; the reply goes on when it hangs.",
        epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 no usable backend, 130 interrupted.",
    )
    top.add_argument("--version", action="version", version=f"forge {__version__}")
    subparsers = top.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS:
        import_module(f"forge.cli.{verb}").add(subparsers)
    Plugins().add_commands(subparsers)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; the exit code."""
    leave_current_folder()
    # numpy's BLAS would start a thread for each core; this process computes nothing with them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that lacks a character shows ?
    try:
        args = parser().parse_args(arguments)
        code: int = args.run(args)
        sys.stdout.flush()
    except ForgeError as error:
        print(f"forge: {_printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the exit's flush is quiet
        return 1
    return code


def _printable(text: str) -> str:
    """Names from files may hold escape sequences: a terminal must not obey them."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
