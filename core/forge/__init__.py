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
    from forge.diagnosis import Diagnosis as Diagnosis
    from forge.diagnosis import diagnose as diagnose
    from forge.engine import Engine as Engine
    from forge.errors import BackendError as BackendError
    from forge.errors import ContextOverflow as ContextOverflow
    from forge.errors import ForgeError as ForgeError
    from forge.errors import ModelError as ModelError
    from forge.errors import ModelNotFound as ModelNotFound
    from forge.errors import NoBackend as NoBackend
    from forge.errors import StoreError as StoreError
    from forge.errors import TextError as TextError
    from forge.errors import UsageError as UsageError
    from forge.events import Done as Done
    from forge.events import Event as Event
    from forge.events import Fallback as Fallback
    from forge.events import FinishReason as FinishReason
    from forge.events import Loading as Loading
    from forge.events import Prefill as Prefill
    from forge.events import Ready as Ready
    from forge.events import Text as Text
    from forge.events import Timings as Timings
    from forge.events import Token as Token
    from forge.health import Check as Check
    from forge.health import Device as Device
    from forge.health import Health as Health
    from forge.health import Watch as Watch
    from forge.hookspecs import hookimpl as hookimpl
    from forge.sampling import Sampler as Sampler
    from forge.sampling import SamplingParams as SamplingParams
    from forge.session import Session as Session
    from forge.spec import BackendSpec as BackendSpec
    from forge.state import ProcessId as ProcessId
    from forge.state import boot_id as boot_id
    from forge.state import state_folder as state_folder
    from forge.state import this_process as this_process
    from forge.store import DEFAULT_MODEL as DEFAULT_MODEL
    from forge.store import InstalledModel as InstalledModel
    from forge.store import PullProgress as PullProgress
    from forge.store import installed as installed
    from forge.store import pull as pull
    from forge.store import resolve as resolve
    from forge.survey import BestDevice as BestDevice
    from forge.survey import best_device as best_device
    from forge.survey import list_backends as list_backends
    from forge.template import ChatTemplate as ChatTemplate
    from forge.tokenizer import Tokenizer as Tokenizer

_NAMES = {
    "diagnosis": "Diagnosis diagnose",
    "engine": "Engine",
    "errors": "BackendError ContextOverflow ForgeError ModelError "
    "ModelNotFound NoBackend StoreError TextError UsageError",
    "events": "Done Event Fallback FinishReason Loading Prefill Ready Text Timings Token",
    "health": "Check Device Health Watch",
    "hookspecs": "hookimpl",
    "sampling": "Sampler SamplingParams",
    "session": "Session",
    "spec": "BackendSpec",
    "state": "ProcessId boot_id state_folder this_process",
    "store": "DEFAULT_MODEL InstalledModel PullProgress installed pull resolve",
    "survey": "BestDevice best_device list_backends",
    "template": "ChatTemplate",
    "tokenizer": "Tokenizer",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

__all__ = [
    "DEFAULT_MODEL",
    "BackendError",
    "BackendSpec",
    "BestDevice",
    "ChatTemplate",
    "Check",
    "ContextOverflow",
    "Device",
    "Diagnosis",
    "Done",
    "Engine",
    "Event",
    "Fallback",
    "FinishReason",
    "ForgeError",
    "Health",
    "InstalledModel",
    "Loading",
    "ModelError",
    "ModelNotFound",
    "NoBackend",
    "Prefill",
    "ProcessId",
    "PullProgress",
    "Ready",
    "Sampler",
    "SamplingParams",
    "Session",
    "StoreError",
    "Text",
    "TextError",
    "Timings",
    "Token",
    "Tokenizer",
    "UsageError",
    "Watch",
    "__version__",
    "best_device",
    "boot_id",
    "diagnose",
    "hookimpl",
    "installed",
    "list_backends",
    "pull",
    "resolve",
    "state_folder",
    "this_process",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'forge' has no attribute {name!r}")
    value: object = getattr(import_module(f"forge.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
