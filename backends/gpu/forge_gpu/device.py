"""What a GPU has to offer, so that graphs run on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from forge.backend import Array
from forge_gpu.features import Features
from forge_gpu.flow import Flow
from forge_gpu.memory import Region


class Gpu(Protocol):
    """What steps and sizes know of an open device."""

    @property
    def features(self) -> Features:
        """What kernels are chosen by."""

    @property
    def kind(self) -> str:
        """As `forge.backend.Device` has it: discrete, integrated or software."""

    @property
    def compute_units(self) -> int:
        """Processors that run work groups side by side."""

    @property
    def group_threads(self) -> int:
        """The most threads of a work group."""

    @property
    def allocation_bytes(self) -> int:
        """The most of one allocation, and of one buffer."""

    @property
    def unified(self) -> bool:
        """Whether the host writes the device's memory itself: no copies then."""

    @property
    def nanoseconds(self) -> float:
        """A tick of its time stamps; 0 where it has none."""


class Profile(Protocol):
    """Owns time stamps around recorded kernels."""

    def read(self) -> Sequence[tuple[str, str, float, float]]:
        """Label, kernel, begin and end of each in seconds, once what was recorded has run."""

    def close(self) -> None:
        """Give it back."""


class Recording(Protocol):
    """Takes kernels, copies and fills; each sees what those before it wrote."""

    @property
    def flow(self) -> Flow | None:
        """Counters by which some kernels wait for others; None where none does."""

    def dispatch(
        self,
        kernel: Any,
        bindings: Sequence[Region],
        groups: tuple[int, int, int],
        *,
        writes: Sequence[int],
        push: bytes = b"",
        label: str = "",
        waits: bool = False,
    ) -> None:
        """Run a kernel over so many work groups; `writes` are the bindings that it changes.

        `waits`, where there is a flow: it waits for others by itself.
        """

    def after_barrier(self, kernel: Any, bindings: Sequence[Region], push: bytes) -> None:
        """Run one work group once what was recorded before is done; nothing waits for it."""

    def copy(self, source: Region, target: Region) -> None:
        """Copy as many bytes as the source has."""

    def fill(self, target: Region, word: int = 0) -> None:
        """Set every 32-bit word."""

    def end(self) -> Any:
        """What a queue takes, as often as it is to run."""


class Commands(Protocol):
    """Owns recordings that belong together."""

    def recording(self, profile: Any = None, flow: Region | None = None) -> Recording:
        """A new one, perhaps with time stamps, or with counters to wait by (FLOW_BYTES)."""

    def close(self) -> None:
        """Give all of it back; nothing of it may be under way."""


class Queue(Protocol):
    """Runs recordings in the order in which they are submitted."""

    where: Callable[[], str]
    """Asked for the last piece of work that was begun, when the device is stuck."""

    def submit(self, buffers: Sequence[Any]) -> Any:
        """Hand over what recordings ended as; what to `wait` for."""

    def wait(self, fence: Any) -> None:
        """Until it is done; BackendHung past a limit, BackendLost from the driver."""


def nowhere() -> str:
    """What a queue says of its last piece of work before anything was marked."""
    return ""


class Staging(Protocol):
    """Brings pieces of host memory to the device, one after the other."""

    step: int
    """The most bytes of a piece."""

    def send(self, data: Array, write: Callable[[Recording, Region], None]) -> None:
        """Bring bytes to the start of a region of the device, where `write` has kernels take them.

        `data` may change once this returns.
        """

    def close(self) -> None:
        """Give all of it back, once the device has everything."""
