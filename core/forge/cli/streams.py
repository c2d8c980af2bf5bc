"""The process's standard streams, whole whatever the caller made of them."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from forge.errors import OutputError


class Output(io.TextIOWrapper):
    """Standard output; what cannot be written is an OutputError.

    A reader that has gone stays a BrokenPipeError: that is how a pipe says that it has enough.
    """

    def write(self, text: str) -> int:
        """As for any text stream."""
        try:
            return super().write(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _lost(error) from None

    def flush(self) -> None:
        """As for any text stream."""
        try:
            super().flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise _lost(error) from None


class Remarks(io.TextIOWrapper):
    """Standard error; a reply does not fail because nobody can be told how it goes."""

    def write(self, text: str) -> int:
        """As for any text stream; what cannot be written is lost."""
        with suppress(OSError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """As for any text stream."""
        with suppress(OSError):
            super().flush()


def set_up() -> None:
    """Put Output and Remarks in place.

    A stream that was closed gets the null device: else the next thing that is opened, a model or a
    worker's socket, would take its number, and what is printed would end up there.
    """
    # Read-only for standard output too: writing to what was closed has to fail.
    for number, mode in enumerate((os.O_RDONLY, os.O_RDONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest free number, which is this one
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115  # lives as long as we
    sys.stdout = _stream(Output, sys.stdout, 1)
    sys.stderr = _stream(Remarks, sys.stderr, 2)


def _stream(kind: type[io.TextIOWrapper], before: TextIO | None, number: int) -> io.TextIOWrapper:
    """What is printed appears as before; a character that the encoding lacks becomes ?."""
    return kind(
        io.BufferedWriter(io.FileIO(number, "w", closefd=False)),
        encoding=before.encoding if before else "utf-8",
        errors="replace",
        line_buffering=number == 2 or os.isatty(number),
    )


def silence() -> None:
    """Let what is still to be printed vanish: the exit's own flush must not fail again."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _lost(error: OSError) -> OutputError:
    return OutputError(f"the output cannot be written: {error.strerror}")
