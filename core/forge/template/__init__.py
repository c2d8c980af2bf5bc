"""Chat templates: a model's own program for turning messages into a prompt, run without trust."""

from forge.template.chat import ChatTemplate

__all__ = ["ChatTemplate"]
