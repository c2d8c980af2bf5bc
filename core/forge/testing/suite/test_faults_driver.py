"""L3: the backend's own ways to fail, as its plugin declares them with the hook forge_faults.

The ids are fault-phase: test_the_conversation_survives_its_own_driver[hang-decode].
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from forge.errors import BackendUnavailable, ForgeError
from forge.faults import NO_DRIVER
from forge.health import Health
from forge.plugins import Plugins
from forge.spec import BackendSpec, DriverFault
from forge.survey import list_backends
from forge.testing.environment import without
from forge.testing.remote import RemoteBackend
from forge.testing.remote.backend import Worker
from forge.testing.storyteller import TimedEngine, tell
from forge.testing.suite.conftest import LINES, chosen
from forge.testing.suite.measured import Measured, measured_fixture  # noqa: F401
from forge.testing.suite.test_faults import (
    LATER,
    NOTICED,
    moved_later,
    moved_once,
    same_conversation,
)
from forge.testing.suite.undisturbed import Undisturbed, undisturbed_fixture  # noqa: F401

HARMLESS = ("slow", "many")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each fault that is declared."""
    if "declared" in metafunc.fixturenames:
        faults = declared_faults(metafunc.config)
        rows = [pytest.param(fault, id=f"{fault.fault}-{fault.phase}") for fault in faults]
        metafunc.parametrize("declared", rows)


def declared_faults(config: pytest.Config) -> list[DriverFault]:
    """Those of the backend under test; none where there is no such backend."""
    try:
        return Plugins().faults(chosen(config).name)
    except ForgeError:
        return []


def failing(spec: BackendSpec, fault: DriverFault) -> BackendSpec:
    """The backend with the driver that fails."""
    return replace(
        spec,
        name="bad",
        env={**spec.env, **fault.env},
        options={**spec.options, **fault.options},
        floor=False,
    )


def test_what_the_plugin_declares_can_be_read(
    spec: BackendSpec, request: pytest.FixtureRequest
) -> None:
    faults = Plugins().faults(spec.name)
    lines = request.config.stash.setdefault(LINES, [])
    names = ", ".join(f"{fault.fault} in {fault.phase}" for fault in faults)
    lines.append(f"the driver's own faults: {names or 'none declared'}")


def test_the_conversation_survives_its_own_driver(
    declared: DriverFault, spec: BackendSpec, undisturbed: Undisturbed, measured: Measured
) -> None:
    bad = failing(spec, declared)
    with TimedEngine(
        undisturbed.conversation.model, bad, [undisturbed.target], undisturbed.seconds
    ) as engine:
        story = tell(engine, undisturbed.conversation)
        if declared.fault in HARMLESS:
            assert [done.backend for done in story.done] == ["bad", "bad"]
            same_conversation(story, undisturbed)
            return
        if (declared.fault, declared.phase) in LATER:
            moved_later(story, undisturbed, 1)
        else:
            moved_once(story, engine, bad, undisturbed)
            assert (story.fallbacks[0].at_token > 0) == (declared.phase == "decode")
    no_driver = declared.fault == NO_DRIVER
    kind = BackendUnavailable if no_driver else NOTICED[declared.fault][0]
    assert type(engine.failures["bad"]) is kind
    if no_driver:
        (health,) = list_backends([bad], remember=False)
        gives_advice(health)
    measured(declared.fault, declared.phase, story)


def test_without_a_module_that_it_requires_the_backend_is_unavailable(
    spec: BackendSpec, undisturbed: Undisturbed, request: pytest.FixtureRequest
) -> None:
    if not spec.requires:
        pytest.skip(f"{spec.name} names no module that it requires")
    lacking = replace(
        spec, name="bad", env={**spec.env, **without(spec.requires, spec.env)}, floor=False
    )
    worker = Worker(lacking, request.config.getoption("--forge-timeout"))
    try:
        with pytest.raises(BackendUnavailable):
            RemoteBackend(worker)
    finally:
        worker.close()
    with TimedEngine(
        undisturbed.conversation.model, lacking, [undisturbed.target], undisturbed.seconds
    ) as engine:
        story = tell(engine, undisturbed.conversation)
        moved_once(story, engine, lacking, undisturbed)
    (health,) = list_backends([lacking], remember=False)
    gives_advice(health)


def gives_advice(health: Health) -> None:
    """Unavailable is no failure, and says what is the matter in more than an error's name."""
    assert health.status == "unavailable"
    (check,) = health.checks
    assert not check.ok
    assert len(f"{check.detail} {check.advice}".split()) > 3
