"""Writes docs/hangs.md from the doctor's rules: symptom, check, advice.

python scripts/hangs_docs.py
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from forge.doctor.experiment import AFTER_A_KILL
from forge.doctor.experiment_plan import Strategy, strategies
from forge.doctor.rules import Knowledge, Rule, knowledge

TARGET = Path(__file__).parents[1] / "docs/hangs.md"

HEAD = """\
# Why AMD GPUs hang, and what to do

Written by `scripts/hangs_docs.py` from `rules.toml` and `strategies.toml` in `core/forge/doctor`:
change those, not this file.

    forge doctor                      what holds on this machine, and what to change
    forge doctor -v                   what is ruled out as well
    forge doctor --explain RULE       a rule whole, and what is known of it here
    forge doctor --report FILE.tar.gz what a driver's developers need, nothing personal in it
    forge doctor --json               everything, for a program
    forge doctor --experiment         what helps here, tried out; it asks first

It needs no root. A finding is **certain** when everything that its rule asks for is known and so,
and **possible** when a part of it could not be found out; then it says which, and how to make it
known. Only certain findings change the order in which backends are tried. The exit code is 0
whatever is found, 1 only when it cannot run.

The rules were compiled in {compiled} from the threads that they name, and from kernel sources.
None of them was tried on AMD hardware, and what a thread came to may have changed since.

How sure a rule is:

{confidence}
"""

EXPERIMENTS = """\
## Experiments

`forge doctor --experiment` runs a model again and again, each time with one thing changed, in a
process of its own that is killed when it makes no progress. It asks before, because a driver may
hang all the same: the screen may go black, the machine may freeze. Where nobody can be asked, it
needs `--yes`. Each trial opens the device, wants known answers, loads the model (`-m`), reads a
prompt and writes `-n` tokens. A failure is kept on record like one in a reply, under the settings
that it came with; a backend in quarantine is tried all the same.

After a kill the device has {seconds:g} seconds to answer known questions, with settings that worked
before; if it fails, if the killed process stays in its driver, or if the kernel's log says that the
device is lost, the experiment stops. `--keep` writes the variables that helped into the
configuration, for that backend alone; without it they are offered at a terminal. `--env NAME=VALUE`
adds a trial (`--env NAME=` takes a variable away), `--only ID` picks some, `-b` one backend; the
others are tried as they are. Ctrl-C ends it with the table so far.

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
| `quarantines` | what is not used here: `backend`, `device`, `reason`, whether it `holds`, … |
| `notes` | what is wrong with the file where forge remembers such things |
| `backends` | `name`, and what is `missing` for it |

A fact that could not be found out is an object: `unknown` says why, `how` what would make it known.
`null` is what certainly is not there. `device` is "" for the machine as a whole.

With `--experiment` it is another object: `trials`, each with `backend`, `strategy`, what that
changes (`env`, `unset`, `frugal`, `asked_device`), the phase `reached` ("reply" is the end), `ok`,
`kind` and `error`, `seconds`, `tokens`, `tokens_per_s`, and the `record` of a failure; `stopped`
says why not all of them ran, and `untried` which did not; `winners` are what helped a backend that
fails as it is, `kept` the backends whose variables were written down.
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
    lines += experiments(strategies())
    return "\n".join([*lines, JSON]).strip() + "\n"


def experiments(known: Iterable[Strategy]) -> Iterator[str]:
    """What is tried, and who says that it helped."""
    yield EXPERIMENTS.format(seconds=AFTER_A_KILL)
    yield from table(
        ("strategy", "for", "sets", "so that", "sources"),
        (
            (
                strategy.id + (f"-{strategy.each.upper()}" if strategy.each else ""),
                ", ".join(strategy.stacks) or "any",
                " ".join(f"`{name}={value}`" for name, value in strategy.env.items())
                + " ".join(f"unset `{name}`" for name in strategy.unset),
                strategy.changes,
                ", ".join(map(link, strategy.sources)),
            )
            for strategy in known
        ),
    )
    yield "Before these comes what the remedies of the findings say, as far as it is a variable."
    yield ""


def anchor(title: str) -> str:
    """The heading's name in an address."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


if __name__ == "__main__":
    TARGET.write_text(hangs(knowledge()), encoding="utf-8")
