"""The fault matrix: its rows, its columns, and the cells that make no sense."""

from __future__ import annotations

from dataclasses import asdict, dataclass

HANG = "hang that ignores SIGTERM"
STUCK = "uninterruptible: no signal reaches it"
ABORT = "abort"
SEGFAULT = "segfault"
SLOW = "slow: 3 × the learned pace"
NAN = "NaN"
WRONG = "wrong answer"
OOM = "out of memory"
HOST = "host killed"
WORKER = "worker killed"

ROWS = (HANG, STUCK, ABORT, SEGFAULT, SLOW, NAN, WRONG, OOM, HOST, WORKER)
COLUMNS = ("start", "open", "load", "compile", "prefill", "decode", "idle")

_NO_BACKEND = "no backend is there yet that could"
_NO_WORK = "an idle worker computes and allocates nothing; what it then does is the prefill column"
NOT_RUN = {(row, "start"): _NO_BACKEND for row in (NAN, WRONG, OOM)} | {
    (row, "idle"): _NO_WORK for row in (NAN, WRONG, OOM)
}
"""Cells that make no sense, and why."""
CELLS = [(row, column) for row in ROWS for column in COLUMNS if (row, column) not in NOT_RUN]


@dataclass(frozen=True, slots=True)
class Found:
    """What one cell came to; both in seconds.

    detected: from the moment of the fault to the moment when it was noticed; None where there was
    nothing to notice. budget: what the watchdog gave the worker at that moment. says: what else.
    """

    row: str
    column: str
    detected: float | None
    budget: float | None
    says: str = ""

    def property(self) -> dict[str, object]:
        """As a report of pytest carries it from one process to another."""
        return asdict(self)


def table(found: list[Found]) -> list[str]:
    """The matrix in Markdown: detected / budget in each cell."""
    known = {(cell.row, cell.column): cell for cell in found}
    lines = [
        "fault matrix: seconds from the fault to its detection / budget of the worker then",
        "",
        "| | " + " | ".join(COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for row in ROWS:
        texts = [_text(known.get((row, column)), row, column) for column in COLUMNS]
        lines.append(f"| **{row}** | " + " | ".join(texts) + " |")
    reasons: dict[str, list[str]] = {}
    for (row, column), reason in NOT_RUN.items():
        reasons.setdefault(reason, []).append(f"{row} × {column}")
    lines += ["", *(f"not run: {', '.join(cells)}: {why}" for why, cells in reasons.items())]
    return lines


def _text(cell: Found | None, row: str, column: str) -> str:
    if cell is None:
        return "not run" if (row, column) in NOT_RUN else "**not run**"
    parts = [] if cell.detected is None else [f"{cell.detected:.2f}"]
    parts += [] if cell.budget is None else [f"{cell.budget:.2f}"]
    return " ".join(filter(None, [" / ".join(parts), cell.says]))
