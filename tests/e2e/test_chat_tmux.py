"""The chat in a real terminal: a tmux of its own, the real model, keys as they are typed."""

import json
import re
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from forge.plugins import Plugins
from forge.testing import faulty
from forge.testing.environment import with_plugin
from forge_tui.store import Store

pytestmark = pytest.mark.skipif(not shutil.which("tmux"), reason="tmux is not installed")


class Tmux:
    """A terminal of a size, with one program in it."""

    def __init__(self, socket: Path, command: list[str], size: tuple[int, int] = (100, 30)) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        line = f"{shlex.join(command)}; echo exit=$?; sleep 60"
        width, height = map(str, size)
        self._run("new-session", "-d", "-x", width, "-y", height, line)

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], capture_output=True, text=True, check=True, timeout=20
        )
        return done.stdout

    def screen(self) -> str:
        return self._run("capture-pane", "-p")

    def type(self, text: str) -> None:
        self._run("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        self._run("send-keys", *keys)

    def wait_for(self, pattern: str, seconds: float = 40) -> str:
        """The screen, once the pattern is on it."""
        end = time.monotonic() + seconds
        while not re.search(pattern, screen := self.screen()):
            assert time.monotonic() < end, f"no {pattern!r} in\n{screen}"
            time.sleep(0.1)
        return screen

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, check=False, timeout=20)


@pytest.fixture
def tmux(tmp_path):
    opened = []

    def start(command: list[str]) -> Tmux:
        opened.append(Tmux(tmp_path / f"tmux{len(opened)}", command))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def model(real_model, tmp_path) -> Path:
    """The real one by a short name: on a narrow line a long one leaves no room for the device."""
    link = tmp_path / "smollm2.gguf"
    link.symlink_to(real_model)
    return link


def conversations(state: Path) -> list[dict[str, object]]:
    with Store(state / "conversations.db") as store:
        return [json.loads(store.export(talk.id, "json")) for talk in store.conversations()]


def test_a_person_chats_stops_asks_again_quits_and_goes_on(
    tmux, forge_command, model, tmp_path, monkeypatch
):
    monkeypatch.setenv("FORGE_STATE", str(tmp_path / "state"))
    chat = [*forge_command, "chat", "-m", str(model), "--temp", "0"]
    terminal = tmux(chat)
    terminal.wait_for("Write a message")
    terminal.type("Write a very long story about a lighthouse.")
    terminal.press("Enter")
    terminal.wait_for(r"writing, \d\d+ tokens")
    terminal.press("Escape")
    stopped = terminal.wait_for("stopped")
    assert "writing" not in stopped
    terminal.press("C-r")
    terminal.wait_for(r"2 of 2›")
    terminal.wait_for(r"writing, \d\d+ tokens")
    terminal.press("Escape")
    terminal.wait_for("stopped")
    terminal.type("Tell me the capital of France.")
    terminal.press("Enter")
    terminal.wait_for("Paris")
    terminal.press("C-q")
    assert "exit=0" in terminal.wait_for("exit=")

    again = tmux([*chat, "--continue"])
    again.wait_for("Paris")
    again.type("And of Germany?")
    again.press("Enter")
    again.wait_for(r"And of Germany\?\s+smollm2 · cpu · \d+ tokens at \d+/s")
    again.press("C-q")
    again.wait_for("exit=0")


def test_a_reply_outlives_a_backend_that_hangs(
    tmux, forge, forge_command, model, tmp_path, monkeypatch
):
    cpu = Plugins().backend("cpu")
    hangs = faulty("hangs", of=cpu, fault="hang", phase="decode", step=20)
    for name, value in with_plugin(tmp_path / "site", [hangs, cpu]).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("FORGE_STATE", str(tmp_path / "state"))
    ask, options = "Name the days of the week.", ["--temp", "0", "-n", "60"]
    whole = forge("run", "-m", model, "-b", "cpu", *options, ask).stdout.strip()

    command = [*forge_command, "chat", "-m", str(model), "-b", "hangs", "--patience", "0.5"]
    terminal = tmux([*command, *options])
    terminal.wait_for("hangs on")
    terminal.type(ask)
    terminal.press("Enter")
    before = terminal.wait_for(r"writing, 20 tokens")
    terminal.type("typed meanwhile")
    assert "typed meanwhile" in terminal.wait_for("typed meanwhile")
    terminal.wait_for("hangs failed")
    after = terminal.wait_for("ended at its limit")
    shown = [line for line in before.split("\n")[2:8] if line.strip()]
    for line in shown[2:-1]:  # the last one was still growing
        assert line in after
    terminal.press("C-q")
    terminal.wait_for("exit=0")
    (talk,) = conversations(tmp_path / "state")
    reply = talk["messages"][-1]
    assert reply["text"].strip() == whole
    assert reply["meta"]["fallbacks"][0]["to"] == "cpu"
