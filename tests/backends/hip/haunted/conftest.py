"""A haunted driver: forge's own engine, a real worker, and a fault script under it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import pytest
from tests.backends.hip.haunted.stories import BRISK, RADEON, Story
from tests.hipsim.build import BuildError, environment, rocm_path
from tests.hipsim.counts import counts

from forge import BackendSpec, Done, Engine, Fallback, SamplingParams, Token
from forge.budgets import SECONDS
from forge_hip.plugin import forge_backends

CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
PROMPT = list(range(60, 80))
COUNT = 40
_SHOWN = 3
"""Tokens, before a driver is haunted that lets a reply begin."""
_LIMIT = "3"
"""Seconds after which the backend itself calls a wait for the device stuck."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a story came to; seconds from the fault to the moment when it was noticed."""

    story: str
    detected: float | None
    outcome: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A reply, and what the driver counted meanwhile."""

    done: Done
    moved: tuple[Fallback, ...]
    detected: float | None
    closed: float
    counts: Counter[str]

    @property
    def outcome(self) -> str:
        """For the table."""
        if not self.moved:
            return f"stays on {self.done.backend}"
        where = f"goes on with {self.moved[-1].target} at token {self.moved[-1].at_token}"
        return f"{where}: {'; '.join(moved.reason for moved in self.moved)}"


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where compiled kernels are kept meanwhile."""
    return tmp_path_factory.mktemp("code")


Haunt = Callable[..., Seen]


@pytest.fixture
def haunt(tiny_chat: Path, code: Path, tmp_path: Path) -> Haunt:
    """Play a story: open the engine, ask for a reply, close it again."""
    pytest.importorskip("hip", reason="hip-python is missing: pip install -e '.[hip]'")
    try:
        rocm_path()
    except BuildError as error:
        if "needs g++" not in str(error):
            raise
        pytest.skip(str(error))

    def haunt(story: Story, model: Path = tiny_chat, count: int = COUNT) -> Seen:
        counted, wound, script = (tmp_path / each for each in ("counted", "wound", "script"))
        counted.mkdir(exist_ok=True)
        settings = {"devices": RADEON, "strict": "error", **story.settings}
        later = settings.pop("fault", "") if story.late else ""
        simulated = environment(
            rocm_path(old=story.old),
            **settings,
            counters=counted,
            wounds=wound,
            ctl=script,
        )
        cache = tmp_path / "code" if story.compiles else code
        (spec,) = forge_backends()
        env = {**spec.env, **simulated, "FORGE_HIP_CACHE": str(cache)}
        spec = replace(spec, env=env, options={"limit": _LIMIT})
        choices = {
            "backend": spec,
            "fallback_to": [CPU],
            "seconds": _floors(story),
        }
        moved: list[Fallback] = []
        detected, shown = None, 0
        engine = Engine(model, **choices)
        try:
            for event in _events(engine, count):
                shown += isinstance(event, Token)
                if shown == _SHOWN and later:
                    script.write_text(later)
                if isinstance(event, Fallback):
                    moved.append(event)
                    detected = time.time() - wound.stat().st_mtime if wound.exists() else None
            assert isinstance(event, Done)
        finally:
            closing = time.monotonic()
            engine.close()
        closed = time.monotonic() - closing
        return Seen(event, tuple(moved), detected, closed, counts(counted))

    return haunt


def _floors(story: Story) -> dict[str, float]:
    """Short ones where the host has to notice; else the backend's own limit comes first."""
    return {**SECONDS, **(BRISK if story.says == "no progress" else {"decode": 4 * float(_LIMIT)})}


def _events(engine: Engine, count: int) -> Iterator[object]:
    yield from engine.load()
    params = SamplingParams(temperature=0)
    yield from engine.generate(PROMPT, params, max_tokens=count, stop_ids=())


@pytest.fixture
def told(record_property: Callable[[str, object], None]) -> Callable[[str, Seen], None]:
    """Put a line into the table that the test run ends with."""

    def told(name: str, seen: Seen) -> None:
        record_property("haunted", asdict(Row(name, seen.detected, seen.outcome)))

    return told


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the stories that were played."""
    rows = [
        Row(**value)  # type: ignore[arg-type]  # what `told` gave
        for found in terminalreporter.stats.values()
        for report in found
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == "haunted"
    ]
    if not rows:
        return
    terminalreporter.write_sep("=", "haunted driver")
    for line in ["| story | seconds to detection | outcome |", "|---|---|---|"]:
        terminalreporter.write_line(line)
    for row in rows:
        detected = "" if row.detected is None else f"{row.detected:.1f}"
        outcome = " ".join(row.outcome.split())[:160]
        terminalreporter.write_line(f"| {row.story} | {detected} | {outcome} |")
