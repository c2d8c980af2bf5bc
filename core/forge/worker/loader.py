"""From a backend's name and a model's path to something that can run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module

import msgspec

from forge.backend import (
    Backend,
    BackendConfig,
    BackendOutOfMemory,
    BackendUnavailable,
    BackendUnsupported,
    Graph,
    Progress,
)
from forge.conversion import convert
from forge.errors import ModelError
from forge.gguf import GGUFFile
from forge.messages import Load, Open
from forge.models import Hyperparameters, build_graph, context_length
from forge.probe import cases, check, examine
from forge.weights import Weights
from forge.worker.model import LoadedModel
from forge.worker.standing import StandingCheck

Beat = Callable[[str, int, int, str], None]

SMALLEST_CONTEXT = 512
"""Below this many tokens a model is said not to fit rather than given less."""
_MIB = 1 << 20
KV_FRUGAL = "q8_0"
KV_DEFAULT = "f16"
"""Half of the memory and the traffic of f32, at less than what quantised weights cost."""


def open_backend(request: Open) -> Backend:
    """Import the factory and call it; what it lacks becomes BackendUnavailable."""
    module, _, name = request.factory.partition(":")
    config = BackendConfig(
        *(request.device, request.threads, request.options, request.asked, request.frugal)
    )
    try:
        factory = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise BackendUnavailable(f"{request.factory} cannot be imported: {error}") from error
    backend = factory(config)
    if not isinstance(backend, Backend):
        raise BackendUnavailable(f"{request.factory} made {type(backend).__name__}, no Backend")
    return backend


def load_model(backend: Backend, file: GGUFFile, request: Load, beat: Beat) -> LoadedModel:
    """Graph, conversions, weights and kernels, then the known-answer check."""
    if request.least:
        request = _smaller(request, context_length(Hyperparameters(file), request.context))
    context, graph, notes = _graph_that_fits(backend, file, request)
    trained = Hyperparameters(file).context
    if request.context is None and trained is not None and context < trained:
        notes.append(f"the context is {context} of the model's {trained} tokens: -c asks for more")

    kept_types = sorted({state.dtype for state in graph.state.values()})
    if request.least:
        notes.append(
            f"to save memory the context is {context} tokens, the KV cache {', '.join(kept_types)}"
        )
    for kept in kept_types:
        if request.kv_type not in (None, kept) and not request.least:
            notes.append(f"the KV cache is kept in {kept}: {request.kv_type} does not go here")

    def progress(phase: str, done: int, total: int, detail: str = "") -> None:
        beat(phase, done, total, detail)

    executable = backend.compile(graph, Weights(graph, file), progress)
    beat("check", 0, 0, "")
    _, rehearsal = examine(
        backend, graph, file, lambda done, total, what: beat("check", done, total, what), progress
    )
    notes += [f"{found.name}: {found.detail}" for found in backend.checks() if not found.ok]
    standing = None if rehearsal is None else StandingCheck(rehearsal)
    return LoadedModel(executable, context, notes, standing, frugal=request.least > 0)


def _smaller(request: Load, context: int) -> Load:
    """What takes about a quarter of the memory for keys and values; nothing that has to fit is cut.

    A context or a type that the person chose stays.
    """
    half = max(request.least, context // 2, min(SMALLEST_CONTEXT, context))
    return msgspec.structs.replace(
        request, context=request.context or half, kv_type=request.kv_type or KV_FRUGAL
    )


def probe(backend: Backend, file: GGUFFile, kv_type: str | None, beat: Beat) -> float:
    """The known answers of the model's own plan, as `load_model` checks them; the worst error."""
    context = min(SMALLEST_CONTEXT, context_length(Hyperparameters(file), None))
    graph, _ = _graph(backend, file, context, kv_type)
    return check(backend, graph, file, partial(beat, "check"), partial(_compiled, beat))


def _compiled(beat: Beat, phase: str, done: int, total: int, detail: str = "") -> None:
    """Of a known answer, only what takes long is told."""
    if phase == "compile":
        beat(phase, done, total, detail)


def warm_up(backend: Backend, file: GGUFFile, kv_type: str | None, progress: Progress) -> str:
    """What `load_model` compiles, known answers included; the folder where it is kept."""
    graph, _ = _graph(backend, file, context_length(Hyperparameters(file), None), kv_type)
    folders = [backend.warm(graph, progress)]
    folders += [backend.warm(case.graph, progress) for case in cases(graph)]
    return folders[0]


def _graph_that_fits(
    backend: Backend, file: GGUFFile, request: Load
) -> tuple[int, Graph, list[str]]:
    """The context that was asked for, else the default's largest half that the device holds.

    Judged by the graph that will be loaded: converted weights may be four times as large.
    """
    asked = request.context
    context = context_length(Hyperparameters(file), asked)
    memory = backend.memory()
    while True:
        graph, notes = _graph(backend, file, context, request.kv_type)
        needed, free = backend.required(graph), memory.free
        if not memory.total or needed <= free:
            return context, graph, notes
        if asked is not None or context // 2 < SMALLEST_CONTEXT:
            raise BackendOutOfMemory(
                f"{backend.device.name} has {free / _MIB:,.0f} MiB free, and {file.path} with a "
                f"context of {context} tokens needs {needed / _MIB:,.0f} MiB: "
                f"{_what_fits(backend, file, request, context, free)}"
            )
        context //= 2


def _what_fits(backend: Backend, file: GGUFFile, request: Load, context: int, free: int) -> str:
    """What to do about a graph that is too large with this context."""
    smallest = min(SMALLEST_CONTEXT, context)
    while True:
        context = max(smallest, context // 2)
        needed = backend.required(_graph(backend, file, context, request.kv_type)[0])
        if needed <= free:
            return f"a context of {context} fits (-c {context})"
        if context == smallest:
            return (
                f"even a context of {context} needs {needed / _MIB:,.0f} MiB; choose a smaller "
                "quantisation of the model, or another backend (-b)"
            )


def _graph(
    backend: Backend, file: GGUFFile, context: int, kv_type: str | None
) -> tuple[Graph, list[str]]:
    """With a KV cache of the type that was asked for, or of the next one that the backend has."""
    for dtype in dict.fromkeys((kv_type or KV_DEFAULT, KV_DEFAULT)):
        with suppress(BackendUnsupported, ModelError):  # a head may be no whole block either
            return convert(build_graph(file, context=context, state_dtype=dtype), backend)
    return convert(build_graph(file, context=context), backend)
