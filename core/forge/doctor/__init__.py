"""What is wrong with this machine's GPUs, and what to do: facts, rules, findings. No root needed.

    from forge.doctor import examine

    for finding in examine().findings:
        print(finding.certainty, finding.rule.id, finding.device, finding.rule.remedy)

Names are imported when they are first used: a look at what happened must not cost a start.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forge.doctor.examination import Examination as Examination
    from forge.doctor.examination import examine as examine
    from forge.doctor.examination import start_effects as start_effects
    from forge.doctor.facts import Facts as Facts
    from forge.doctor.facts import Gpu as Gpu
    from forge.doctor.facts import Unknown as Unknown
    from forge.doctor.judge import Effect as Effect
    from forge.doctor.judge import Finding as Finding
    from forge.doctor.judge import effects as effects
    from forge.doctor.kernel_log import after_a_fault as after_a_fault
    from forge.doctor.rules import Rule as Rule
    from forge.doctor.rules import knowledge as knowledge
    from forge.doctor.signatures import Hit as Hit
    from forge.doctor.signatures import scan as scan

_NAMES = {
    "examination": "Examination examine start_effects",
    "facts": "Facts Gpu Unknown",
    "judge": "Effect Finding effects",
    "kernel_log": "after_a_fault",
    "rules": "Rule knowledge",
    "signatures": "Hit scan",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "Effect",
    "Examination",
    "Facts",
    "Finding",
    "Gpu",
    "Hit",
    "Rule",
    "Unknown",
    "after_a_fault",
    "effects",
    "examine",
    "knowledge",
    "scan",
    "start_effects",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'forge.doctor' has no attribute {name!r}")
    value: object = getattr(import_module(f"forge.doctor.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
