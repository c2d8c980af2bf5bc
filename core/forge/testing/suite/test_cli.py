"""L2 and L3 at the command line: the backend answers a person there, and so do its faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from forge.faults import Fault
from forge.plugins import Plugins
from forge.spec import BackendSpec
from forge.testing.conversation import TOKENS
from forge.testing.environment import with_plugin, without
from forge.testing.faulty import faulty
from forge.testing.suite.test_faults import NOTICED
from forge.testing.suite.undisturbed import Undisturbed, undisturbed_fixture  # noqa: F401

STEP = 3
Forge: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def forge(request: pytest.FixtureRequest, tmp_path: Path) -> Forge:
    """Run the command line, with additions to the environment.

    Nothing is remembered from test to test, or for the person who runs them.
    """
    seconds = 3 * request.config.getoption("--forge-timeout")
    own = {"FORGE_STATE": str(tmp_path / "state"), "FORGE_CONFIG": str(tmp_path / "config.toml")}

    def run(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-P", "-m", "forge", *arguments],
            capture_output=True,
            encoding="utf-8",
            stdin=subprocess.DEVNULL,
            env={**os.environ, **own, **env},
            timeout=seconds,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def known(spec: BackendSpec, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """An environment in which forge knows the backend: by its own plugin, if it has one."""
    if spec in Plugins().backends():
        return {}
    return with_plugin(tmp_path_factory.mktemp("plugin"), [spec])


def ask(undisturbed: Undisturbed, backend: str, *more: str) -> list[str]:
    """The arguments for the conversation's first turn."""
    conversation = undisturbed.conversation
    choices = ["-b", backend, "-m", str(conversation.model), "-n", str(TOKENS), "--temp", "0"]
    return ["run", conversation.turns[0].text, *choices, "--json", *more]


def test_forge_run_answers_by_this_backend(
    forge: Forge, known: Mapping[str, str], spec: BackendSpec, undisturbed: Undisturbed
) -> None:
    done = forge(*ask(undisturbed, spec.name, "--strict"), env=known)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    assert (reply["backend"], reply["fallbacks"]) == (spec.name, [])
    assert tuple(reply["tokens"]) == undisturbed.conversation.turns[0].reply


@pytest.mark.forge_long
def test_forge_backends_lists_this_backend_as_ready(
    forge: Forge, known: Mapping[str, str], spec: BackendSpec
) -> None:
    found = listed(forge, known)
    assert found[spec.name]["status"] == "ready", found
    assert found[spec.name]["device"]


@pytest.mark.forge_long
def test_forge_backends_says_what_to_install_for_this_backend(
    forge: Forge, known: Mapping[str, str], spec: BackendSpec
) -> None:
    if not spec.requires:
        pytest.skip(f"{spec.name} names no module that it requires")
    found = listed(forge, {**known, **without(spec.requires, known)})
    assert found[spec.name]["status"] == "unavailable", found
    (check,) = found[spec.name]["checks"]
    assert check["advice"].startswith("pip install ")


def listed(forge: Forge, env: Mapping[str, str]) -> dict[str, Any]:
    """What `forge backends --json` prints, by name."""
    done = forge("backends", "--json", env=env)
    assert done.returncode == 0, done.stderr
    return {health["backend"]: health for health in json.loads(done.stdout)}


@pytest.mark.parametrize("fault", ["hang", "die", "nan"])
@pytest.mark.forge_long
def test_the_person_reads_where_the_reply_moved_and_why(
    fault: Fault, forge: Forge, spec: BackendSpec, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    env = with_plugin(tmp_path, [breaking(spec, fault), undisturbed.target])
    patience = str(undisturbed.patience)
    done = forge(*ask(undisturbed, "bad", "--patience", patience), env=env)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    target = undisturbed.target.name
    (moved,) = reply["fallbacks"]
    assert (moved["from"], moved["to"], moved["at_token"]) == ("bad", target, STEP)
    assert NOTICED[fault][1] in moved["reason"]
    told = f"forge: bad failed ({moved['reason']}); the reply goes on with {target} after {STEP}"
    assert told in done.stderr
    assert reply["backend"] == target
    assert tuple(reply["tokens"]) == undisturbed.conversation.turns[0].reply


@pytest.mark.forge_long
def test_who_is_strict_gets_the_reason_and_exit_code_three(
    forge: Forge, spec: BackendSpec, undisturbed: Undisturbed, tmp_path: Path
) -> None:
    env = with_plugin(tmp_path, [breaking(spec, "die"), undisturbed.target])
    done = forge(*ask(undisturbed, "bad", "--strict"), env=env)
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert "bad: the worker was killed by SIGKILL" in done.stderr


def breaking(spec: BackendSpec, fault: Fault) -> BackendSpec:
    """The backend with a fault at one of the reply's tokens."""
    return faulty("bad", of=spec, fault=fault, phase="decode", step=STEP)
