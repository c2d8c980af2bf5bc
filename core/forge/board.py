"""Results too large for messages: rows of logits in a file that host and worker share."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from forge.errors import BackendLost
from forge.messages import BLOCK_BYTES


def read_block(board: int, rows: int, vocabulary: int) -> NDArray[np.float32]:
    """f32 [rows, vocabulary] off the board, which is emptied: a block never written must not look
    like one; BackendLost where it is not as large as the worker said.
    """
    size = 4 * rows * vocabulary
    if os.fstat(board).st_size != size or (rows > 1 and size > BLOCK_BYTES):
        raise BackendLost("the worker did not write the logits that it said it wrote")
    out = np.empty((rows, vocabulary), np.float32)
    view, at = memoryview(out.data).cast("B"), 0
    while at < len(view):
        read = os.preadv(board, [view[at : at + (1 << 24)]], at)
        if not read:
            raise BackendLost("the worker took back the logits that it wrote")
        at += read
    os.ftruncate(board, 0)
    return out
