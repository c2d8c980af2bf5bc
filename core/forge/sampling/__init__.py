"""From logits to the next token, and from the reply's text to where it stops.

    params.py   what the user may set, checked once
    filters.py  each step of the chain as a plain function on a vector of logits
    random.py   one uniform number for each (seed, position)
    sampler.py  the chain: bias, penalties, top-k, typical-p, top-p, min-p, temperature, draw
    stop.py     stop strings in text that arrives in pieces

The steps mean what they mean in llama.cpp v0.5.0 and come in its order. Only the draw is our own;
random.py and sampler.py give the reasons.
"""

from __future__ import annotations

from forge.sampling.params import SamplingParams
from forge.sampling.sampler import Sampler
from forge.sampling.stop import StopMatcher

__all__ = ["Sampler", "SamplingParams", "StopMatcher"]
