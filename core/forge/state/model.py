"""What model a memory is about: not its file's name or bytes, but the path it takes."""

from __future__ import annotations

import hashlib
from os import PathLike
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forge.gguf import GGUFFile

_VOCABULARY = frozenset(
    f"tokenizer.ggml.{name}" for name in ("tokens", "scores", "token_type", "merges")
)


def model_digest(model: GGUFFile | str | PathLike[str]) -> str:
    """A hash of a model's metadata and tensor table, the vocabulary's long arrays left out.

    Weights of other values behind the same table are the same model here: they take the same path
    through a driver. Raises what `open_gguf` raises.
    """
    from forge.gguf import GGUFFile, open_gguf  # numpy: whoever has a model has paid for it

    if not isinstance(model, GGUFFile):
        with open_gguf(model) as file:
            return model_digest(file)
    digest = hashlib.blake2b(digest_size=12)
    for key in model.metadata:
        if key not in _VOCABULARY:
            value = model.metadata[key]
            text = repr(
                value if isinstance(value, (bool, int, float, str, list)) else value.tolist()
            )
            digest.update(f"{key}={text}\n".encode(errors="replace"))
    for tensor in model.tensors.values():
        place = (tensor.name, tensor.shape, tensor.type.code, tensor.part, tensor.offset)
        digest.update(f"{place}\n".encode(errors="replace"))
    return digest.hexdigest()
