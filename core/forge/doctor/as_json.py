"""An examination as plain data, the shape of `forge doctor --json`: docs/hangs.md describes it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from forge.doctor.examination import Examination
from forge.doctor.facts import Facts, Gpu, Unknown, Value
from forge.doctor.judge import Finding

SCHEMA = 1


def as_json(found: Examination) -> dict[str, Any]:
    """Everything that was found."""
    return {
        "schema": SCHEMA,
        "complete": found.complete,
        "seconds": round(found.seconds, 3),
        "facts": facts_as_json(found.facts),
        "findings": [finding_as_json(finding) for finding in found.findings],
        "ruled_out": list(found.ruled_out),
        "effects": [asdict(effect) for effect in found.effects],
        "kernel_log": {
            "source": found.log.source,
            "why": found.log.why,
            "hits": [asdict(hit) for hit in found.hits],
        },
        "hangs": [asdict(record) for record in found.hangs],
        "broken_hangs": found.broken,
    }


def facts_as_json(facts: Facts) -> dict[str, Any]:
    """The machine's facts, and each GPU's."""
    return {
        "machine": {name: plain(value) for name, value in sorted(facts.values.items())},
        "gpus": [_gpu(gpu) for gpu in facts.gpus],
        "others": list(facts.others),
        "shown": dict(facts.shown),
        "hung": list(facts.hung),
    }


def _gpu(gpu: Gpu) -> dict[str, Any]:
    return {
        "address": gpu.address,
        "device_id": gpu.device_id,
        "isa_name": gpu.isa_name,
        "facts": {name: plain(value) for name, value in sorted(gpu.values.items())},
    }


def finding_as_json(finding: Finding) -> dict[str, Any]:
    """A finding with its rule's words."""
    rule = finding.rule
    return {
        "rule": rule.id,
        "certainty": finding.certainty,
        "device": finding.device,
        "severity": rule.severity,
        "symptom": rule.symptom,
        "cause": rule.cause,
        "remedy": list(rule.remedy),
        "not_a_remedy": list(rule.not_a_remedy),
        "confidence": rule.confidence,
        "sources": list(rule.sources),
        "blocks": list(rule.blocks),
        "demotes": list(rule.demotes),
        "missing": [asdict(missing) for missing in finding.missing],
    }


def plain(value: Value) -> Any:
    """A version is a text, a set a list, and an unknown fact an object that says why."""
    if isinstance(value, Unknown):
        return {"unknown": value.why, "how": value.how}
    if isinstance(value, tuple):
        return ".".join(map(str, value))
    return sorted(value) if isinstance(value, frozenset) else value
