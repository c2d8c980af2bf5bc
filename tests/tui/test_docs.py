"""docs/tui.md says what the chat can do, and its pictures are there and fetch nothing."""

from __future__ import annotations

import asyncio
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from forge_tui.commands import COMMANDS
from forge_tui.sessions import SessionsScreen

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/tui.md").read_text(encoding="utf-8")
PICTURES = sorted((ROOT / "docs/screenshots").glob("*.svg"))


@pytest.fixture(scope="module")
def screenshots() -> Iterator[ModuleType]:
    path = ROOT / "scripts/screenshots.py"
    spec = importlib.util.spec_from_file_location("screenshots", path)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)
        spec.loader.exec_module(module)
        yield module


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.word)
def test_every_command_has_a_line_with_its_key(command):
    [line] = [row for row in GUIDE.splitlines() if f"`/{command.word}`" in row]
    key = command.key.removeprefix("ctrl+")
    name = f"Ctrl+{key.upper()}" if command.key.startswith("ctrl+") else key.upper()
    assert name in line.split("|")[1]


def test_every_key_of_the_conversations_has_a_line():
    for binding in SessionsScreen.BINDINGS:
        if binding.show:
            key = binding.key.replace("ctrl+z", "Ctrl+Z")
            name = {"escape": "Esc", "enter": "Enter"}.get(key, key[0].upper() + key[1:])
            assert re.search(rf"^\| [^|]*\b{re.escape(name)}\b", GUIDE, re.MULTILINE), name


def test_every_scene_has_its_picture(screenshots):
    assert {path.stem for path in PICTURES} == set(screenshots.SCENES)
    assert all(f"(screenshots/{path.name})" in GUIDE for path in PICTURES)


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_a_picture_fetches_nothing_and_names_no_folder_of_ours(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"url\(['\"]?http|href=['\"]http|<script", text)
    assert "/root/" not in text
    assert "/home/" not in text


def test_the_script_takes_a_picture_of_what_is_on_the_screen(screenshots, tiny_chat, tmp_path):
    svg = asyncio.run(screenshots.take("conversations", str(tiny_chat), tmp_path))
    told = svg.replace("&#160;", " ")
    assert screenshots.FIRST[:20] in told
    assert "Rename" in told
    assert "@font-face" not in svg
