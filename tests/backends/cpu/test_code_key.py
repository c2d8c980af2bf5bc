"""The cache of code is named by every file that the code is made from, and by no other."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import forge_cpu
from forge_cpu.cache import sources

PACKAGE = Path(forge_cpu.__file__).parent
KEY = "from forge_cpu.cache import _key; from forge_cpu.isa import Isa; print(_key(Isa.GENERIC))"
NAMES_ALONE = {"Array", "BackendUnavailable"}
"""What they take from forge: a type and an error become no part of the code."""


def imported(source: Path) -> set[str]:
    """The names that a file imports, wherever in it: package.module or package.module.name."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def files(name: str) -> set[Path]:
    """The files of the package that an import of a name reads."""
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return {p for p in (path.with_suffix(".py"), path.parent.with_suffix(".py")) if p.is_file()}


def test_what_kernels_import_is_in_the_key() -> None:
    known, from_forge = {*sources()}, set()
    assert PACKAGE / "kernels" / "kernel.py" in known
    for source in known:
        for name in imported(source):
            if name.startswith("forge_cpu."):
                assert files(name) <= known, f"{source.name} imports {name}, which is not in it"
            elif name.partition(".")[0] == "forge":
                from_forge.add(name.rpartition(".")[2])
    assert from_forge == NAMES_ALONE


def test_another_kernel_has_another_key_and_another_program_has_not(tmp_path: Path) -> None:
    copy = tmp_path / "forge_cpu"
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))

    def key() -> str:
        script = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {KEY}"
        done = subprocess.run(
            [sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True
        )
        return done.stdout

    before = key()
    with (copy / "program.py").open("a") as file:
        file.write("# another one\n")
    assert key() == before
    for name in ("formats.py", "kernels/rows.py"):
        with (copy / name).open("a") as file:
            file.write("# another one\n")
        assert key() != before
        before = key()
