"""Writes docs/hangs.md from the doctor's rules: symptom, check, advice.

python scripts/hangs_docs.py
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from forge.doctor.rules import Knowledge, Rule, knowledge

TARGET = Path(__file__).parents[1] / "docs/hangs.md"

HEAD = """\
# Why AMD GPUs hang, and what to do

Written by `scripts/hangs_docs.py` from `core/forge/doctor/rules.toml`: change that, not this file.

    forge doctor                      what holds on this machine, and what to change
    forge doctor -v                   what is ruled out as well
    forge doctor --explain RULE       a rule whole, and what is known of it here
    forge doctor --report FILE.tar.gz what a driver's developers need, nothing personal in it
    forge doctor --json               everything, for a program

It needs no root. A finding is **certain** when everything that its rule asks for is known and so,
and **possible** when a part of it could not be found out; then it says which, and how to make it
known. Only certain findings change the order in which backends are tried. The exit code is 0
whatever is found, 1 only when it cannot run.

The rules were compiled in {compiled} from the threads that they name, and from kernel sources.
None of them was tried on AMD hardware, and what a thread came to may have changed since.

How sure a rule is:

{confidence}
"""

JSON = """\
## What `--json` prints

One object. A later version may add keys; `schema` changes when one changes its meaning.

| key | what |
|---|---|
| `forge`, `schema` | the version of forge; 1 |
| `complete`, `seconds` | whether everything could be looked at in time; how long it took |
| `facts.machine` | facts by their names; a version is a text such as "6.18.4" |
| `facts.gpus` | AMD's: `address` (PCI), `device_id`, `isa_name`, and `facts` |
| `facts.others` | GPUs of other makers, as "vendor:device" |
| `facts.shown`, `facts.hung` | more in words; files whose reading hangs |
| `findings` | `rule`, `certainty` ("certain", "possible"), `device`, its words, `missing` |
| `ruled_out` | ids of rules |
| `effects` | `stack`, `action` ("block" or "demote"), `device`, `rule`, `reason` |
| `kernel_log` | `source`, `why` it cannot be read, `hits`: `signature`, `line`, `address`, … |
| `hangs`, `broken_hangs` | the last hangs, the newest first; how many records are damaged |
| `backends` | `name`, and what is `missing` for it |

A fact that could not be found out is an object: `unknown` says why, `how` what would make it known.
`null` is what certainly is not there. `device` is "" for the machine as a whole.
"""


def link(source: str) -> str:
    """A source with its address, where it is an issue or a pull request on GitHub."""
    found = re.fullmatch(r"([\w.-]+/[\w.-]+)#(\d+)", source)
    if found:
        return f"[{source}](https://github.com/{found[1]}/issues/{found[2]})"
    return f"<{source}>" if source.startswith("https://") else source


def of_rule(rule: Rule) -> Iterator[str]:
    """A rule: symptom, check, advice."""
    yield from (f"### {rule.id}", "", f"**{rule.symptom}** {rule.cause}", "")
    yield from ("Holds when all of this is so:", "")
    yield from (f"- {test}" for test in rule.when)
    yield ""
    if rule.confirm:
        one = "; or ".join(map(str, rule.confirm))
        yield from (f"Certain only when this is so as well, else possible: {one}.", "")
    yield from ("What to do:", "")
    yield from (f"- {command(remedy)}" for remedy in rule.remedy)
    yield from (f"- no help: `{remedy}`" for remedy in rule.not_a_remedy)
    yield ""
    for stack in rule.blocks:
        yield from (
            f"No backend that uses {stack} is chosen for a device that certainly has it.",
            "",
        )
    for stack in rule.demotes:
        yield from (
            f"Backends that use {stack} are tried last on a device that certainly has it.",
            "",
        )
    for title, text in (
        ("Fixed in", rule.fixed_in),
        ("Note", rule.note),
        ("forge", rule.invariant),
    ):
        if text:
            yield from (f"{title}: {text}", "")
    yield f"Confidence {rule.confidence}; {', '.join(map(link, rule.sources))}"
    yield ""


def command(remedy: str) -> str:
    """What is to be typed, apart from what is said about it."""
    typed, gap, words = remedy.partition("   ")
    starts = ("sudo ", "export ", "unset ", "forge ")
    if gap or typed.startswith(starts):
        return f"`{typed}` {words.strip()}".strip()
    return remedy


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A table; a bar in a cell is part of its text."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |"
    yield ""


def hangs(known: Knowledge) -> str:
    """The whole document."""
    confidence = "\n".join(f"- {key}: {words}" for key, words in known.confidence.items())
    lines = [HEAD.format(compiled=known.compiled, confidence=confidence)]
    lines += ["## From the symptom to the rule", ""]
    lines += table(
        ("symptom", "rule", "severity"),
        ((rule.symptom, f"[{rule.id}](#{anchor(rule.id)})", rule.severity) for rule in known.rules),
    )
    lines += ["## The rules", ""]
    lines += [line for rule in known.rules for line in of_rule(rule)]
    lines += ["## Remedies that are not recommended", ""]
    for claim in known.rejected:
        words = f"{claim.reason} {', '.join(map(link, claim.sources))}"
        lines += [f"### {claim.id}", "", f'"{claim.claim}" {words}', ""]
    lines += ["## Lines of the kernel's log and of a worker's output", ""]
    lines += table(
        ("signature", "found by", "means", "then"),
        (
            (s.id, f"`{s.pattern.pattern}`", s.means, known.actions[s.action])
            for s in known.signatures
        ),
    )
    return "\n".join([*lines, JSON]).strip() + "\n"


def anchor(title: str) -> str:
    """The heading's name in an address."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    TARGET.write_text(hangs(knowledge()), encoding="utf-8")
