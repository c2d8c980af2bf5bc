"""One uniform number for each (seed, position): a counter-based stream.

A reply that is resumed elsewhere draws at each position the number it would have drawn, with no
state to carry over. Philox4x32-10 is the generator of Salmon et al., "Parallel Random Numbers: As
Easy as 1, 2, 3" (SC 2011); GPUs compute it natively, so a device that samples can draw the same.
"""

from __future__ import annotations

_WORD = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1, as the paper has them


def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, ...]:
    """Four 32-bit words for a counter and a key of 32-bit words; ten rounds."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0 = c0 * _MULTIPLIERS[0]
        p1 = c2 * _MULTIPLIERS[1]
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & _WORD, (p0 >> 32) ^ c3 ^ k1, p0 & _WORD
        k0 = (k0 + _KEY_STEPS[0]) & _WORD
        k1 = (k1 + _KEY_STEPS[1]) & _WORD
    return c0, c1, c2, c3


def uniform(seed: int, position: int) -> float:
    """A multiple of 2**-53 in [0, 1): 53 of the bits that seed (the key) and position give."""
    words = philox4x32(
        (position & _WORD, position >> 32 & _WORD, 0, 0), (seed & _WORD, seed >> 32 & _WORD)
    )
    return ((words[0] >> 5) * 2**26 + (words[1] >> 6)) / 2**53
