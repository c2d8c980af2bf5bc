"""Keeps the monitor's state up to date: from the engine's news, and from the machine's gauges."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from forge import Diagnosis, diagnose
from forge_tui.monitor.reader import SystemReader
from forge_tui.monitor.state import MonitorState, News, Polled


class Feed:
    """Owns the state, the reader of gauges, and the threads that wait for them.

    poll: what is seen of the worker now, called at each `look`. pid: the worker's process.
    """

    def __init__(
        self,
        poll: Callable[[], Polled],
        pid: Callable[[], int | None],
        *,
        reader: SystemReader | None = None,
        diagnosis: Callable[[], Diagnosis] = diagnose,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._poll = poll
        self._pid = pid
        self._reader = reader
        self._diagnosis = diagnosis
        self._clock = clock
        self._lock = threading.Lock()
        self._state = MonitorState()
        self._threads: dict[str, threading.Thread] = {}
        self._closed = False

    @property
    def state(self) -> MonitorState:
        """All that is known now."""
        return self._state

    def observe(self, news: News) -> None:
        """Something happened; from any thread."""
        at = self._clock()
        with self._lock:
            self._state = self._state.updated(news, at)

    def look(self) -> MonitorState:
        """The state with what is seen of the worker at this moment."""
        self.observe(self._poll())
        return self._state

    def start(self) -> None:
        """Read the gauges once a second from now on; called again it does nothing."""
        self._begin("gauges", self._read)

    def examine(self) -> None:
        """Have the doctor look, which takes seconds; while it does, another call does nothing."""
        self._begin("doctor", lambda: self.observe(self._diagnosis()))

    def _begin(self, name: str, work: Callable[[], None]) -> None:
        running = self._threads.get(name)
        if not self._closed and (running is None or not running.is_alive()):
            # A daemon: one that waits for a driver must not keep the program from ending.
            self._threads[name] = threading.Thread(target=work, name=f"forge-{name}", daemon=True)
            self._threads[name].start()

    def _read(self) -> None:
        if self._reader is None:
            self._reader = SystemReader()
        for reading in self._reader.readings(self._pid):
            self.observe(reading)
            if self._closed:
                self._reader.close()

    def close(self) -> None:
        """Read no more."""
        self._closed = True
        if self._reader is not None:
            self._reader.close()
