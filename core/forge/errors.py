"""Every error that forge raises on purpose.

    ForgeError                exit code 1
    ├── UsageError            the call itself is wrong (exit code 2)
    ├── ModelError            a model's file or its contents
    │   ├── ModelNotFound     no such file, name or download
    │   ├── GGUFError         malformed: names file, field and byte offset
    │   └── UnsupportedModel  well-formed, but of a kind that forge lacks
    ├── StoreError            a download or a cache folder failed
    ├── OutputError           standard output is full or closed
    ├── TextError             text that cannot be tokenized, or a chat template that fails
    ├── ContextOverflow       more tokens than the context holds
    ├── GraphError            a graph that breaks its own rules: names the node
    ├── PluginError           a plugin that cannot be used
    └── BackendError          the backend failed; the supervisor tries the next one
        ├── BackendUnavailable  no driver, no device, or it says no
        ├── BackendUnsupported  an op or a weight type that it lacks, named at compile
        ├── BackendHung         no progress within its budget
        ├── BackendLost         the worker process died or spoke nonsense
        ├── BackendWrong        NaN, constant or wrong numbers
        ├── BackendOutOfMemory  no room on the device
        └── NoBackend           none is left (exit code 3)

A message says what happened and what to do next, in one to three lines.
"""

from __future__ import annotations


class ForgeError(Exception):
    """Base class of every error forge raises on purpose."""

    exit_code = 1


class UsageError(ForgeError):
    """The call itself is wrong: an unknown name, or options that exclude each other."""

    exit_code = 2


class ModelError(ForgeError):
    """A model's file, or what it holds, cannot be used."""


class ModelNotFound(ModelError):
    """No file, known name or download answers to the model's name."""


class GGUFError(ModelError):
    """A malformed GGUF file; the message names the file, the field and its byte offset."""


class UnsupportedModel(ModelError):
    """A well-formed model that needs something forge does not have; the message names it."""


class StoreError(ForgeError):
    """A download or a cache folder failed: no network, no space, no permission."""


class OutputError(ForgeError):
    """Standard output is full or closed."""


class TextError(ForgeError):
    """Text that cannot be tokenized, or a chat template that fails."""


class ContextOverflow(ForgeError):
    """More tokens than the context holds; the message has both numbers."""


class GraphError(ForgeError):
    """A graph that breaks its own rules; the message names the node."""


class PluginError(ForgeError):
    """A plugin that fails at import or returns something else than it should."""


class BackendError(ForgeError):
    """A backend failed; the supervisor may try the next one."""

    exit_code = 3


class BackendUnavailable(BackendError):
    """The backend has no driver or no device here, or says that it cannot run."""


class BackendUnsupported(BackendError):
    """The backend lacks an op or a weight type, named at compile."""


class BackendHung(BackendError):
    """The worker finished no work within its budget."""


class BackendLost(BackendError):
    """The worker process died, or what it sent was no message."""


class BackendWrong(BackendError):
    """The backend computed NaN, a constant, or a wrong known answer."""


class BackendOutOfMemory(BackendError):
    """The model does not fit on the device."""


class NoBackend(BackendError):
    """No backend is left to answer; the message lists what each one said."""
