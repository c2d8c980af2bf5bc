"""`forge chat` where there is less than a terminal, and how it leaves one behind."""

import re
import signal
import time
from pathlib import Path

import pytest

OTHER_SCREEN, BACK = "\x1b[?1049h", "\x1b[?1049l"


def test_a_pipe_gets_the_plain_chat(forge, tiny_chat):
    done = forge("chat", "-m", tiny_chat, "-n", "5", "--temp", "0", stdin="hello\nmore\n")
    assert done.returncode == 0
    assert len(done.stdout.strip().split("\n")) >= 2
    assert "\x1b" not in done.stdout
    assert ">>>" not in done.stdout


@pytest.mark.parametrize("how", ["--plain", "TERM=dumb"])
def test_who_wants_lines_gets_lines(terminal, forge_command, tiny_chat, monkeypatch, how):
    words = [] if "=" in how else [how]
    monkeypatch.setenv("TERM", "dumb" if "=" in how else "xterm")
    chat = terminal([*forge_command, "chat", "-m", str(tiny_chat), "-n", "5", *words])
    assert OTHER_SCREEN not in chat.wait_for(">>> ")
    chat.type("/bye\n")
    assert chat.end() == 0


def test_forge_alone_is_a_chat_that_offers_a_model_where_there_is_none(
    terminal, forge_command, tmp_path, monkeypatch
):
    for name in ("HOME", "XDG_CACHE_HOME", "FORGE_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("TERM", "xterm-256color")
    chat = terminal(forge_command)
    chat.wait_for("Apache-2.0")
    chat.type("\x11")
    assert chat.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_chat_that_is_told_to_end_leaves_the_terminal_as_it_was_and_no_worker(
    terminal, forge_command, tiny_chat, monkeypatch, number
):
    monkeypatch.setenv("TERM", "xterm-256color")
    chat = terminal([*forge_command, "chat", "-m", str(tiny_chat)])
    chat.wait_for(OTHER_SCREEN)
    chat.wait_for("cpu on")
    workers = [
        int(pid)
        for task in Path(f"/proc/{chat.process.pid}/task").iterdir()
        for pid in (task / "children").read_text().split()
    ]
    assert workers
    chat.process.send_signal(number)
    chat.wait_for(BACK)
    assert chat.end() == 0
    end = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in workers):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_no_color_is_honoured(terminal, forge_command, tiny_chat, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("NO_COLOR", "1")
    chat = terminal([*forge_command, "chat", "-m", str(tiny_chat)])
    drawn = chat.wait_for("cpu on")
    colours = re.findall(r"[34]8;2;(\d+);(\d+);(\d+)", drawn)
    assert all(red == green == blue for red, green, blue in colours)
    chat.type("\x11")
    assert chat.end() == 0


def test_what_is_wrong_with_the_call_is_said_before_anything_is_drawn(terminal, forge_command):
    chat = terminal([*forge_command, "chat", "-b", "nonsense"])
    assert OTHER_SCREEN not in chat.wait_for("there is no backend")
    assert chat.end() == 2
