"""forge: local LLM inference that finishes the sentence when the GPU hangs."""

from forge._version import __version__

__all__ = ["__version__"]
