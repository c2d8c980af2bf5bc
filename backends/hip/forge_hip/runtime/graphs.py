"""Captured graphs: a token's launches put on the stream by one call, where that works.

Whether it does is tried on the device itself (`works`): drivers differ, and what they say of
themselves is not what they do.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from forge.backend import BackendError, BackendHung, BackendLost
from forge_hip.runtime.launches import Packed
from forge_hip.runtime.pool import Arenas, Pool
from forge_hip.runtime.stream import Stream


class Graph:
    """Owns what was captured, ready to be replayed as often as wanted.

    Its launches keep the arguments that they had; what changes from token to token is in memory.
    """

    def __init__(self, stream: Stream, body: Callable[[], None]) -> None:
        self._stream = stream
        self._driver = stream.driver
        self.handle: Any = None
        with stream.capturing() as made:
            body()
        (graph,) = made
        try:
            self.handle = self._driver.instantiated(graph)
        finally:
            if not self._driver.lost:
                self._driver.call("hipGraphDestroy", graph)

    def replay(self) -> None:
        """Put all of it on the stream."""
        self._stream.replay(self.handle)

    def close(self) -> None:
        """Give it back; it must not be under way."""
        handle, self.handle = self.handle, None
        if handle is not None and not self._driver.lost:
            self._driver.call("hipGraphExecDestroy", handle)


def works(stream: Stream, pool: Pool, ping: Any) -> str:
    """Capture a fill, a kernel and copies, and replay them on changing memory; "" if all is right.

    `ping` is the kernel of `forge_hip.runtime.ping`. Else it says what went wrong, and launches go
    one by one. A device that hangs or is lost by it raises as ever.
    """
    device, host = Arenas(pool, "device", 4096), Arenas(pool, "host", 4096)
    graph: Graph | None = None
    try:
        given, shown = host.region(16), host.region(16)
        there, made = device.region(16), device.region(16)
        arguments = Packed([there, made], struct.pack("<I", 5))

        def body() -> None:
            stream.copy(given, there)
            stream.fill(made, 0xFF)
            stream.launch(ping, (1, 1, 1), (1, 1, 1), arguments)
            stream.copy(made, shown)

        graph = Graph(stream, body)
        for number in (7, 1000):
            given.view("u4")[:] = number
            graph.replay()
            if (found := int(stream.read(shown, "u4")[0])) != number + 5:
                return f"a replayed graph computed {found}, not {number + 5}"
    except (BackendHung, BackendLost):
        raise
    except BackendError as error:
        return str(error)
    finally:
        if graph is not None:
            graph.close()
        if not stream.driver.lost:
            device.close()
            host.close()
    return ""
