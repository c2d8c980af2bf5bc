"""How a model's name becomes files on disk.

resolve("hf:Qwen/Qwen3-0.6B-GGUF:Q8_0")   the path, downloading what is not here
pull("smollm2")                           the same, asking for the newest revision
installed()                               what this machine has, whoever fetched it
"""

from forge.store.caches import installed
from forge.store.resolve import pull, resolve
from forge.store.types import InstalledModel, PullProgress
from forge.store.wheel import DEFAULT_MODEL, WheelModel

__all__ = [
    "DEFAULT_MODEL",
    "InstalledModel",
    "PullProgress",
    "WheelModel",
    "installed",
    "pull",
    "resolve",
]
