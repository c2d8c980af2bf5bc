"""A program of its own: a tiny model does all that models do, under the validation layer.

Its findings are raised by the next call that is checked; those of the last calls are printed.
"""

import sys
from pathlib import Path

import numpy as np

from forge.backend import BackendConfig, Sampler, SamplingParams
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.weights import Weights
from forge_vulkan.backend import VulkanBackend
from forge_vulkan.runtime import vk

path, device = Path(sys.argv[1]), sys.argv[2]
backend = VulkanBackend(BackendConfig(device=device))
file = open_gguf(path)
graph = build_graph(file, context=64)


def run(made, tokens, start, rows):
    ids = np.array(tokens, np.int32)
    places = np.arange(start, start + len(ids), dtype=np.int32)
    (out,) = made.run({made.inputs[0]: ids}, places, np.zeros_like(ids), rows).values()
    return out


def talk(made):
    """Chunks, single tokens, a reply of each kind, and one that is left."""
    found = []
    for params in (
        SamplingParams(temperature=0),
        SamplingParams(temperature=1, seed=1, top_k=20),
        SamplingParams(temperature=1, seed=1, top_k=0),
    ):
        made.keep(0, 0)
        run(made, range(40), 0, "all")
        run(made, [3], 40, "last")
        found += made.decode(5, 41, 6, Sampler(params))
        made.keep(0, 12)
        steps = made.decode(5, 12, 6, Sampler(params))
        found.append(next(steps))
        steps.close()
    return found


one = backend.compile(graph, Weights(graph, file), lambda *_: None)
other = backend.compile(graph, Weights(graph, file), lambda *_: None)
assert talk(one) == talk(other)
one.close()
talk(other)
other.close()
for stage in graph.split(1):
    backend.compile(stage, Weights(stage, file), lambda *_: None).close()
backend.close()
sys.stdout.write("\n".join([*vk.COMPLAINTS, "done"]))
