"""Peak memory of the CPU backend, over what the weights take in float32.

    python benchmarks/memory_cpu.py MODEL.gguf [--tokens 512] [--context 8192]

In a process of its own, as a worker is: open the file, load it, check it, prefill so many tokens.
"""

from __future__ import annotations

import argparse
import json
import resource

from forge.backend import BackendConfig
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.probe import check
from forge.weights import Weights
from forge.worker.model import LoadedModel
from forge_cpu.backend import CpuBackend


def peak() -> int:
    """The most that this process ever held, in bytes; mapped pages of the file count."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main() -> None:
    """Print one JSON object: bytes, and each peak over the weights in float32."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--context", type=int)
    asked = parser.parse_args()
    started = peak()
    with open_gguf(asked.model) as file:
        graph = build_graph(file, context=asked.context)
        backend = CpuBackend(BackendConfig())
        executable = backend.compile(graph, Weights(graph, file), lambda *_: None)
        loaded = peak()
        check(backend, graph, file, lambda *_: None)
        checked = peak()
        model = LoadedModel(executable, asked.tokens, [])
        size = model.vocabulary
        prompt = [(7919 * i + 11) % size for i in range(asked.tokens)]
        for _ in model.prefill(prompt):
            pass
        filled = peak()
    weights = 4 * sum(spec.elements for spec in graph.distinct_weights())
    ratios = {"loaded": loaded, "checked": checked, "prefilled": filled}
    print(
        json.dumps(
            {
                "model": asked.model,
                "float32_weights": weights,
                "imported": started,
                **ratios,
                "ratio": {name: round(value / weights, 3) for name, value in ratios.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
