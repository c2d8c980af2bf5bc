"""Which of a repository's GGUF files `hf:user/repo[:QUANT]` means; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from forge.errors import ModelNotFound, UsageError
from forge.store.split import ModelFiles, group
from forge.store.text import printable

# llama.cpp takes Q4_K_M, then Q8_0, then whatever comes first (find_best_model in its
# common/download.cpp); Ollama takes Q4_K_M, then "a reasonable one". Ours goes on after those two.
PREFERRED = ("Q4_K_M", "Q8_0", "Q5_K_M", "Q4_K_S", "Q4_0", "Q4_1", "Q6_K", "Q5_K_S", "BF16", "F16")

_MOST_LISTED = 24


def pick(repo: str, names: Iterable[str], wanted: str | None) -> ModelFiles:
    """The one model that the name means; otherwise an error that lists what is there."""
    models = group(name for name in names if safe(name))
    if not models:
        raise ModelNotFound(
            f"hf:{repo} holds no GGUF model; look for a repository whose name ends in -GGUF"
        )
    matches = _wanted(models, wanted) if wanted else _preferred(models)
    if len(matches) > 1:
        raise UsageError(
            f"hf:{repo}{f':{wanted}' if wanted else ''} is ambiguous; it holds {_listed(matches)}\n"
            f"name one, e.g. hf:{repo}:{printable(matches[0].first)}"
        )
    if not matches:
        raise ModelNotFound(
            f"hf:{repo} has no {printable(wanted)}; it holds {_listed(models)}\n"
            f"name one, e.g. hf:{repo}:{printable(models[0].tag or models[0].first)}"
        )
    (model,) = matches
    if model.missing:
        raise ModelNotFound(
            f"hf:{repo}: {printable(model.stem)} is incomplete there: "
            f"{_several(model.missing)} missing"
        )
    return model


def safe(name: str) -> bool:
    """Whether a file name from elsewhere stays below the folder that it is joined to."""
    pieces = name.split("/")
    return "\\" not in name and "\0" not in name and not any(p in ("", ".", "..") for p in pieces)


def _wanted(models: Sequence[ModelFiles], wanted: str) -> list[ModelFiles]:
    """By file name, else by the quantisation at the name's end, else anywhere in it."""
    lowered = wanted.lower()
    for model in models:
        if lowered in (name.lower() for name in model.files):
            return [model]
    named = [m for m in models if lowered in (n.rsplit("/", 1)[-1].lower() for n in m.files)]
    exact = [m for m in models if m.tag is not None and m.tag.lower() == lowered]
    quoted = re.escape(lowered)
    last = [m for m in models if re.search(rf"(?:^|[-._]){quoted}$", m.stem.lower())]
    inside = [m for m in models if re.search(rf"(?:^|[-._/]){quoted}(?:[-._/]|$)", m.first.lower())]
    return named or exact or last or inside


def _preferred(models: Sequence[ModelFiles]) -> list[ModelFiles]:
    for quant in PREFERRED:
        if found := [model for model in models if model.tag == quant]:
            return found
    return list(models)


def _listed(models: Sequence[ModelFiles]) -> str:
    return _several([model.first for model in models])


def _several(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_MOST_LISTED])
    more = len(names) - _MOST_LISTED
    return f"{shown} and {more} more" if more > 0 else shown
