"""Compiles every kernel for real AMD GPUs without one: `python -m forge_hip.targets --out DIR`.

Writes DIR/KERNEL.TARGET.co, a code object for each kernel and target, and prints what each takes of
the GPU as JSON. Ends with 1 where a kernel is not as its file says it must be: lanes of a wave,
spills, scratch, registers, shared memory, and the instructions that make it fast.

Needs a clang that knows the targets, with its linker; nothing of ROCm:

    apt-get install -y --no-install-recommends clang-19 lld-19
    pip install ziglang
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

from forge_hip.code_objects import Resources, resources
from forge_hip.variants import OPTIONS, Kernel, source, split, units

TARGETS = tuple(
    f"gfx{each}" for each in (1010, 1030, 1100, 1101, 1102, 1103, 1150, 1151, 1200, 1201)
)
"""RDNA 1 to 4, as far as there are cards that people run models on."""

INSTALL = "apt-get install -y --no-install-recommends clang-19 lld-19"

_SECONDS = 120
"""For one step of one kernel; the longest takes five."""
_COMPILE = ("-x", "hip", "--cuda-device-only", "-nogpuinc", "-nogpulib", "-S")
_NUMBERS = frozenset({"f32", "f16", "bf16"})
"""Types of weights that are not multiplied as bytes."""


class TargetsError(Exception):
    """There is no compiler, or a kernel does not compile: has the compiler's words."""


@dataclass(frozen=True, slots=True)
class Compiler:
    """Two programs: clang, and the linker."""

    clang: tuple[str, ...]
    linker: tuple[str, ...]

    def build(self, unit: str, arch: str, folder: Path) -> Built:
        """Compile one kernel, with all constants that its file lists, to a code object."""
        kernel, _ = split(unit)
        text = source(unit, kernel.constants).text
        with tempfile.TemporaryDirectory() as work:
            code, assembly, part = (Path(work) / f"kernel.{each}" for each in ("hip", "s", "o"))
            code.write_text(text)
            target = f"--offload-arch={arch}"
            _run([*self.clang, *_COMPILE, target, *OPTIONS, "-o", assembly, code], unit, arch)
            machine = "-target", "amdgcn-amd-amdhsa", f"-mcpu={arch}"
            _run([*self.clang, *machine, "-c", "-o", part, assembly], unit, arch)
            made = folder / f"{unit}.{arch}.co"
            _run([*self.linker, "-shared", "-o", made, part], unit, arch)
            said = assembly.read_text()
        return Built(unit, arch, resources(made.read_bytes()), said)


@dataclass(frozen=True, slots=True)
class Built:
    """A code object: what its kernels take, and the instructions that they are of."""

    unit: str
    arch: str
    kernels: list[Resources]
    assembly: str

    def faults(self) -> Iterator[str]:
        """What is not as the kernel's file says."""
        kernel, chosen = split(self.unit)
        for each in self.kernels:
            taken = asdict(each)
            for name, most in {"spills": 0, "scratch": 0, **self._budget()}.items():
                if taken[name] > most:
                    yield f"{each.kernel} on {self.arch}: {name} {taken[name]}, allowed is {most}"
            if each.wave != 32:
                yield f"{each.kernel} on {self.arch}: waves of {each.wave}"
        wanted = [("v_wmma", "wmma" in kernel.needs)]
        bytes_ = "dot4" in kernel.uses and chosen.get("TYPE") not in _NUMBERS
        wanted.append(("v_dot4", bytes_ and has(self.arch, "dot4")))
        for instruction, needed in wanted:
            if needed and instruction not in self.assembly:
                yield f"{self.unit} on {self.arch}: no {instruction} in it"

    def _budget(self) -> dict[str, int]:
        """`plain` are the registers where an instruction that the kernel uses is written out."""
        kernel, _ = split(self.unit)
        budget = dict(kernel.budget)
        plain = budget.pop("plain", None)
        if plain and not all(has(self.arch, each) for each in kernel.uses):
            budget["vgpr"] = plain
        return budget


def has(arch: str, feature: str) -> bool:
    """Whether a target has instructions: `dot4` of signed bytes, `wmma` of matrices."""
    return arch.startswith(("gfx11", "gfx12")) or (feature == "dot4" and arch != "gfx1010")


def compiler() -> Compiler:
    """The one of this machine. Raises TargetsError with what to install."""
    for version in ("-19", "-20", "-21", "-22", ""):
        clang, linker = shutil.which(f"clang{version}"), shutil.which(f"ld.lld{version}")
        if version and clang and linker:
            return Compiler((clang,), (linker,))
    if find_spec("ziglang"):
        zig = sys.executable, "-m", "ziglang"
        return Compiler((*zig, "clang"), (*zig, "ld.lld"))
    raise TargetsError(f"no compiler for AMD's GPUs here: {INSTALL}, or pip install ziglang")


def wanted(kernel: Kernel, chosen: dict[str, str], arch: str, types: Sequence[str]) -> bool:
    """Whether a kernel is for a target, and of one of these types (all, if there are none)."""
    fitting = not types or "TYPE" not in chosen or chosen["TYPE"] in types
    return fitting and all(has(arch, each) for each in kernel.needs)


def build(
    folder: Path, archs: Sequence[str], names: Sequence[str] = (), types: Sequence[str] = ()
) -> list[Built]:
    """Compile kernels (all, if none is named) for targets. Raises TargetsError."""
    tools = compiler()
    folder.mkdir(parents=True, exist_ok=True)
    asked = [
        (unit, arch)
        for unit in units()
        if not names or unit.partition(".")[0] in names
        for arch in archs
        if wanted(*split(unit), arch, types)
    ]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda each: tools.build(each[0], each[1], folder), asked))


def main(arguments: Sequence[str] | None = None) -> int:
    """What the command line says; see the module's own words."""
    parser = argparse.ArgumentParser(prog="python -m forge_hip.targets", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--arch", default=",".join(TARGETS), help="targets, gfx1100,gfx1201")
    parser.add_argument("--out", type=Path, required=True, help="the folder for code objects")
    parser.add_argument("--kernel", default="", help="only these kernels, matvec,gemm")
    parser.add_argument("--types", default="", help="only these types of weights, q4_k,f16")
    asked = parser.parse_args(arguments)
    lists = [
        [each for each in text.split(",") if each]
        for text in (asked.arch, asked.kernel, asked.types)
    ]
    try:
        built = build(asked.out, *lists)
    except TargetsError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    rows = [{"unit": each.unit, **asdict(row)} for each in built for row in each.kernels]
    faults = [fault for each in built for fault in each.faults()]
    json.dump({"kernels": rows, "faults": faults}, sys.stdout, indent=1)
    sys.stdout.write("\n")
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return int(bool(faults))


def _run(command: Sequence[str | Path], unit: str, arch: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TargetsError(f"{unit} for {arch}: {error}") from error
    if done.returncode:
        raise TargetsError(f"{unit} does not compile for {arch}:\n{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
