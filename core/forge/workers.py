"""The workers of one engine: the one that answers, a standby, and those left in their drivers."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import suppress

from forge.errors import BackendError, BackendHung, BackendUnavailable, UsageError
from forge.events import Event
from forge.inquiry import inquire
from forge.past import AFTER_A_KILL, TOO_SLOW, Past, described
from forge.runner import Runner
from forge.spec import BackendSpec
from forge.worker_options import WorkerOptions


class Workers:
    """Owns the backends that are still to be tried, in order, and the processes of the first ones.

    objections: why a backend is passed over, by name. past: what is known of each.
    """

    def __init__(
        self,
        specs: Sequence[BackendSpec],
        objections: Mapping[str, str],
        options: WorkerOptions,
        past: Past,
        *,
        standby: bool,
    ) -> None:
        self.specs = list(specs)
        self.runner: Runner | None = None
        self.standby: Runner | None = None
        self.frugal: dict[str, int] = {}
        """Tokens that have to fit where a backend's memory ran out, by its name."""
        self.closed = False
        self._objections = objections
        self._options = options
        self._past = past
        self._wants_standby = standby
        self.left_behind: list[Runner] = []
        """Killed, and not gone when it was last looked."""

    def start(self) -> Runner:
        """The first backend's worker; a fresh one where it was killed half-way in a message.

        BackendUnavailable where something speaks against the backend.
        """
        if self.closed:
            raise UsageError("the engine was closed: open another one")
        if self.runner is not None and not self.runner.usable:
            self.drop()
        if self.runner is None:
            spec = self.specs[0]
            if objection := self._objections.get(spec.name):
                raise BackendUnavailable(objection)
            if found := self._past.quarantine(spec):
                raise BackendUnavailable(described(found))
            self.runner = self._promoted(spec)
        if self.runner is None:
            spec = self.specs[0]
            probe = self._past.doubtful(spec)
            self._past.mark(spec, "check" if probe else "load")
            self.runner = self._new(spec, probe=probe)
        return self.runner

    def spawn(self) -> None:
        """Start it, and let it load while the host does something else."""
        with suppress(BackendError):  # whoever waits for the model tries again, and falls back
            self.start()

    def _promoted(self, spec: BackendSpec) -> Runner | None:
        """The standby, if it is the backend's and still lives."""
        if self.standby is None or self.standby.spec is not spec:
            return None
        standby, self.standby = self.standby, None
        if standby.usable:
            return standby
        standby.kill()
        return None

    def _new(self, spec: BackendSpec, *, probe: bool = False) -> Runner:
        least, paces = self.frugal.get(spec.name, 0), self._past.paces(spec)
        return Runner(spec, self._options, paces=paces, least=least, probe=probe)

    def ready(self, cancelled: Callable[[], bool]) -> Generator[Event, None, Runner | None]:
        """The first backend's worker, once it holds the model; None: cancelled, and ended."""
        while True:
            runner = self.start()
            try:
                if (yield from self._loaded(runner, cancelled)):
                    return runner
                self.drop()
                return None
            except _AnotherDevice:
                self.drop()

    def _loaded(
        self, runner: Runner, cancelled: Callable[[], bool]
    ) -> Generator[Event, None, bool]:
        """Wait for known answers, where they are not known yet, and the model; False: cancelled."""
        if runner.probing:
            if not (yield from self._noted(runner, self._probed(runner, cancelled))):
                return False
            self._past.proved(runner.spec, time.monotonic() - runner.started)
            self._past.mark(runner.spec, "load")
        if not (yield from self._noted(runner, runner.ready(cancelled))):
            return False
        if self._wants_standby and self.standby is None and len(self.specs) > 1:
            following = self.specs[1]
            if following.floor:
                with suppress(BackendError):
                    self.standby = self._new(following)
        return True

    def _probed(
        self, runner: Runner, cancelled: Callable[[], bool]
    ) -> Generator[Event, None, bool]:
        """Known answers came out right, and the model was asked for."""
        if (yield from known_answers(runner, self._past, cancelled)):
            runner.load()
            return True
        return False

    def _noted(
        self, runner: Runner, events: Generator[Event, None, bool]
    ) -> Generator[Event, None, bool]:
        """The same events; the device is noted, and turned down if something is known of it."""
        known = runner.device is not None
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                done: bool = end.value
                return done
            if runner.device is not None and not known:
                known = True
                self._past.opened(runner.spec, runner.device)
                if found := self._past.quarantine(runner.spec):
                    raise BackendUnavailable(described(found))
                if not runner.probing and self._past.doubtful(runner.spec):
                    raise _AnotherDevice
            yield event

    def drop(self) -> bool:
        """End the first worker; False for one that is stuck in its driver and was left behind."""
        ended = True
        if self.runner is not None:
            ended = self.runner.kill()
            if not ended:
                self.left_behind.append(self.runner)
                self._past.stuck(self.runner.spec, self.runner.pid)
            self.runner = None
        self.left_behind = [runner for runner in self.left_behind if not runner.gone()]
        return ended

    def close(self) -> None:
        """End them all and give the device back; what hung since it was cancelled is noted."""
        self.closed = True
        if self.runner is not None and self.runner.hangs():
            error = BackendHung(f"no answer for {self.runner.silent_s:.3g} s after a cancel")
            self._past.failed(self.runner.spec, error, inquire(self.runner, error, 0))
        for runner in (self.runner, self.standby):
            if runner is not None:
                runner.close()
        self.drop()
        self._past.close()


def known_answers(
    runner: Runner, past: Past, cancelled: Callable[[], bool] = lambda: False
) -> Generator[Event, None, bool]:
    """Wait until they came out right; they have little time where a worker was killed before.

    One that is slow there is passed over (BackendUnavailable) and not accused: what it needs to say
    more, such as kernels that are compiled for the first time, may take longer on a sound device.
    False: cancelled.
    """
    end = float("inf")

    def over() -> bool:
        nonlocal end
        if end == float("inf") and runner.phase != "start" and past.suspect(runner.spec):
            end = time.monotonic() + AFTER_A_KILL
        return cancelled() or time.monotonic() > end

    if (yield from runner.known_answers(over)):
        return True
    if cancelled():
        return False
    raise BackendUnavailable(TOO_SLOW)


class _AnotherDevice(Exception):
    """The backend opened one that needs known answers first, unlike the one it opened before."""
