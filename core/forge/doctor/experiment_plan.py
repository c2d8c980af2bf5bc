"""What an experiment tries: strategies as data, and what this machine's findings suggest."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from forge.doctor.judge import Finding
from forge.doctor.rules import RuleError
from forge.health import Device
from forge.spec import BackendSpec

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,100}")
_SETTING = re.compile(r"([A-Z][A-Z0-9_]{2,100})=([0-9a-z][^\s;]{0,100})")
_UNSET = re.compile(r"unset((?: [A-Z][A-Z0-9_]{2,100}){1,8})")
_OF_STACK = {
    "rocm": ("AMD_", "GPU_", "HIP", "HSA_", "MIOPEN_", "ROC"),
    "vulkan": ("MESA_", "RADV_", "VK_"),
}
"""How the variables of a driver stack begin."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """One thing to do differently; without any difference, a backend as it is.

    stacks: the driver stacks that it is for; none is every backend that is no floor.
    env, unset: variables of the worker. frugal: smaller submissions. device: as --device says it.
    each: it stands for one strategy per "gpu" that ROCm may see, or per other "device".
    because: the finding that suggests it.
    """

    id: str
    changes: str
    stacks: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    unset: tuple[str, ...] = ()
    frugal: bool = False
    device: str | None = None
    each: str = ""
    sources: tuple[str, ...] = ()
    because: str = ""

    @property
    def how(self) -> str:
        """What a person does to have it so, in short."""
        parts = [f"{name}={value}" for name, value in self.env.items()]
        parts += [f"unset {name}" for name in self.unset]
        parts += [f"--device {self.device}"] if self.device is not None else []
        return " ".join(parts) or self.changes

    def differs(self, environ: Mapping[str, str]) -> bool:
        """Whether it changes anything for a worker that has this environment."""
        if self.env or self.unset:
            set_so = all(environ.get(name) == value for name, value in self.env.items())
            return not set_so or any(name in environ for name in self.unset)
        return True


AS_IT_IS = Strategy("as it is", "nothing")
_KINDS: Mapping[str, type] = {
    "id": str,
    "changes": str,
    "each": str,
    "frugal": bool,
    "env": dict,
    "stacks": list,
    "unset": list,
    "sources": list,
}


@cache
def strategies() -> tuple[Strategy, ...]:
    """Those in the package, read once."""
    return parse(Path(__file__).with_name("strategies.toml").read_text(encoding="utf-8"))


def parse(text: str) -> tuple[Strategy, ...]:
    """Read and check; RuleError names the entry that is wrong."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RuleError(f"strategies.toml: {error}") from None
    if tables.keys() - {"schema", "strategy"} or tables.get("schema") != 1:
        raise RuleError("strategies.toml: schema = 1 and [[strategy]] are all it may have")
    found = tuple(_strategy(table) for table in tables.get("strategy", []))
    ids = [strategy.id for strategy in found]
    if twice := {name for name in ids if ids.count(name) > 1}:
        raise RuleError(f"strategies.toml: {', '.join(sorted(twice))} is there twice")
    return found


def _strategy(table: dict[str, Any]) -> Strategy:
    name = f"strategies.toml: {table.get('id')!r}"
    for key, value in table.items():
        if key not in _KINDS or type(value) is not _KINDS[key]:
            raise RuleError(f"{name}: {key} = {value!r:.80} is not known")
    lists = {key: tuple(table.get(key, ())) for key in ("stacks", "unset", "sources")}
    texts = [*table.get("env", {}).items(), *lists.values()]
    if not all(isinstance(text, str) for row in texts for text in row):
        raise RuleError(f"{name}: env, stacks, unset and sources hold texts")
    if not (table.get("id") and table.get("changes") and lists["sources"]):
        raise RuleError(f"{name}: id, changes and sources have to be told")
    if table.get("each", "") not in ("", "gpu", "device"):
        raise RuleError(f"{name}: each is gpu or device")
    differs = any(table.get(key) for key in ("env", "unset", "frugal", "each"))
    if not differs or not all(_NAME.fullmatch(v) for v in (*lists["unset"], *table.get("env", {}))):
        raise RuleError(f"{name}: it has to change a variable, frugal, or the device")
    return Strategy(**{**table, **lists})


def plan(
    spec: BackendSpec,
    environ: Mapping[str, str],
    *,
    findings: Sequence[Finding] = (),
    gpus: int = 0,
    device: Device | None = None,
    devices: Sequence[Device] = (),
    own: Sequence[Strategy] = (),
) -> list[Strategy]:
    """What to try with a backend beside what it is: the person's own, the suggested, the others.

    environ: what its workers have. gpus: how many AMD GPUs there are. device: the one that it
    opens as it is; devices: those that it could. What would change nothing is left out.
    """
    if spec.floor:
        return []
    general = [s for s in strategies() if not s.stacks or spec.stack in s.stacks]
    known = [one for strategy in general for one in _each(strategy, gpus, device, devices)]
    suggested = []
    for hint in _suggested(spec.stack, findings):
        same = next((s for s in known if (s.env, s.unset) == (hint.env, hint.unset)), None)
        suggested.append(replace(same, because=hint.because) if same else hint)
    chosen: list[Strategy] = []
    for strategy in (*own, *suggested, *known):
        told = any(_difference(strategy) == _difference(other) for other in chosen)
        if not told and strategy.differs(environ):
            chosen.append(strategy)
    return chosen


def _difference(strategy: Strategy) -> tuple[object, ...]:
    return dict(strategy.env), strategy.unset, strategy.frugal, strategy.device


def _each(
    strategy: Strategy, gpus: int, device: Device | None, devices: Sequence[Device]
) -> Iterator[Strategy]:
    if strategy.each == "gpu":
        for number in range(gpus if gpus > 1 else 0):
            env = {name: text.format(gpu=number) for name, text in strategy.env.items()}
            yield replace(strategy, id=f"{strategy.id}-{number}", env=env, each="")
    elif strategy.each == "device":
        for other in devices:
            if device is not None and other.id and other.key != device.key:
                changes = f"{strategy.changes}: {other.name}"
                name = f"{strategy.id}-{other.id}"
                yield replace(strategy, id=name, changes=changes, device=other.id, each="")
    else:
        yield strategy


def _suggested(stack: str, findings: Sequence[Finding]) -> Iterator[Strategy]:
    """The variables in the remedies of the findings, certain ones first as they come."""
    prefixes = _OF_STACK.get(stack, ())
    for finding in findings:
        for remedy in finding.rule.remedy:
            env = dict(_SETTING.findall(remedy)) if remedy.startswith("export ") else {}
            gone = _UNSET.match(remedy)
            unset = tuple(gone[1].split()) if gone else ()
            names = [*env, *unset]
            if prefixes and names and all(name.startswith(prefixes) for name in names):
                rule = finding.rule
                yield Strategy(
                    *(rule.id, rule.symptom, (stack,), env, unset),
                    sources=rule.sources,
                    because=f"{finding.certainty}: {rule.id}",
                )


def own_strategy(text: str) -> Strategy | None:
    """The person's own, written as NAME=VALUE, or NAME= to have it unset; None if it is neither."""
    name, equals, value = text.partition("=")
    if not equals or not _NAME.fullmatch(name) or "\0" in value:
        return None
    if value:
        return Strategy(text, f"{name} is {value}", env={name: value})
    return Strategy(f"unset {name}", f"{name} is not set", unset=(name,))
