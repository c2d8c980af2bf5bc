"""Text to token ids and back, from the vocabulary that a GGUF file carries."""

from forge.tokenizer.detokenizer import StreamDecoder
from forge.tokenizer.tokenizer import Tokenizer

__all__ = ["StreamDecoder", "Tokenizer"]
