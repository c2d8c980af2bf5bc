"""phi3: Phi 3 and 4 (arXiv 2404.14219); q, k and v are one tensor, gate and up another.

A window in the metadata is left aside, as llama.cpp does: its converters wrote what was not meant.
"""

from functools import partial

from forge.models import decoder
from forge.models.variant import Variant

build = partial(decoder.build, Variant(rope_style="neox", gate="above"))
