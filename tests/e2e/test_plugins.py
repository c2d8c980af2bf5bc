"""Third parties' plugins: found, listed, and harmless when they are broken."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def install(tmp_path):
    """Put a distribution with one entry point on the module path."""

    def add(name: str, code: str) -> dict[str, str]:
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[forge]\n{name} = {name}_plugin\n")
        (tmp_path / f"{name}_plugin.py").write_text(code)
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        return {"PYTHONPATH": path, "FORGE_PLUGINS": f"cpu,{name}"}

    return add


HOOK = "from forge import BackendSpec, hookimpl\n@hookimpl\ndef forge_backends():\n    "

BROKEN = {
    "import": "import no_such_driver",
    "syntax": "def",
    "exit": "raise SystemExit(3)",
    "panic": "class PanicException(BaseException): pass\nraise PanicException('rust')",
    "unspeakable": "class E(Exception):\n    def __str__(self): raise OSError\nraise E",
    "hookless": "def forge_backends():\n    return []",
    "none": HOOK + "return None",
    "generator": HOOK + "yield BackendSpec('f', 'm:C')",
    "subclass": HOOK
    + (
        "class Mine(BackendSpec):\n        name = property(lambda self: 1 / 0)\n"
        "        def __init__(self): pass\n    return [Mine()]"
    ),
    "older": HOOK + "return [BackendSpec('f', 'm:C', api=(0, 9))]",
    "newer_minor": HOOK + "return [BackendSpec('f', 'm:C', api=(1, 99))]",
    "verb": "from forge import hookimpl\n@hookimpl\ndef forge_commands(subparsers):\n"
    "    subparsers.add_parser('run')",
    "nonsense": (
        "from forge import hookimpl\n@hookimpl\ndef forge_backends():\n    return [{'name': 'x'}]"
    ),
    "not_a_list": "from forge import hookimpl\n@hookimpl\ndef forge_backends():\n    return 7",
    "raises": (
        "from forge import hookimpl\n@hookimpl\ndef forge_backends():\n    raise OSError('no')"
    ),
    "future": (
        "from forge import BackendSpec, hookimpl\n@hookimpl\ndef forge_backends():\n"
        "    return [BackendSpec('f', 'm:C', api=(9, 0))]"
    ),
    "unknown_hook": "from forge import hookimpl\n@hookimpl\ndef forge_frontends():\n    return []",
}


REASONS = {
    "import": "ModuleNotFoundError: No module named 'no_such_driver'",
    "exit": "SystemExit: 3",
    "panic": "PanicException: rust",
    "unspeakable": "E: its text raises OSError",
    "hookless": "it implements no hook of forge: is @hookimpl missing?",
    "none": "forge_backends returned NoneType, not a list",
    "generator": "forge_backends returned generator, not a list",
    "subclass": "forge_backends returned a Mine, not a BackendSpec",
    "nonsense": "forge_backends returned a dict, not a BackendSpec",
    "raises": "OSError: no",
    "older": "backend f is written for API 0.9, this forge has 1.1: upgrade badplug",
    "newer_minor": "backend f is written for API 1.99, this forge has 1.1: upgrade forge-llm",
    "future": "backend f is written for API 9.0, this forge has 1.1: upgrade forge-llm",
    "unknown_hook": "unknown hook 'forge_frontends'",
    "verb": "forge_commands: ArgumentError: argument {",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_plugin_is_listed_with_its_reason_and_stops_nothing(
    forge, install, tiny_chat, kind
):
    env = install("badplug", BROKEN[kind])
    found = {p["name"]: p for p in json.loads(forge("plugins", "--json", env=env).stdout)}
    assert REASONS.get(kind, "") in found["badplug"]["problem"]
    assert found["badplug"]["problem"]
    assert found["badplug"]["distribution"] == "badplug"
    assert found["cpu"]["problem"] is None
    done = forge("run", "-m", tiny_chat, "--tokens", "1,2", "-n", "2", env=env)
    assert done.returncode == 0, done.stderr


def test_a_plugins_backend_answers_and_its_verb_runs(forge, install, tiny_chat):
    env = install(
        "good",
        "from forge import BackendSpec, hookimpl\n"
        "@hookimpl\ndef forge_backends():\n"
        "    return [BackendSpec('good', 'forge_cpu.backend:CpuBackend', priority=1)]\n"
        "@hookimpl\ndef forge_commands(subparsers):\n"
        "    subparsers.add_parser('greet').set_defaults(run=lambda args: print('hello') or 4)\n",
    )
    done = forge("run", "-m", tiny_chat, "--tokens", "1,2", "-n", "2", "--json", env=env)
    assert json.loads(done.stdout)["backend"] == "good"
    greeted = forge("greet", env=env)
    assert (greeted.stdout, greeted.returncode) == ("hello\n", 4)


def test_what_a_plugin_prints_is_no_part_of_the_reply(forge, install, tiny_chat):
    env = install(
        "loud",
        "from forge import hookimpl\nprint('imported')\n@hookimpl\n"
        "def forge_backends():\n    print('asked')\n    return []",
    )
    done = forge("run", "-m", tiny_chat, "--tokens", "1,2", "-n", "2", "--json", env=env)
    assert json.loads(done.stdout)["backend"] == "cpu"
    assert "imported" in done.stderr


def test_a_broken_plugin_is_listed_with_the_backends_as_well(forge, install):
    env = install("badplug", BROKEN["import"])
    reason = "broken       plugin of badplug: ModuleNotFoundError: No module named"
    assert reason in forge("backends", env=env).stdout
    as_json = forge("backends", "--json", env=env)
    assert [health["backend"] for health in json.loads(as_json.stdout)] == ["cpu"]
    assert reason in as_json.stderr


@pytest.mark.parametrize("entry_points", ["[forge]\nnonsense", "[forge]\nx = json", "nonsense"])
def test_a_damaged_distribution_stops_nothing(forge, install, tiny_chat, tmp_path, entry_points):
    env = install("fine", HOOK + "return [BackendSpec('fine', 'm:C')]")
    info = tmp_path / "leftover-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text(entry_points)
    env["FORGE_PLUGINS"] = "cpu,fine,x,?"
    found = {p["name"]: p for p in json.loads(forge("plugins", "--json", env=env).stdout)}
    assert found["fine"]["backends"] == ["fine"]
    if "[forge]" in entry_points:
        assert {"x", "?"} & set(found)
    assert all(p["problem"] for name, p in found.items() if name in "x?")


def test_names_in_forge_plugins_that_nobody_has_are_told(forge):
    env = {"FORGE_PLUGINS": "cpu, tpyo"}
    told = "FORGE_PLUGINS limits the plugins to cpu, tpyo; no plugin is called tpyo\n"
    for arguments in (["plugins"], ["plugins", "--json"]):
        assert forge(*arguments, env=env).stderr == told
    done = forge("run", "-b", "tpyo", "hi", env=env)
    assert (done.returncode, done.stderr) == (
        2,
        f"forge: there is no backend 'tpyo'; there are: cpu\n{told}",
    )
    assert forge("plugins", env={"FORGE_PLUGINS": "cpu"}).stderr.endswith("plugins to cpu\n")


def test_a_backend_whose_driver_binding_is_missing_says_how_to_get_it(forge, install):
    env = install(
        "absent",
        "from forge import BackendSpec, hookimpl\n"
        "@hookimpl\ndef forge_backends():\n"
        "    return [BackendSpec(\n"
        "        'x', 'm:C', 9, requires=('no_such_module',), install='forge-llm[vulkan]')]\n",
    )
    done = forge("backends", env=env)
    assert "pip install 'forge-llm[vulkan]'" in done.stdout
    assert "cpu          ready" in done.stdout


def test_listing_and_help_import_no_driver_and_no_numpy(forge_command, tmp_path):
    code = (
        "import sys\nfrom forge.cli import parser\nparser()\nfrom forge import plugins\n"
        "plugins.Plugins().backends()\n"
        "slow = {'numpy', 'hip', 'vulkan', 'numba', 'gguf', 'tokenizers'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "[]\n"


def test_the_host_of_a_whole_reply_imports_no_driver_and_no_numba(tiny_chat, tmp_path):
    code = (
        "import sys\nfrom forge.cli import main\n"
        f"main(['run', '-m', {str(tiny_chat)!r}, 'hi', '-n', '2', '--json'])\n"
        "print(sorted({'hip', 'vulkan', 'numba', 'gguf', 'forge_cpu.backend'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert Path(tiny_chat).exists()
