"""The sampling parameters: defaults, checks, and a plain dictionary for the wire."""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Integral, Real
from typing import Any

from forge.errors import UsageError

_NO_BIAS: Mapping[int, float] = {}
_MOST_SEED = 2**64 - 1
_MOST_COUNT = 2**31 - 1
_MOST_BIAS = 1e30  # far beyond any logit, yet a float32 sum with it stays finite


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """How the next token is chosen; the defaults are those of llama.cpp v0.5.0 (common/common.h).

    Each field is checked and made a plain int or float; a bad one raises UsageError.
    """

    temperature: float = 0.8
    """Divides the logits; 0 takes the likeliest token after bias and penalties."""
    top_k: int = 40
    """Keep the k largest logits; 0 keeps all."""
    top_p: float = 0.95
    """Keep the likeliest tokens up to and with the one that reaches this mass; 1 is off."""
    min_p: float = 0.05
    """Keep tokens at least this fraction as likely as the likeliest; 0 is off."""
    typical_p: float = 1.0
    """Keep tokens nearest to the entropy until they exceed this mass; 1 is off."""
    repeat_penalty: float = 1.0
    """Divides the positive and multiplies the other logits of tokens in the window; 1 is off."""
    presence_penalty: float = 0.0
    """Subtracted once from the logits of tokens in the window."""
    frequency_penalty: float = 0.0
    """Subtracted for each time a token is in the window."""
    penalty_window: int = 64
    """How many of the last tokens, the prompt's included, are penalised; 0 none, -1 all."""
    logit_bias: Mapping[int, float] = field(default_factory=dict, hash=False)
    """Added to the logits of these token ids; -inf bans a token."""
    seed: int | None = None
    """Of the random stream; None lets `resolved` choose one."""

    def __post_init__(self) -> None:
        """Check every field."""
        temperature = _number("temperature", self.temperature, 0.0, 1e6, "0 or 1e-06 to 1e+06")
        if 0.0 < temperature < 1e-6:  # a float32 logit divided by less may overflow
            raise _refusal("temperature", self.temperature, "0 or 1e-06 to 1e+06")
        checked = {
            "temperature": temperature,
            "top_k": _whole("top_k", self.top_k, 0, _MOST_COUNT),
            "top_p": _number("top_p", self.top_p, 0.0, 1.0),
            "min_p": _number("min_p", self.min_p, 0.0, 1.0),
            "typical_p": _number("typical_p", self.typical_p, 0.0, 1.0),
            "repeat_penalty": _number("repeat_penalty", self.repeat_penalty, 0.01, 100.0),
            "presence_penalty": _number("presence_penalty", self.presence_penalty, -1e3, 1e3),
            "frequency_penalty": _number("frequency_penalty", self.frequency_penalty, -1e3, 1e3),
            "penalty_window": _whole("penalty_window", self.penalty_window, -1, _MOST_COUNT),
            "logit_bias": _bias(self.logit_bias),
            "seed": None if self.seed is None else _whole("seed", self.seed, 0, _MOST_SEED),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is taken and nothing is drawn."""
        return self.temperature == 0.0

    @property
    def penalises(self) -> bool:
        """Whether any penalty has an effect."""
        return self.penalty_window != 0 and (
            self.repeat_penalty != 1.0
            or self.presence_penalty != 0.0
            or self.frequency_penalty != 0.0
        )

    def resolved(self) -> SamplingParams:
        """The same with a seed: 32 random bits if it had none, short enough to type again."""
        return self if self.seed is not None else replace(self, seed=secrets.randbits(32))

    def to_dict(self) -> dict[str, Any]:
        """Only what JSON has: the ids of the biases are strings, and -inf is "-inf"."""
        plain: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        plain["logit_bias"] = {
            str(token): bias if math.isfinite(bias) else "-inf"
            for token, bias in self.logit_bias.items()
        }
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> SamplingParams:
        """What `to_dict` gave; fields may be missing, unknown ones raise UsageError."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(str(name) for name in plain if name not in known):
            raise UsageError(
                f"unknown sampling parameter {', '.join(unknown)}\n"
                f"Known are {', '.join(sorted(known))}."
            )
        values = dict(plain)
        bias = values.get("logit_bias", _NO_BIAS)
        if isinstance(bias, Mapping):
            values["logit_bias"] = {
                _token(t): -math.inf if b == "-inf" else b for t, b in bias.items()
            }
        return cls(**values)


def _refusal(name: str, value: object, allowed: str) -> UsageError:
    return UsageError(f"{name} is {value!r}; allowed is {allowed}")


def _number(name: str, value: object, least: float, most: float, allowed: str = "") -> float:
    if isinstance(value, Real) and not isinstance(value, bool) and least <= float(value) <= most:
        return float(value)
    raise _refusal(name, value, f"a number, {allowed or f'{least:g} to {most:g}'}")


def _whole(name: str, value: object, least: int, most: int) -> int:
    if isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most:
        return int(value)
    raise _refusal(name, value, f"a whole number, {least} to {most}")


def _bias(value: object) -> dict[int, float]:
    if not isinstance(value, Mapping):
        raise _refusal("logit_bias", value, "a mapping of token ids to numbers")
    biases = {}
    for token, bias in value.items():
        token = _whole("a token id of logit_bias", token, 0, _MOST_COUNT)
        name = f"logit_bias of token {token}"
        allowed = f"-inf, or {-_MOST_BIAS:g} to {_MOST_BIAS:g}"
        banned = isinstance(bias, Real) and bias == -math.inf
        biases[token] = (
            -math.inf if banned else _number(name, bias, -_MOST_BIAS, _MOST_BIAS, allowed)
        )
    return biases


def _token(key: object) -> object:
    # isdecimal accepts other scripts' digits; int reads them as well, so nothing is lost.
    return int(key) if isinstance(key, str) and key.isdecimal() else key
