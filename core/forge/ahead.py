"""A worker process that is started before the engine that will use it.

Interpreter and imports take the worker as long as they take the host; so both do it at one time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from forge.process import WorkerProcess


class Ahead:
    """Owns the process until somebody takes it; nothing at first."""

    def __init__(self) -> None:
        self._process: WorkerProcess | None = None
        self._asked: tuple[tuple[str, ...], dict[str, str]] | None = None

    def start(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        """Start it; BackendLost where that cannot be."""
        self.close()
        self._process = WorkerProcess(command, env)
        self._asked = tuple(command), dict(env)

    def take(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        start: type[WorkerProcess] = WorkerProcess,
    ) -> WorkerProcess:
        """The process that was started just so, the first time; else a new one."""
        if self._asked == (tuple(command), dict(env)) and self._process is not None:
            process, self._process = self._process, None
            return process
        self.close()
        return start(command, env)

    def close(self) -> None:
        """End it if nobody took it."""
        if self._process is not None:
            self._process.kill(1)
            self._process = None
