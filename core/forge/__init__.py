"""forge: local LLM inference that finishes the sentence when the GPU hangs.

    from forge import Engine

    with Engine.open() as engine:
        for event in engine.chat().send("Why is the sky blue?"):
            ...

Names are imported when they are first used, so that `import forge` stays quick
and `python -m forge` can make the path safe before anything is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from forge._version import __version__

if TYPE_CHECKING:
    from forge.engine import Engine as Engine
    from forge.errors import BackendError as BackendError
    from forge.errors import ForgeError as ForgeError
    from forge.errors import ModelError as ModelError
    from forge.errors import NoBackend as NoBackend
    from forge.events import Done as Done
    from forge.events import Event as Event
    from forge.events import Fallback as Fallback
    from forge.events import Loading as Loading
    from forge.events import Prefill as Prefill
    from forge.events import Ready as Ready
    from forge.events import Text as Text
    from forge.events import Timings as Timings
    from forge.events import Token as Token
    from forge.hookspecs import hookimpl as hookimpl
    from forge.sampling import Sampler as Sampler
    from forge.sampling import SamplingParams as SamplingParams
    from forge.session import Session as Session
    from forge.spec import BackendSpec as BackendSpec
    from forge.template import ChatTemplate as ChatTemplate
    from forge.tokenizer import Tokenizer as Tokenizer

_HOMES = {
    "hookimpl": "hookspecs",
    "BackendSpec": "spec",
    "Engine": "engine",
    "BackendError": "errors",
    "ForgeError": "errors",
    "ModelError": "errors",
    "NoBackend": "errors",
    "Done": "events",
    "Event": "events",
    "Fallback": "events",
    "Loading": "events",
    "Prefill": "events",
    "Ready": "events",
    "Text": "events",
    "Timings": "events",
    "Token": "events",
    "Sampler": "sampling",
    "SamplingParams": "sampling",
    "Session": "session",
    "ChatTemplate": "template",
    "Tokenizer": "tokenizer",
}

__all__ = [
    "BackendError",
    "BackendSpec",
    "ChatTemplate",
    "Done",
    "Engine",
    "Event",
    "Fallback",
    "ForgeError",
    "Loading",
    "ModelError",
    "NoBackend",
    "Prefill",
    "Ready",
    "Sampler",
    "SamplingParams",
    "Session",
    "Text",
    "Timings",
    "Token",
    "Tokenizer",
    "__version__",
    "hookimpl",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'forge' has no attribute {name!r}")
    value: object = getattr(import_module(f"forge.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
