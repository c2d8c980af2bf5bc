"""The file of known failures: a pattern of test ids and the reason, a line each."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from forge.errors import UsageError


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """Tests whose id ends like `pattern` (shell wildcards) are expected to fail, and must."""

    pattern: str
    reason: str

    def matches(self, test: str) -> bool:
        """Whether it means this test: "test_ops.py::test_matmul[q4_k-1x17x256]"."""
        return fnmatchcase(test, f"*{_literal_brackets(self.pattern)}")


def _literal_brackets(pattern: str) -> str:
    """pytest's ids are full of brackets, which are no sets here."""
    return pattern.replace("[", "[[]")


def read_xfails(path: Path) -> list[KnownFailure]:
    """Lines "pattern  # reason"; blank ones and those that begin with # are left out."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark before the first line
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text in UTF-8") from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        pattern, _, reason = line.partition("#")
        if pattern.strip():
            if not reason.strip():
                raise UsageError(f"{path}:{number}: say why after a #: {line!r}")
            found.append(KnownFailure(pattern.strip(), reason.strip()))
    return found
