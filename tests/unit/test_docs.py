"""The documents for backend authors say what the code says, and leave nothing of it out."""

from __future__ import annotations

import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from forge import backend, errors, hookspecs, testing
from forge.budgets import SECONDS
from forge.graph import Op

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLE = ROOT / "examples/forge-backend-example"
GUIDE = (DOCS / "backends.md").read_text(encoding="utf-8")
CONTRACT = (DOCS / "contract.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", GUIDE, re.DOTALL)
SOURCES = {"python": "forge_backend_example.py", "toml": "pyproject.toml"}
ERRORS = [name for name, value in vars(errors).items() if isinstance(value, type)]
HOOKS = [name for name, value in vars(hookspecs).items() if hasattr(value, "forge_spec")]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    """The script that writes contract.md."""
    spec = importlib.util.spec_from_file_location(
        "contract_docs", ROOT / "scripts/contract_docs.py"
    )
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_contract_is_as_the_code_has_it(writer) -> None:
    assert writer.contract() == CONTRACT, "run: python scripts/contract_docs.py"


@pytest.mark.parametrize("name", [*HOOKS, *ERRORS, *Op, *SECONDS, *testing.FAULTS, *testing.SUBTLE])
def test_every_hook_error_op_phase_and_fault_has_a_place_in_the_contract(name: str) -> None:
    assert re.search(rf"^(### `?{name}\b|\| `?{name}`? \|)", CONTRACT, re.MULTILINE)


@pytest.mark.parametrize("cls", [backend.Backend, backend.Executable])
def test_every_public_method_has_a_place_in_the_contract(cls: type) -> None:
    names = [name for name in vars(cls) if not name.startswith("_")]
    assert len(names) >= 8
    for name in names:
        assert re.search(rf"^\*\*`{name}[(:`]", CONTRACT, re.MULTILINE), name


class Silent:
    """A class whose method has no words."""

    def method(self) -> None:
        pass


@dataclass
class HalfSilent:
    """A dataclass that describes one of two fields.

    told: has words.
    """

    told: int
    untold: int


class SilentAttribute:
    """A class whose attribute has no words."""

    size: int = 1


def test_what_has_no_words_is_found(writer) -> None:
    for about, lines in {
        "Silent.method": writer.of_class(Silent),
        "untold": writer.options(HalfSilent),
        "SilentAttribute.size": writer.of_class(SilentAttribute),
        "Bare": writer.error_classes([type("Bare", (Exception,), {"__doc__": None})]),
        "melt": writer.faults("hang   sleeps", ["hang", "melt"]),
    }.items():
        with pytest.raises(writer.Undocumented, match=about):
            list(lines)


def test_a_docstrings_own_lists_become_lists(writer) -> None:
    text = "Does it.\n\na, b: two things\n    in two lines.\nother: is no name.\nThe end."
    assert list(writer.prose(text, ["a", "b"])) == [
        *("Does it.", "", "- `a, b`: two things", "  in two lines.", "", "other: is no name."),
        "The end.",
    ]


@pytest.mark.parametrize(("language", "block"), BLOCKS, ids=str)
def test_every_block_of_code_is_the_examples_own(language: str, block: str) -> None:
    assert block in (EXAMPLE / SOURCES[language]).read_text(encoding="utf-8")


def test_the_guide_has_code_from_each_file_of_the_example() -> None:
    assert {language for language, _ in BLOCKS} == set(SOURCES)
    assert GUIDE.count("```") == 2 * len(BLOCKS)


def test_the_guide_names_every_error_that_a_backend_may_raise() -> None:
    exported = [name for name in backend.__all__ if name in ERRORS]
    assert len(exported) >= 7
    assert not [name for name in exported if f"`{name}`" not in GUIDE]


def test_the_guide_names_the_contracts_version_and_the_budgets_as_they_are() -> None:
    version = ".".join(map(str, backend.API_VERSION))
    assert f"{version} today: `forge.backend.API_VERSION`" in GUIDE
    told = " ".join(GUIDE.split())
    assert (
        f"{SECONDS['load']:g} s in `load`, {SECONDS['compile']:g} s in `compile`, "
        f"{SECONDS['prefill']:g} s for a chunk of the prompt, {SECONDS['decode']:g} s for a token"
    ) in told
    assert f"one of {len(Op)} ops" in told


@pytest.mark.parametrize(
    "path", [*DOCS.glob("*.md"), EXAMPLE / "README.md"], ids=lambda path: path.name
)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        file, _, heading = target.partition("#")
        if not file.startswith("http"):
            there = (path.parent / file).resolve() if file else path
            assert there.exists(), target
            if heading:
                titles = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
                anchors = {re.sub(r"[^\w\- ]", "", t.lower()).replace(" ", "-") for t in titles}
                assert heading in anchors, target
