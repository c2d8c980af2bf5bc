"""What tests need, ours and other people's: tiny models that behave like real ones."""

from __future__ import annotations

from forge.testing.tiny import write_tiny

__all__ = ["write_tiny"]
