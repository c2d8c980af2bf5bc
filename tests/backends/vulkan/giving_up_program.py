"""A program of its own: loads that fail at every place give everything back.

The validation layer counts what was made and not destroyed. Printed is what it found.
"""

import sys
from itertools import count
from pathlib import Path

import numpy as np
import vulkan

from forge.backend import BackendConfig, BackendOutOfMemory
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.weights import Weights
from forge_vulkan.backend import VulkanBackend
from forge_vulkan.failing import Edge
from forge_vulkan.runtime import vk

CALLS = (
    "vkAllocateMemory",
    "vkCreateBuffer",
    "vkCreateCommandPool",
    "vkAllocateCommandBuffers",
    "vkCreateDescriptorPool",
    "vkAllocateDescriptorSets",
    "vkCreateFence",
    "vkMapMemory",
)
path, device = Path(sys.argv[1]), sys.argv[2]
backend = VulkanBackend(BackendConfig(device=device))
file = open_gguf(path)
graph = build_graph(file, context=64)
real = vk.lib
failures = 0


def compiled(progress=lambda *_: None):
    return backend.compile(graph, Weights(graph, file), progress)


def after(calls, function):
    """Works so many times, and then has no more memory."""
    numbers = count()

    def call(*given):
        if next(numbers) == calls:
            return vulkan.VK_ERROR_OUT_OF_DEVICE_MEMORY
        return function(*given)

    return call


def given_up(beats):
    """A person who waits for so many beats, and for no more."""
    numbers = count()

    def progress(*_):
        if next(numbers) == beats:
            raise KeyboardInterrupt

    return progress


for name in CALLS:
    for calls in (0, 1, 2, 3, 5, 8, 13, 40, 100):
        vk.lib = Edge(real, {name: after(calls, getattr(real, name))})
        try:
            made = compiled()
        except BackendOutOfMemory:
            failures += 1
        else:
            made.close()
            break
        finally:
            vk.lib = real

beats = []
compiled(lambda *beat: beats.append(beat)).close()
for stop in range(0, len(beats), 3):
    try:
        compiled(given_up(stop)).close()
    except KeyboardInterrupt:
        failures += 1

made = compiled()
ids = np.arange(5, dtype=np.int32)
(logits,) = made.run({"tokens": ids}, ids, np.zeros_like(ids), "all").values()
assert logits.std() > 1
made.close()
backend.close()
sys.stdout.write("\n".join([*vk.COMPLAINTS, str(failures)]))
