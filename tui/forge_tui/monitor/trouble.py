"""What went wrong and what to do: fallbacks, quarantines and the doctor's findings."""

from __future__ import annotations

import time
from collections.abc import Iterator

from forge import Fallback
from forge_tui.monitor.rows import Level, Row
from forge_tui.monitor.state import MonitorState

_LEVELS: dict[str, Level] = {"error": "error", "warning": "warning", "info": ""}


def in_short(state: MonitorState) -> Iterator[Row]:
    """A line for each kind of trouble, for a panel beside the chat; nothing where all is well."""
    failed = [fallback for fallback in state.fallbacks if fallback.tried]
    if failed:
        last = failed[-1]
        yield Row("Moved", f"{_way(last)}: {last.reason}", "warning")
        if (before := len(failed) - 1) > 0:
            yield Row("", f"and {before} {'time' if before == 1 else 'times'} before", "dim")
    if state.diagnosis is None:
        return
    held = [each.quarantine for each in state.diagnosis.quarantines if each.holds]
    if held:
        names = sorted({"every backend" if q.every_backend else q.key.backend for q in held})
        yield Row("Not used", ", ".join(names), "warning")
    certain = [found for found in state.diagnosis.findings if found.certainty == "certain"]
    if certain:
        count = "1 finding" if len(certain) == 1 else f"{len(certain)} findings"
        yield Row("Doctor", f"{count}: {certain[0].rule.symptom}", "warning")


def in_full(state: MonitorState) -> Iterator[Row]:
    """All of it, with reasons and remedies."""
    yield from _fallbacks(state)
    if state.diagnosis is None:
        yield Row("Doctor", "looking at this machine …", "dim")
        return
    yield from _quarantines(state)
    yield from _findings(state)
    for note in state.diagnosis.notes:
        yield Row("Note", note, "dim")
    if not state.diagnosis.complete:
        yield Row("Note", "not everything answered in time", "warning")


def _fallbacks(state: MonitorState) -> Iterator[Row]:
    if not any(fallback.tried for fallback in state.fallbacks):
        yield Row("Moved", "no reply had to move", "dim")
    for fallback in reversed(state.fallbacks):
        if not fallback.tried:
            yield Row("Left out", f"{fallback.source}: {fallback.reason}", "dim")
            continue
        yield Row("Moved", f"{_way(fallback)}: {fallback.reason}", "warning")
        if fallback.record:
            yield Row("", f"recorded in {fallback.record}", "dim")


def _way(fallback: Fallback) -> str:
    if fallback.source == fallback.target:
        return f"{fallback.source} began anew at token {fallback.at_token}"
    return f"{fallback.source} → {fallback.target} at token {fallback.at_token}"


def _quarantines(state: MonitorState) -> Iterator[Row]:
    standings = state.diagnosis.quarantines if state.diagnosis else ()
    held = [standing.quarantine for standing in standings if standing.holds]
    if not held:
        yield Row("Not used", "nothing is in quarantine", "dim")
    for entry in held:
        what = "every backend" if entry.every_backend else entry.key.backend
        where = f" on {entry.key.device}" if entry.key.device else ""
        until = " until reboot" if entry.boot else ""
        since = time.strftime(" since %Y-%m-%d %H:%M", time.localtime(entry.when))
        yield Row("Not used", f"{what}{where}{since}{until}: {entry.reason}", "warning")
        yield Row("", f"forge quarantine clear {entry.id} tries it again", "dim")


def _findings(state: MonitorState) -> Iterator[Row]:
    findings = state.diagnosis.findings if state.diagnosis else ()
    if not findings:
        yield Row("Doctor", "no known condition holds here", "good")
    for finding in findings:
        maybe = "" if finding.certainty == "certain" else "possibly: "
        where = f" ({finding.device})" if finding.device else ""
        level = _LEVELS[finding.rule.severity] if not maybe else ""
        yield Row("Doctor", f"{maybe}{finding.rule.symptom}{where}", level)
        yield Row("Why", finding.rule.cause, "dim")
        for remedy in finding.rule.remedy:
            yield Row("Do", remedy)
        for missing in finding.missing[:1]:
            yield Row("Unsure", f"{missing.fact}: {missing.why}. {missing.how}".rstrip(". "), "dim")
