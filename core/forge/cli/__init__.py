"""The `forge` command. Each verb is a module; what is slow to import is imported when it runs."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module

from forge._version import __version__
from forge.cli import streams
from forge.errors import ForgeError, OutputError
from forge.paths import leave_current_folder

VERBS = (
    "run",
    "chat",
    "backends",
    "warmup",
    "pull",
    "models",
    "tokenize",
    "perplexity",
    "bench",
    "selftest",
    "graph",
    "plugins",
    "quarantine",
    "doctor",
)


def parser(only: str = "") -> argparse.ArgumentParser:
    """The whole command line, plugins' verbs included; or `only` one verb, which is quicker."""
    top = argparse.ArgumentParser(
        prog="forge",
        description="Run language models on the GPU you have; the reply goes on when it hangs.",
        epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 no usable backend, 130 interrupted.",
    )
    top.add_argument("--version", action="version", version=f"forge {__version__}")
    subparsers = top.add_subparsers(metavar="VERB", required=True)
    for verb in (only,) if only else VERBS:
        import_module(f"forge.cli.{verb}").add(subparsers)
    if not only:
        from forge.plugins import Plugins

        Plugins().add_commands(subparsers)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; the exit code."""
    leave_current_folder()
    # numpy's BLAS would start a thread for each core; this process computes nothing with them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if arguments is None:  # else the streams are the caller's
        streams.set_up()
    try:
        try:
            typed = sys.argv[1:] if arguments is None else arguments
            from forge.cli import chat  # it imports what the current folder could have shadowed

            typed = chat.wanted(typed)
            only = "chat" if typed[:1] == ["chat"] else ""  # a person waits for its first screen
            args = parser(only).parse_args(typed)
            code: int = args.run(args)
        finally:
            sys.stdout.flush()
    except ForgeError as error:
        print(f"forge: {_printable(str(error))}", file=sys.stderr)
        if isinstance(error, OutputError):
            streams.silence()
        return error.exit_code
    except MemoryError:
        print("forge: out of memory", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        streams.silence()
        return 1
    return code


def _printable(text: str) -> str:
    """Names from files may hold escape sequences: a terminal must not obey them."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
