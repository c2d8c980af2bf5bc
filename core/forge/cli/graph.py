"""`forge graph`: the execution graph that backends compile."""

from __future__ import annotations

import argparse
from typing import Any

from forge.cli.options import add_model, find_model
from forge.errors import UsageError


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("graph", help="print a model's execution graph")
    verb.add_argument("name", nargs="?", metavar="MODEL", help="the same as -m MODEL")
    add_model(verb)
    verb.add_argument("-c", "--context", type=int, metavar="N", help="tokens the context holds")
    verb.add_argument("--split", type=int, metavar="LAYER", help="as two stages, cut before LAYER")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Read the file, build the graph, print it."""
    from forge.gguf import open_gguf
    from forge.models import Hyperparameters, build_graph

    with open_gguf(find_model(args.name or args.model)) as file:
        graph = build_graph(file, context=args.context)
        layers = Hyperparameters(file).layers
    if args.split is not None and not 0 < args.split < layers:
        raise UsageError(
            f"--split {args.split}: the model's {layers} layers can be cut before 1 to {layers - 1}"
        )
    stages = (graph,) if args.split is None else graph.split(args.split)
    print("\n\n".join(map(str, stages)))
    return 0
