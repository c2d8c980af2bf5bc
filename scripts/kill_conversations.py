"""Kills a program that saves a reply, over and over, and looks at what is left on disk.

    python scripts/kill_conversations.py [--kills 100] [--tokens-per-second 200]

After each SIGKILL the file has to open whole, every earlier reply has to be as it was, and the
killed one has to be a gapless beginning of what was said: at least what could be read of it just
before. It prints how much of each reply was lost; the exit code is 1 if any of this does not hold.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from forge_tui.store import Message, Store


@dataclass(frozen=True)
class Outcome:
    """One kill: tokens that were said, that could be read just before it, and that were saved."""

    said: int
    seen: int
    saved: int


def word(number: int) -> str:
    """The token of that number; a gap or a repetition shows."""
    return f"{number} "


def speak(path: Path, rate: float) -> None:
    """Be the program: save a reply that never ends, and say on stdout how far it is."""
    with Store(path) as store:
        talk = store.create("counting")
        writer = store.start_reply(talk.id, store.add(talk.id, None, "user", "Count.").id)
        print(talk.id, flush=True)
        begun = time.monotonic()
        for number in range(10**9):
            writer.append(word(number), 1)
            print(number, flush=True)
            time.sleep(max(0.0, begun + (number + 1) / rate - time.monotonic()))


def kill_once(path: Path, rate: float, seconds: float) -> Outcome:
    """Start the program, kill it after so long in mid-stream, and compare. ValueError if wrong."""
    command = [sys.executable, "-P", __file__, "--speak", str(path), f"--tokens-per-second={rate}"]
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(command, stdout=said, text=True) as program,
    ):
        try:
            _wait_for(program, path)
            time.sleep(seconds)
            with Store(path) as store:
                before = {talk.id: store.messages(talk.id) for talk in store.conversations()}
        finally:
            program.send_signal(signal.SIGKILL)
            program.wait()
        said.seek(0)
        talk, *numbers = [int(line) for line in said.read().split()]
    with Store(path) as store:
        if store.notes:
            raise ValueError(f"the file did not open whole: {store.notes}")
        after = {talk.id: store.messages(talk.id) for talk in store.conversations()}
    return _compared(talk, len(numbers), before, after)


def _wait_for(program: subprocess.Popen[str], path: Path) -> None:
    """Until something of the reply is on disk."""
    end = time.monotonic() + 60
    while time.monotonic() < end and program.poll() is None:
        if path.exists() and path.stat().st_size:
            with Store(path) as store:
                for talk in store.conversations():
                    for message in store.messages(talk.id):
                        if message.state == "streaming" and message.text:
                            return
        time.sleep(0.02)
    raise ValueError("the program saved nothing")


def _compared(
    talk: int, said: int, before: dict[int, list[Message]], after: dict[int, list[Message]]
) -> Outcome:
    if before.keys() != after.keys():
        raise ValueError(f"conversations {sorted(before)} became {sorted(after)}")
    for other in before:
        if other != talk and before[other] != after[other]:
            raise ValueError(f"conversation {other} is not as it was")
    reply, seen = after[talk][-1], before[talk][-1]
    whole = "".join(map(word, range(reply.tokens)))
    if reply.text != whole or not reply.text.startswith(seen.text):
        raise ValueError(f"{reply.tokens} tokens, but the text is {reply.text[-80:]!r}")
    if reply.state != "stopped" or seen.tokens > reply.tokens:
        raise ValueError(f"{seen.tokens} tokens were on disk; now {reply.tokens}, {reply.state}")
    # The last word said may not have reached standard output.
    if reply.tokens > said + 1:
        raise ValueError(f"{reply.tokens} tokens were saved, of {said} that were said")
    return Outcome(said, seen.tokens, reply.tokens)


def outcomes(path: Path, kills: int, rate: float, seed: int = 0) -> Iterator[Outcome]:
    """So many kills, at moments spread over a few batches."""
    moments = random.Random(seed)
    for _ in range(kills):
        yield kill_once(path, rate, moments.uniform(0.0, 0.6))


def main() -> int:
    """Run it and print what was lost."""
    parser = argparse.ArgumentParser(description="kill -9 a program in mid-reply, over and over")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--tokens-per-second", type=float, default=200.0)
    parser.add_argument("--speak", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.speak:
        speak(args.speak, args.tokens_per_second)
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = list(
                outcomes(Path(folder) / "conversations.db", args.kills, args.tokens_per_second)
            )
        except ValueError as error:
            print(f"wrong: {error}", file=sys.stderr)
            return 1
    lost = sorted(each.said - each.saved for each in found)
    print(
        f"{len(found)} kills: every file opened whole, every reply was gapless.\n"
        f"tokens lost at {args.tokens_per_second:g} a second: median {statistics.median(lost):g}, "
        f"most {lost[-1]} ({lost[-1] / args.tokens_per_second:.2f} s)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
