"""How entry points become plugins when several distributions want the same names."""

import itertools
import sys

import pytest

from forge.errors import PluginError
from forge.plugins import Plugins, missing
from forge.spec import BackendSpec

NUMBERS = itertools.count()


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Put a distribution with one entry point on the module path."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(distribution: str, entry: str, *specs: str, more: str = "") -> None:
        module = f"shipped_{next(NUMBERS)}"
        info = tmp_path / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        (info / "entry_points.txt").write_text(f"[forge]\n{entry} = {module}\n")
        (tmp_path / f"{module}.py").write_text(
            "from forge import BackendSpec, hookimpl\n"
            f"@hookimpl\ndef forge_backends():\n    return [{', '.join(specs)}]\n{more}"
        )
        wanted = {"cpu", entry, *found()}
        monkeypatch.setenv("FORGE_PLUGINS", ",".join(wanted))

    def found() -> set[str]:
        return {plugin.name for plugin in Plugins().plugins}

    yield add
    for name in [name for name in sys.modules if name.startswith("shipped_")]:
        del sys.modules[name]


def by_owner(plugins):
    return {plugin.distribution: plugin for plugin in plugins.plugins}


def test_nobody_takes_the_name_of_a_built_in_backend(ship):
    ship("aaa-thief", "a", "BackendSpec('cpu', 'm:C', 9)")
    plugins = Plugins()
    assert plugins.backend("cpu").factory == "forge_cpu.backend:CpuBackend"
    problem = "the backend cpu is plugin cpu's already (of forge-llm)"
    assert by_owner(plugins)["aaa-thief"].problem == problem


def test_two_distributions_may_give_their_entry_points_the_same_name(ship):
    ship("one", "same", "BackendSpec('x', 'm:C')")
    ship("two", "same", "BackendSpec('y', 'm:C')")
    plugins = Plugins()
    assert not plugins.broken()
    assert [spec.name for spec in plugins.backends()] == ["x", "y", "cpu"]


def test_a_broken_plugin_does_not_take_one_of_the_same_name_with_it(ship):
    ship("one", "same", "BackendSpec('x', 'm:C')")
    ship("two", "same", "BackendSpec('y', 'm:C', 'high')")
    plugins = Plugins()
    assert [spec.name for spec in plugins.backends()] == ["x", "cpu"]
    assert "priority is 'high'" in by_owner(plugins)["two"].problem


def test_one_plugin_that_offers_a_name_twice_is_broken(ship):
    ship("one", "one", "BackendSpec('x', 'm:C')", "BackendSpec('x', 'm:D')")
    plugins = Plugins()
    assert [spec.name for spec in plugins.backends()] == ["cpu"]
    assert "the backend x is plugin one's already" in by_owner(plugins)["one"].problem


def test_the_floor_comes_after_every_other_backend_whatever_its_priority(ship):
    ship("one", "one", "BackendSpec('low', 'm:C', -9)", "BackendSpec('zzz', 'm:C')")
    assert [spec.name for spec in Plugins().backends()] == ["zzz", "low", "cpu"]


@pytest.mark.parametrize("body", ["raise SystemExit(3)", "subparsers.add_parser(7 / 0)"])
def test_a_plugin_whose_verbs_fail_is_listed_and_stops_nothing(ship, body):
    from forge.cli import parser

    hook = f"@hookimpl\ndef forge_commands(subparsers):\n    {body}\n"
    ship("one", "one", "BackendSpec('x', 'm:C')", more=hook)
    assert parser().parse_args(["plugins"]).run


def test_ctrl_c_at_a_plugin_that_takes_too_long_is_not_taken_for_its_failure(ship):
    ship("slow", "slow", more="raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        Plugins()


def test_one_distribution_with_two_entry_points_of_one_name_keeps_the_first(ship, tmp_path):
    ship("one", "same", "BackendSpec('x', 'm:C')")
    with (tmp_path / "one-1.0.dist-info/entry_points.txt").open("a") as file:
        file.write("same = no_such_module\n")
    first, second = (plugin for plugin in Plugins().plugins if plugin.name == "same")
    assert [spec.name for spec in first.backends] == ["x"]
    assert second.problem.startswith("ModuleNotFoundError")


def test_advice_names_what_brings_a_missing_package():
    assert not missing(BackendSpec("x", "m:C", requires=("json",)))
    lacking = BackendSpec("x", "m:C", requires=("no_such", "no.such"), install="x-backend[gpu]")
    assert missing(lacking) == "no_such, no.such is not installed: pip install 'x-backend[gpu]'"
    assert missing(BackendSpec("x", "m:C", requires=("no_such",))).endswith("install 'no_such'")


@pytest.mark.parametrize("body", ["raise SystemExit(3)", "return 1 // 0", "return [7]"])
def test_a_plugin_whose_faults_fail_is_named(ship, body):
    ship(
        "mine",
        "mine",
        "BackendSpec('mine', 'm:C')",
        more=f"@hookimpl\ndef forge_faults():\n    {body}\n",
    )
    with pytest.raises(PluginError, match="mine: forge_faults"):
        Plugins().faults("mine")
