"""A person at a terminal: a chat, and what Ctrl-C does."""

import signal
import subprocess
import time
from pathlib import Path

import pytest


def test_a_chat_remembers_what_was_said(terminal, forge_command, real_model):
    chat = terminal([*forge_command, "run", "-m", str(real_model), "--temp", "0", "-n", "40"])
    chat.wait_for(">>> ")
    chat.type("Tell me the capital of France.\n")
    assert "Paris" in chat.wait_for(">>> ")
    chat.type("Tell me the capital of Germany.\n")
    assert "Berlin" in chat.wait_for(">>> ")
    chat.type("/bye\n")
    assert chat.end() == 0


def test_ctrl_c_stops_the_reply_and_the_chat_goes_on(terminal, forge_command, real_model):
    chat = terminal([*forge_command, "run", "-m", str(real_model), "--temp", "0"])
    chat.wait_for(">>> ")
    chat.type("Write a very long story about a lighthouse.\n")
    chat.wait_for("lighthouse.")
    chat.wait_for_more(30)
    chat.type("\x03")
    chat.wait_for("stopped")
    chat.wait_for(">>> ")
    chat.type("Tell me the capital of France.\n")
    assert "Paris" in chat.wait_for(">>> ")
    chat.press("\x03", until="Ctrl-C once more")
    assert chat.end("\x03") == 130


def test_ctrl_d_leaves_the_chat(terminal, forge_command, tiny_chat):
    chat = terminal([*forge_command, "run", "-m", str(tiny_chat)])
    chat.wait_for(">>> ")
    chat.type("\x04")
    assert chat.end() == 0


def test_a_suspended_prompt_comes_back_with_its_line(terminal, forge_command, tiny_chat):
    shell = terminal(["/bin/bash", "--norc", "--noprofile", "-i"])
    shell.type(f"PS1=ready:; {' '.join(forge_command)} run -m {tiny_chat} -n 5 --temp 0\n")
    shell.wait_for(">>> ")
    shell.type("hel")
    shell.wait_for("hel")
    time.sleep(0.5)  # while Python draws the line it would see a signal only at the next key
    shell.type("\x1a")
    shell.wait_for("Stopped")
    shell.type("stty -a | grep -o '.icanon'; fg\n")
    assert "-icanon" not in shell.wait_for(">>> hel")
    shell.type("lo\n")
    shell.wait_for(">>> ")
    shell.type("/bye\n")
    shell.wait_for("ready:")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_chat_that_is_told_to_end_leaves_no_worker(terminal, forge_command, tiny_chat, name):
    chat = terminal([*forge_command, "run", "-m", str(tiny_chat)])
    chat.wait_for(">>> ")
    children = Path(f"/proc/{chat.process.pid}/task/{chat.process.pid}/children")
    (worker,) = children.read_text().split()
    chat.process.send_signal(getattr(signal, name))
    assert chat.end() == -getattr(signal, name)
    end = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_terminal_does_not_obey_the_model(terminal, forge_command, tiny_chat):
    words = "run hello -n 3 --temp 0 --logit-bias 27=1e9".split()  # the vocabulary's ids are bytes
    reply = terminal([*forge_command, *words, "-m", str(tiny_chat)])
    reply.wait_for("\ufffd" * 3)
    assert reply.end() == 0


def test_ctrl_c_ends_a_single_reply_with_130(forge_command, real_model):
    ask = [*forge_command, "run", "-m", str(real_model), "Write a very long story."]
    with subprocess.Popen(ask, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(20) == 130
