"""Where the time of a run goes on the device, kernel by kernel: `forge bench --profile`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KernelTime:
    """One kernel of a run.

    name: of the node whose result it helps to make. op: its op, behind those of the nodes that are
    computed in the same kernels. weight_bytes, multiply_adds: of the matrices that it multiplies
    with; 0 where it has none.
    """

    name: str
    op: str
    kernel: str
    seconds: float
    weight_bytes: int = 0
    multiply_adds: int = 0


@dataclass(frozen=True, slots=True)
class RunProfile:
    """A run of `tokens` tokens from position `start`, its kernels in the order they ran."""

    tokens: int
    start: int
    kernels: tuple[KernelTime, ...]

    @property
    def seconds(self) -> float:
        """All kernels together."""
        return sum(kernel.seconds for kernel in self.kernels)


@dataclass(frozen=True, slots=True)
class Share:
    """The kernels of one op and one name, together."""

    op: str
    kernel: str
    calls: int
    seconds: float
    weight_bytes: int
    multiply_adds: int


def shares(kernels: Iterable[KernelTime]) -> list[Share]:
    """By op and kernel, those that take longest first."""
    found: dict[tuple[str, str], list[KernelTime]] = {}
    for each in kernels:
        found.setdefault((each.op, each.kernel), []).append(each)
    together = [
        Share(
            *(op, kernel, len(group)),
            sum(each.seconds for each in group),
            sum(each.weight_bytes for each in group),
            sum(each.multiply_adds for each in group),
        )
        for (op, kernel), group in found.items()
    ]
    return sorted(together, key=lambda share: -share.seconds)


def table(profile: RunProfile) -> list[str]:
    """Lines for people: all kernels together, then those of one op and name, and their rates."""
    rows = shares(profile.kernels)
    total = profile.seconds or 1.0
    body = [
        (
            *(row.op, row.kernel, str(row.calls), f"{row.seconds * 1e6:,.1f}"),
            *(f"{100 * row.seconds / total:.1f} %", f"{row.seconds / row.calls * 1e6:,.1f}"),
            _rate(row.weight_bytes, row.seconds, 1e9),
            _rate(2 * row.multiply_adds, row.seconds, 1e12),
        )
        for row in rows
    ]
    what = f"a chunk of {profile.tokens} tokens" if profile.tokens > 1 else "one token"
    where = f" after {profile.start}" if profile.start else ""
    head = f"{what}{where}: {len(profile.kernels)} kernels, {profile.seconds * 1e6:,.1f} us"
    titles = ("op", "kernel", "calls", "total us", "share", "mean us", "GB/s", "TFLOP/s")
    return [head, *_aligned([titles, *body])]


def _rate(amount: int, seconds: float, unit: float) -> str:
    return f"{amount / seconds / unit:.3g}" if amount and seconds > 0 else ""


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Two columns of words, then numbers."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) if index < 2 else text.rjust(width)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
