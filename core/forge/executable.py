"""A compiled graph: what a backend runs. Plugins import it from `forge.backend`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from forge.errors import BackendUnsupported
from forge.graph import Graph
from forge.sampling import Sampler

Array: TypeAlias = NDArray[Any]
Rows: TypeAlias = Literal["none", "last", "all"] | Sequence[int]


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one kernel of a run took on the device.

    name: of the node whose result it helps to make. A node that no timing names is computed in the
        kernels of those that read it.
    kernel: what the backend calls it.
    seconds: between its beginning and its end, the median of some repetitions.
    """

    name: str
    kernel: str
    seconds: float


class Executable(ABC):
    """A compiled graph with its weights on the device and its state (the KV cache).

    The same runs give the same bits. A number that is not finite in a token's input stays visible:
    it shows as NaN or infinity where `forge.reference` has one, and in no row that does not depend
    on that token. It is how a broken device is noticed, so no kernel may wash it out.
    """

    chunk: int = 512
    """The most tokens that one run takes; a longer prompt comes in several.

    A chunk is a beat, and after each the person may cancel: a second or so of work is right.
    """

    @abstractmethod
    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        """Compute T tokens (T ≤ chunk) and append them to the state.

        inputs: the graph's tokens i32 [T] or hidden state f32 [T, n], by name.
        positions, slots: i32 [T]; a token's place in its sequence, and its sequence. A sequence
            comes in order, and goes on where it was or where `keep` cut it. All arrays stay the
            caller's: read them, and write to none.
        rows: which of the T rows of the outputs are wanted; "none" wants the state alone.
        Returns the outputs by name, owned by the caller: f32 [R, n], where "none" gives [0, n]; a
        stage that ends in a hidden state has no select_rows, and gives all of it as [T, n].
        """

    def keep(self, slot: int, count: int) -> int:
        """Forget all of a slot's state but the first `count` tokens; how many could be kept.

        What is forgotten never shows again, be it NaN: 0 x NaN is NaN, so a mask is not enough.
        A sliding window's ring or a recurrent state may keep fewer, down to 0: forge computes the
        rest again. It is asked before each reply, with 0 after a run that failed, and for all but
        the last token when forge computes that one once more, to compare.
        """
        del slot
        return count

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        """Feed `token` at position `start`, yield the next one, feed it, … `count` times.

        Override it to replay a recorded step, to sample on the device, or to submit several tokens
        at once; then
        - a token is a beat, and after each the person may cancel: a submission of several takes
          well under a second, and never goes past position start + count - 1;
        - the caller may stop at any token and close the generator; state past what it took is
          undone by `keep`, so a ring needs as much slack;
        - the next token is what `sampler` would draw. It needs no more than the
          `sampler.candidates` largest logits (1 for greedy; 0 means all of them) and their ids, for
          `sampler.sample_from`; every token goes through `sampler.accept`;
        - logits that are NaN or all alike raise BackendWrong, also where only the device sees them.
        """
        (output,) = self.outputs
        (name,) = self.inputs
        where = np.array([slot], np.int32)
        for position in range(start, start + count):
            step = self.run(
                {name: np.array([token], np.int32)}, np.array([position], np.int32), where, "last"
            )
            token = sampler.sample(step[output][0], position + 1)
            sampler.accept(token)
            yield token

    def profile(self, tokens: int, repetitions: int = 20, start: int = 0) -> list[Timing]:
        """How long each kernel takes in a run of `tokens` tokens (≤ chunk) from position `start`.

        Optional: what `forge bench --profile` shows. In the order they run, down to the outputs of
        the last token. Which tokens they are is the backend's choice, and what is in the state does
        not matter: it is lost, and forge calls `keep` with 0 before and after. Each call is a beat,
        so forge asks for few repetitions at a time. BackendUnsupported, the default, says that
        there are no timestamps.
        """
        del tokens, repetitions, start
        raise BackendUnsupported(f"{type(self).__name__} has no timestamps: no profile")

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """The graph it was compiled from."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The graph's inputs that `run` takes in its mapping."""
        bound = ("positions", "slots", "rows")
        return tuple(name for name in self.graph.inputs if name not in bound)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what `run` returns."""
        return self.graph.outputs

    def close(self) -> None:
        """Give back what the device holds; called once more does nothing.

        A `run` after it raises, and so does the next token of a `decode` that was under way.
        """
        return


def row_indices(rows: Rows, tokens: int) -> Array:
    """The indices that `rows` means for a run of `tokens` tokens, as i32."""
    if isinstance(rows, str):
        start = {"none": tokens, "last": tokens - 1, "all": 0}[rows]
        return np.arange(start, tokens, dtype=np.int32)
    return np.asarray(rows, np.int32)
