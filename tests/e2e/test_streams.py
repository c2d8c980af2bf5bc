"""Standard streams as callers hand them over: closed, full, without end, in another encoding."""

import json
import subprocess

import pytest

VERBS = {
    "help": ("--help",),
    "run": ("run", "-n", "3", "hello", "-m"),
    "json": ("run", "-n", "3", "hello", "--json", "-m"),
    "tokenize": ("tokenize", "hello", "-m"),
    "graph": ("graph",),
    "plugins": ("plugins",),
}


@pytest.fixture
def shell(forge_command, tiny_chat):
    """Run a verb on the tiny model in a shell, with redirections of its streams."""

    def run(verb: str, redirections: str) -> subprocess.CompletedProcess[bytes]:
        words = [*forge_command, *VERBS[verb]]
        words += [] if verb in ("help", "plugins") else [str(tiny_chat)]
        line = subprocess.list2cmdline(words)
        return subprocess.run(
            ["bash", "-c", f"{line} {redirections}"],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=50,
            check=False,
        )

    return run


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_output_that_cannot_be_written_is_an_error_on_one_line(shell, verb, where):
    done = shell(verb, where)
    assert done.returncode == 1
    told = done.stderr.decode().splitlines(keepends=True)
    (line,) = (line for line in told if not line.startswith("FORGE_PLUGINS limits"))
    assert line.startswith("forge: the output cannot be written: ")
    assert line.endswith("\n")


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&-", "2>&- <&-"])
def test_a_reply_needs_no_standard_error(shell, where):
    done = shell("json", where)
    assert done.returncode == 0
    assert len(json.loads(done.stdout)["tokens"]) == 3


def test_an_error_keeps_its_exit_code_when_nobody_can_read_it(shell):
    assert shell("run", "-c 1 2>&-").returncode == 1
    assert shell("run", "--nonsense 2>/dev/full").returncode == 2


def test_a_closed_standard_input_is_an_empty_prompt(forge_command, tiny_chat):
    line = subprocess.list2cmdline([*forge_command, "run", "-m", str(tiny_chat)])
    done = subprocess.run(["bash", "-c", f"{line} <&-"], capture_output=True, check=False)
    assert done.returncode == 2
    assert b"the prompt is empty" in done.stderr


def test_a_prompt_without_end_is_refused(forge_command, tiny_chat):
    with subprocess.Popen(["yes"], stdout=subprocess.PIPE) as endless:
        ask = [*forge_command, "run", "-m", str(tiny_chat)]
        done = subprocess.run(ask, stdin=endless.stdout, capture_output=True, check=False)
        endless.kill()
    assert done.returncode == 1
    assert b"larger than 64 MiB" in done.stderr


def test_a_prompt_given_as_argument_leaves_standard_input_alone(forge_command, tiny_chat):
    ask = [*forge_command, "run", "-m", str(tiny_chat), "hello", "-n", "2"]
    with subprocess.Popen(ask, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.wait(50) == 0  # nothing was written, and nothing was closed


def test_json_loses_no_character_to_the_outputs_encoding(forge, tiny_chat):
    ask = ("run", "-m", tiny_chat, "hello", "-n", "40", "--temp", "0", "--json")
    wide = forge(*ask).stdout
    narrow = forge(*ask, env={"PYTHONIOENCODING": "latin-1"}).stdout
    assert wide.isascii()
    assert json.loads(narrow)["text"] == json.loads(wide)["text"]
    assert not json.loads(wide)["text"].isascii()
