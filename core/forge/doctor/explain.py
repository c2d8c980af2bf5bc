"""Everything that is known about a rule, a signature, or a remedy that goes round."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

from forge.doctor.examination import Examination
from forge.doctor.facts import Gpu, Unknown
from forge.doctor.rules import Knowledge, Rejected, Rule, Signature
from forge.errors import UsageError


def explain(topic: str, known: Knowledge, found: Examination) -> list[str]:
    """The lines about a rule's id, a signature's id, or a word of a remedy.

    UsageError names what is alike where nothing is known.
    """
    if rule := known.rule(topic):
        return list(_rule(rule, known, found))
    for signature in known.signatures:
        if signature.id == topic:
            return list(_signature(signature, known))
    lines: list[str] = []
    for claim in known.rejected:
        if _concerns(topic, claim):
            lines += [*_rejected(claim), ""]
    word = topic.lower()
    for rule in known.rules:
        if any(word in text.lower() for text in (*rule.remedy, *rule.not_a_remedy)):
            lines.append(f"{rule.id} speaks of it: forge doctor --explain {rule.id}")
    if not lines:
        raise UsageError(f"nothing is known about {topic[:80]!r}{_alike(topic, known)}")
    return lines


def _concerns(topic: str, claim: Rejected) -> bool:
    word = topic.lower().partition("=")[0]
    keywords = {keyword.lower().partition("=")[0] for keyword in claim.keywords}
    return topic == claim.id or word in keywords


def _alike(topic: str, known: Knowledge) -> str:
    ids = [rule.id for rule in known.rules] + [signature.id for signature in known.signatures]
    ids += [keyword for claim in known.rejected for keyword in claim.keywords]
    alike = get_close_matches(topic, ids, 4) or [i for i in ids if topic.lower() in i.lower()][:4]
    return f"; there is {', '.join(alike)}" if alike else "; forge doctor -v names every rule"


def _rule(rule: Rule, known: Knowledge, found: Examination) -> Iterator[str]:
    yield f"{rule.id} ({rule.severity}): {rule.symptom}"
    yield f"why:        {rule.cause}"
    yield f"confidence: {rule.confidence}: {known.confidence[rule.confidence]}"
    yield f"sources:    {', '.join(rule.sources)}"
    yield "it holds when all of this is so:"
    yield from (f"  - {test}" for test in rule.when)
    if rule.confirm:
        yield "and it is certain only when this is so as well, else possible:"
        yield from (f"  - {test}" for test in rule.confirm)
    yield "here:"
    yield from _here(rule, found)
    yield "what to do:"
    yield from (f"  {remedy}" for remedy in rule.remedy)
    for remedy in rule.not_a_remedy:
        yield f"  no help: {remedy}"
    for stack in rule.blocks:
        yield f"where it certainly holds, no backend that uses {stack} is chosen for that device"
    for stack in rule.demotes:
        yield f"where it certainly holds, backends that use {stack} are tried after the others"
    if rule.fixed_in:
        yield f"fixed in:   {rule.fixed_in}"
    if rule.note:
        yield f"note:       {rule.note}"
    if rule.invariant:
        yield f"forge:      {rule.invariant}"


def _here(rule: Rule, found: Examination) -> Iterator[str]:
    gpus: tuple[Gpu | None, ...] = found.facts.gpus if rule.per_gpu else (None,)
    if not gpus:
        yield "  there is no AMD GPU, so it is ruled out"
    for gpu in gpus:
        where = f"{gpu.name}: " if gpu else ""
        judged = [f for f in found.findings if f.rule.id == rule.id]
        at = [f for f in judged if f.device == (gpu.address if gpu else "")]
        yield f"  {where}{at[0].certainty if at else 'ruled out'}"
        for test in (*rule.when, *rule.confirm):
            truth = test.judge(found.facts, gpu)
            if isinstance(truth, Unknown):
                how = truth.how or test.meaning.how
                yield f"    ?   {test}: unknown, {truth.why}" + (f"; {how}" if how else "")
            else:
                yield f"    {'yes' if truth else 'no '} {test}"


def _signature(signature: Signature, known: Knowledge) -> Iterator[str]:
    place = "the kernel's log" if signature.stream == "kernel" else "what a worker printed"
    yield f"{signature.id}: {signature.means}"
    yield f"found in {place} by: {signature.pattern.pattern}"
    yield f"then: {known.actions[signature.action]}"
    key = "log" if signature.stream == "kernel" else "stderr"
    for rule in known.rules:
        if any(f"{key}.{signature.id}" in fact for test in rule.when for fact in test.facts):
            yield f"{rule.id} uses it: forge doctor --explain {rule.id}"


def _rejected(claim: Rejected) -> Iterator[str]:
    yield f"not recommended: {claim.claim}"
    yield f"why not: {claim.reason}"
    yield f"sources: {', '.join(claim.sources)}"
