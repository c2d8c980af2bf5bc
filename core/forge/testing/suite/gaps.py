"""What supervision does not notice yet: one table of faults that are expected to go unseen.

A row that is noticed after all fails its test, and leaves this table.
"""

from __future__ import annotations

from collections.abc import Mapping

_ANSWERED_BEFORE = "known answers are checked before the first prompt, and never again"
_ONE_ROW = "a row of logits is looked at for NaN and for one number throughout, no more"

UNNOTICED: Mapping[tuple[str, str], str] = {
    ("wrong", "prefill"): _ANSWERED_BEFORE,
    ("wrong", "decode"): _ANSWERED_BEFORE,
    ("two-values", "prefill"): _ONE_ROW,
    ("two-values", "decode"): _ONE_ROW,
    ("stale", "decode"): "logits are not compared with those of the step before",
    ("stale-keep", "prefill"): "the prefix that a backend says it kept is taken on trust",
    ("repeat", "decode"): "tokens that a backend chose itself are not compared with its logits",
}
"""By fault and phase, why nobody notices."""
