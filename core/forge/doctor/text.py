"""An examination in words, for a terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from textwrap import wrap

from forge.doctor.examination import Examination
from forge.doctor.facts import Facts, Gpu, Unknown, bytes_in_words
from forge.doctor.hangs import HangRecord
from forge.doctor.judge import Finding
from forge.doctor.rules import Knowledge
from forge.errors import BackendHung

_WIDTH = 96
_HANGS = 3
_MAKERS = {"10de": "NVIDIA", "8086": "Intel", "1002": "AMD"}


def clean(text: str) -> str:
    """Without what a terminal would obey: sysfs, logs and state files are foreign."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def report(
    found: Examination, known: Knowledge, backends: Sequence[tuple[str, str]], *, verbose: bool
) -> Iterator[str]:
    """The lines, in the order in which they matter. backends: name, and what it lacks."""
    yield from _machine(found, backends)
    certain = [f for f in found.findings if f.certainty == "certain"]
    possible = [f for f in found.findings if f.certainty == "possible"]
    yield ""
    if not found.facts.gpus and not certain:
        yield from _no_amd(found, known, backends)
    elif not found.findings:
        yield "No finding: none of the known conditions holds here."
    for finding in (*certain, *possible):
        yield from (*_finding(finding, found.facts, known), "")
    if found.findings or found.facts.gpus:
        yield f"ruled out: {len(found.ruled_out)} of {len(known.rules)} rules" + (
            "" if verbose else " (-v names them)"
        )
    if verbose:
        yield from _indented(", ".join(found.ruled_out))
    yield from _log(found)
    yield from _hangs(found, known)


def _machine(found: Examination, backends: Sequence[tuple[str, str]]) -> Iterator[str]:
    facts = found.facts
    shown = dict(facts.shown)
    system, kernel = shown.pop("system", "unknown"), shown.pop("kernel release", "unknown")
    yield f"system       {clean(system)}, kernel {clean(kernel)}"
    ram = facts.value("ram_total")
    notes = [f"memory {bytes_in_words(ram)}"] if type(ram) is int else []
    notes += ["in a container"] if facts.value("container") is True else []
    if notes:
        yield f"             {', '.join(notes)}"
    for gpu in facts.gpus:
        yield f"GPU          {clean(_gpu(gpu))}"
    for other in facts.others:
        maker = _MAKERS.get(other.partition(":")[0], "of another maker")
        yield f"GPU          {clean(other)} ({maker}): no rule is about it"
    for name, text in shown.items():
        lines = wrap(clean(text), _WIDTH - 20, break_on_hyphens=False) or [""]
        yield f"{name:12} {lines[0]}" if len(name) < 13 else f"{name}: {lines[0]}"
        yield from (f"{'':12} {line}" for line in lines[1:])
    for name, missing in backends:
        yield f"backend      {clean(name)}: {clean(missing) or 'installed'}"
    for path in facts.hung:
        yield f"reading /{clean(path)} hangs"
    if not found.complete:
        yield "not everything could be looked at in time; what is missing counts as unknown"


def _gpu(gpu: Gpu) -> str:
    words = [gpu.name, f"PCI id 1002:{gpu.device_id}"]
    mes, vram, gtt = (gpu.values.get(name) for name in ("mes_fw", "vram_total", "gtt_total"))
    words += [f"MES firmware {mes:#x}"] if type(mes) is int else []
    words += [f"{bytes_in_words(vram)} of its own"] if type(vram) is int else []
    words += [f"{bytes_in_words(gtt)} shared"] if type(gtt) is int else []
    words += ["the kernel kept a crash dump of it"] if gpu.values.get("devcoredump") is True else []
    return ", ".join(words)


def _no_amd(
    found: Examination, known: Knowledge, backends: Sequence[tuple[str, str]]
) -> Iterator[str]:
    count = found.facts.value("amd_gpus")
    if isinstance(count, Unknown):
        yield f"Whether there is an AMD GPU could not be found out: {clean(count.why)}"
        return
    seen = "GPUs of other makers only" if found.facts.others else "no GPU at all"
    ready = [name for name, missing in backends if not missing]
    yield f"No AMD GPU is on this machine's PCI bus ({seen}). All {len(known.rules)} rules are"
    yield "about AMD's GPUs under Linux, so none applies; of other devices nothing is known here."
    yield f"Backends that are installed: {', '.join(map(clean, ready)) or 'none'}"
    yield "    forge backends   tries each of them"
    if not found.facts.others:
        yield "A GPU in a virtual machine has to be passed through to be seen; in a container an"
        yield "AMD GPU needs --device=/dev/kfd --device=/dev/dri as well."


def _finding(finding: Finding, facts: Facts, known: Knowledge) -> Iterator[str]:
    rule = finding.rule
    gpus = {gpu.address: gpu.name for gpu in facts.gpus}
    where = f" on {clean(gpus.get(finding.device, finding.device))}" if finding.device else ""
    yield f"{finding.certainty.upper()} {rule.severity}: {rule.id}{where}"
    yield from _indented(rule.symptom)
    yield from _indented(f"why: {rule.cause}")
    for missing in finding.missing:
        how = f"; to know it: {missing.how}" if missing.how else ""
        yield from _indented(f"unknown: {clean(missing.fact)}: {clean(missing.why)}{how}")
    yield from (f"    do: {remedy}" for remedy in rule.remedy)
    yield from _indented(
        f"confidence {rule.confidence} ({known.confidence[rule.confidence]}): "
        f"{', '.join(rule.sources)}"
    )


def _indented(text: str) -> list[str]:
    return wrap(
        text, _WIDTH, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
    )


def _log(found: Examination) -> Iterator[str]:
    if not found.log.readable:
        yield f"kernel log: not readable ({clean(found.log.why)})"
        from forge.doctor.kernel_log import ADVICE

        yield f"    {ADVICE}"
        return
    yield f"kernel log: {len(found.log.lines)} lines from {found.log.source}, " + (
        "none of them a known sign of a fault" if not found.hits else "with signs of a fault:"
    )
    for hit in found.hits:
        times = f", {hit.count} times" if hit.count > 1 else ""
        yield f"    {hit.signature}: {hit.means}{times}"
        yield f"        {clean(hit.line)[:160]}"


def _hangs(found: Examination, known: Knowledge) -> Iterator[str]:
    if found.broken:
        yield f"hang records: {found.broken} of them are damaged and were left out"
    if not found.hangs:
        yield "hang records: none"
    for record in found.hangs[:_HANGS]:
        yield from _hang(record, known)
    if len(found.hangs) > _HANGS:
        yield f"    and {len(found.hangs) - _HANGS} older ones"


def _hang(record: HangRecord, known: Knowledge) -> Iterator[str]:
    when = "at an unknown time"
    if record.when is not None and 0 <= record.when < 1e11:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.when))
    parts = [record.backend or "a backend", f"on {record.device}" if record.device else ""]
    parts += [f"in {record.phase}" if record.phase else "", record.detail]
    parts += [f"after {record.tokens} tokens" if record.tokens else ""]
    what = "hang" if record.kind in ("", BackendHung.__name__) else "failure"
    yield clean(f"{what}: {when}, {', '.join(filter(None, parts))}")
    if record.reason:
        yield f"    {clean(record.reason)}"
    if record.age_s is not None and record.budget_s is not None:
        yield f"    no progress for {record.age_s:.1f} s; {record.budget_s:.1f} s were allowed"
    yield from _whereabouts(record)
    names = {signature.id: signature for signature in known.signatures}
    for name in filter(names.__contains__, record.kernel):
        signature = names[name]
        yield f"    the kernel: {signature.means}; {known.actions[signature.action]}"
    if record.log:
        yield f"    last line: {clean(record.log[-1])[:160]}"


def _whereabouts(record: HangRecord) -> Iterator[str]:
    """Where its threads were, and what became of the process."""
    for number, call in enumerate(record.where):
        yield f"    {'it was in' if not number else 'called by'}: {clean(call)[:160]}"
    states = Counter(filter(None, map(str.strip, record.threads)))
    if states:
        threads = [f"{count} x {state}" for state, count in states.most_common(5)]
        yield f"    threads: {clean(', '.join(threads))[:300]}"
    if any(state.startswith("D") for state in states):
        yield "    a thread in state D waits in a driver: nothing can end it, not even SIGKILL"
    if record.struck:
        yield "    somebody else ended the process: this accuses no driver"
    if record.left_behind:
        yield "    killed, it stayed in its driver: only a reboot frees the device"
