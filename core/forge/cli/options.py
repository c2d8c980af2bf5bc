"""Options that several verbs share."""

from __future__ import annotations

import argparse
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from forge.errors import ForgeError, UsageError
from forge.plugins import Plugins

if TYPE_CHECKING:
    from pathlib import Path

    from forge.ahead import Ahead
    from forge.sampling import SamplingParams


def add_model(parser: argparse.ArgumentParser, *, required: bool = False) -> None:
    """-m MODEL."""
    parser.add_argument(
        "-m",
        "--model",
        metavar="MODEL",
        required=required,
        help="a GGUF file, a known name, or hf:user/repo[:QUANT]; SmolLM2-135M-Instruct by default",
    )


def find_model(name: str | None) -> Path:
    """The model's file; what is not here is fetched, with a bar on a terminal."""
    from forge.cli.pull import ends_tidily, progress_bar
    from forge.store import resolve

    with ends_tidily(), progress_bar() as report:
        return resolve(name, progress=report)


def add_backend(parser: argparse.ArgumentParser) -> None:
    """What decides where and how a model runs."""
    group = parser.add_argument_group("where it runs")
    group.add_argument(
        "-b", "--backend", default="auto", metavar="NAME", help="auto, or see forge backends"
    )
    group.add_argument("--device", metavar="NAME", help="which of the backend's devices")
    group.add_argument("-t", "--threads", type=int, metavar="N", help="CPU threads; all by default")
    group.add_argument("-c", "--context", type=int, metavar="N", help="tokens the context holds")
    group.add_argument(
        "--kv-type", metavar="TYPE", help="of the KV cache: f16 (by default), f32 or q8_0"
    )
    group.add_argument(
        "--patience", type=float, default=1.0, metavar="X", help="wait X times as long for progress"
    )


def engine_choices(args: argparse.Namespace) -> dict[str, Any]:
    """The Engine's keyword arguments from those options; UsageError before a model is fetched."""
    if args.backend != "auto":
        Plugins().backend(args.backend)
    return {
        "backend": args.backend,
        "device": args.device,
        "threads": args.threads,
        "context": args.context,
        "patience": args.patience,
        "kv_type": args.kv_type,
    }


def worker_ahead(args: argparse.Namespace) -> Ahead:
    """The worker that those options will most likely need, started now; its owner closes it."""
    from forge.ahead import Ahead
    from forge.order import order
    from forge.worker_options import WorkerOptions

    ahead = Ahead()
    with suppress(ForgeError):  # the engine says what is wrong
        options = WorkerOptions(None, threads=args.threads, remember=True)
        first, *_ = order(args.backend, None)[0]
        ahead.start(options.command, options.environment(first.spec))
    return ahead


SAMPLING = (
    ("--temp", "temperature", float, "0 always takes the likeliest token"),
    ("--top-k", "top_k", int, "only the K likeliest; 0 is all"),
    ("--top-p", "top_p", float, "only the likeliest that make up P together"),
    ("--min-p", "min_p", float, "only those with at least P of the likeliest's probability"),
    ("--typical-p", "typical_p", float, "only the most typical that make up P together"),
    ("--repeat-penalty", "repeat_penalty", float, "above 1: tokens seen before are less likely"),
    ("--presence-penalty", "presence_penalty", float, "less likely once they appeared"),
    ("--frequency-penalty", "frequency_penalty", float, "less likely each time they appeared"),
    ("--penalty-window", "penalty_window", int, "how far penalties look back; -1 is everything"),
    ("--seed", "seed", int, "the same seed draws the same reply"),
)


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Temperature and its relatives."""
    group = parser.add_argument_group("sampling")
    for flag, field, kind, text in SAMPLING:
        group.add_argument(flag, dest=field, type=kind, metavar="X", help=text)
    group.add_argument(
        "--logit-bias", action="append", default=[], metavar="ID=X", help="added to a token's logit"
    )


def sampling_params(args: argparse.Namespace) -> SamplingParams:
    """SamplingParams with what was given; UsageError names a value that is out of range."""
    from forge.sampling import SamplingParams

    given = {field: getattr(args, field) for _, field, _, _ in SAMPLING}
    bias: dict[int, float] = {}
    for item in args.logit_bias:
        token, _, value = item.partition("=")
        try:
            bias[int(token)] = float(value)
        except ValueError:
            raise UsageError(f"--logit-bias {item}: write it as ID=NUMBER") from None
    chosen = {field: value for field, value in given.items() if value is not None}
    return SamplingParams(**chosen, logit_bias=bias)


def token_ids(text: str) -> list[int]:
    """Ids separated by commas."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--tokens {text!r:.60}: write ids with commas, as in 1,2,3") from None
