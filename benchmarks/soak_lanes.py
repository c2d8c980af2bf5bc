"""The threads of a soak: engines one after the other, each reply judged; hosts that are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from random import Random

from soak_plan import (
    ACTIONS,
    CPU,
    LONGEST,
    SAMPLING,
    SECONDS,
    STRIKES,
    Action,
    Asked,
    Plan,
    Tally,
    Trouble,
    plan,
)

from forge import Done, Engine, Fallback, Token
from forge.errors import BackendError
from forge.state import Ledger
from forge.testing.usage import children

_HOST = Path(__file__).parent / "soak_host.py"


def undisturbed(model: Path, rng: Random) -> list[Asked]:
    """Prompts and their replies; some go on where the reply to another one was."""
    found: list[Asked] = []
    with Engine.open(model, backend=CPU, fallback_to=[], threads=1, remember=False) as engine:
        size = engine.tokenizer.size
        for number in range(24):
            prompt = tuple(rng.randrange(size) for _ in range(rng.randint(1, 60)))
            if number % 3:
                before = found[-1]
                prompt = (*before.prompt, *before.truth[: rng.randint(1, LONGEST)], *prompt[:5])
            for params in SAMPLING:
                *_, done = engine.generate(prompt, params, max_tokens=LONGEST, stop_ids=())
                assert isinstance(done, Done)
                found.append(Asked(prompt, params, done.tokens))
    return found


class Lane:
    """One thread's engines, one after the other; owns its random numbers and its tally."""

    def __init__(self, model: Path, asked: Sequence[Asked], seed: str) -> None:
        self.tally = Tally()
        self._model, self._asked, self._rng = model, asked, Random(seed)
        self._before: list[Trouble] = []
        self._struck: set[int] = set()

    def run(self, end: float, lasting: Engine | None = None) -> None:
        """Until the clock says so; a `lasting` engine is used in place of new ones."""
        while time.monotonic() < end:
            chosen = plan(self._rng, self._before)
            try:
                if lasting is not None:
                    self._ask(lasting, Plan((), standby=False, strict=False, replies=1))
                else:
                    self._engine(chosen)
            except Exception:  # noqa: BLE001  # whatever it is, it is a loss
                self.tally.lost.append(f"{_words(chosen)}: {traceback.format_exc()}")

    def _engine(self, chosen: Plan) -> None:
        self.tally.counts["engines"] += 1
        if self._rng.random() < 1 / 16:
            with Ledger.open() as ledger:
                ledger.clear("all")
        first, *rest = chosen.specs()
        choices = {"standby": chosen.standby, "strict": chosen.strict}
        with Engine(
            self._model, backend=first, fallback_to=rest, threads=1, seconds=SECONDS, **choices
        ) as engine:
            for _ in range(chosen.replies):
                if not self._ask(engine, chosen):
                    return

    def _ask(self, engine: Engine, chosen: Plan) -> bool:
        """One reply, judged; False where a strict engine has no backend any more."""
        rng, asked = self._rng, self._rng.choice(self._asked)
        count, at = rng.randint(1, LONGEST), rng.randint(1, LONGEST)
        action: Action = "" if chosen.strict else rng.choice(ACTIONS)
        struck = engine.worker_pid in self._struck  # too late for the reply before to notice
        if struck and action in STRIKES:
            action = ""  # a floor is replaced once a reply
        self.tally.counts["replies"] += 1
        self.tally.counts[action or "whole"] += 1
        heard = Heard(engine, action, at, self._struck)
        timer = threading.Timer(rng.random() * 0.5, engine.cancel)
        if action == "cancel-later":
            timer.start()
        what = f"{_words(chosen)}, {action or 'whole'} at {at} of {count}"
        try:
            for _ in heard.reply(asked, count, reuse=rng.random() < 0.8):
                pass
        except BackendError as error:
            if chosen.strict and error.exit_code == 3 and _is_start(heard.tokens, asked, count):
                self.tally.counts["strict endings"] += 1
                return False
            raise
        finally:
            timer.cancel()
            if timer.is_alive():
                timer.join()
        self.tally.counts["tokens"] += len(heard.tokens)
        self._judge(what, heard, asked, count, _quiet(chosen, struck=struck or heard.struck))
        for moved in heard.fallbacks:
            if moved.tried and moved.source != CPU.name:
                each = chosen.troubles[int(moved.source.removeprefix("gpu"))]
                self.tally.faults[f"{each.fault} × {each.phase}"] += 1
        return True

    def _judge(self, what: str, heard: Heard, asked: Asked, count: int, quiet: set[str]) -> None:
        """`quiet`: backends that nothing was done to."""
        lost = self.tally.lost
        if not _is_start(heard.tokens, asked, count):
            lost.append(f"{what}: {heard.tokens} are not {asked.truth[:count]}")
        whole = heard.action not in ("cancel", "cancel-later", "abandon")
        done = heard.done
        if done is None and heard.action != "abandon":
            lost.append(f"{what}: it has no end")
        if done is not None and list(done.tokens) != heard.tokens:
            lost.append(f"{what}: its end says {done.tokens}, its events {heard.tokens}")
        if whole and (len(heard.tokens) != count or (done and done.finish_reason != "length")):
            lost.append(f"{what}: {len(heard.tokens)} tokens, {done and done.finish_reason}")
        for moved in heard.fallbacks:
            self.tally.counts["fallbacks"] += 1
            self.tally.counts["passed over"] += not moved.tried
            if moved.tried and moved.source in quiet:
                lost.append(f"{what}: a false kill of {moved.source}: {moved.reason}")


class Heard:
    """What one reply gave, and what was done to it meanwhile."""

    def __init__(self, engine: Engine, action: Action, at: int, struck: set[int]) -> None:
        self.action, self.struck = action, False
        self._all_struck = struck
        self.tokens: list[int] = []
        self.fallbacks: list[Fallback] = []
        self.done: Done | None = None
        self._engine, self._at = engine, at

    def reply(self, asked: Asked, count: int, *, reuse: bool) -> Iterator[None]:
        """Listen to all of it."""
        if self.action.startswith("idle-"):
            self._strike()
        events = self._engine.generate(
            asked.prompt, asked.params, max_tokens=count, stop_ids=(), reuse=reuse
        )
        with closing(events):
            for event in events:
                if isinstance(event, Fallback):
                    self.fallbacks.append(event)
                    if event.at_token != len(self.tokens):
                        raise AssertionError(f"{event} after {len(self.tokens)} tokens")
                elif isinstance(event, Done):
                    self.done = event
                elif isinstance(event, Token):
                    self.tokens.append(event.id)
                    if len(self.tokens) == self._at and self._acted():
                        return
                yield

    def _acted(self) -> bool:
        """What was planned for this token; whether the reply is to be left."""
        if self.action == "cancel":
            self._engine.cancel()
        elif self.action in ("kill", "stop"):
            self._strike()
        return self.action == "abandon"

    def _strike(self) -> None:
        number = signal.SIGKILL if self.action.endswith("kill") else signal.SIGSTOP
        if pid := self._engine.worker_pid:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
                self.struck = True
                self._all_struck.add(pid)


def _quiet(chosen: Plan, *, struck: bool) -> set[str]:
    """The backends that nothing was done to."""
    if struck:
        return set()
    slow = {f"gpu{i}" for i, each in enumerate(chosen.troubles) if each.fault == "slow"}
    return slow | {"cpu"}


def _is_start(tokens: Sequence[int], asked: Asked, count: int) -> bool:
    return tuple(tokens) == asked.truth[: min(count, len(tokens))]


def _words(chosen: Plan) -> str:
    troubles = ", then ".join(map(str, chosen.troubles)) or "no fault"
    return troubles + " standby" * chosen.standby + " strict" * chosen.strict


def killed_hosts(model: Path, end: float, seed: str, tally: Tally) -> None:
    """One after the other; nothing of them may survive."""
    rng = Random(seed)
    while time.monotonic() < end:
        command = [sys.executable, "-P", str(_HOST), str(model), seed]
        with subprocess.Popen(command) as process:
            time.sleep(rng.uniform(0.2, 4.0))
            workers = children(process.pid)
            process.kill()
        tally.counts["killed hosts"] += 1
        late = time.monotonic() + 5
        while workers := {pid for pid in workers if _alive(pid)}:
            if time.monotonic() > late:
                tally.lost.append(f"workers {workers} outlived their host")
                break
            time.sleep(0.05)


def _alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False
