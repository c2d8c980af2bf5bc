"""A backend that goes wrong in the middle of a reply is noticed, an honest one left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import pytest

from forge.backend import BackendConfig, Executable, Graph, Progress, Rows, Sampler, Weight
from forge.errors import BackendWrong
from forge.gguf import GGUFFile, open_gguf
from forge.miniature import miniature
from forge.models import build_graph
from forge.rehearsal import Rehearsal
from forge.sampling import SamplingParams
from forge.testing import write_tiny
from forge.weights import Weights
from forge.worker import audit
from forge.worker.model import LoadedModel
from forge.worker.standing import LEAST, SHARE, StandingCheck
from forge.worker.watched import WatchedSampler
from forge_cpu.plain import NumpyBackend

Array = np.ndarray[Any, Any]
T = TypeVar("T", bound="Own")
GREEDY = SamplingParams(temperature=0)
DRAWN = SamplingParams(temperature=0.9, top_k=20, seed=3)
PROMPT = np.random.default_rng(5).integers(3, 250, 30).tolist()
CONTEXT = 700
LONG = 2 * audit.EVERY


class Own(Executable):
    """A real executable that decodes in a way of its own, and can be told to fail."""

    def __init__(self, honest: Executable) -> None:
        self.honest = honest
        self.runs = 0
        self.chunk = honest.chunk

    @property
    def graph(self) -> Graph:
        return self.honest.graph

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        self.runs += 1
        return self.honest.run(inputs, positions, slots, rows)

    def keep(self, slot: int, count: int) -> int:
        return self.honest.keep(slot, count)

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        yield from self.honest.decode(token, start, count, sampler, slot)

    def close(self) -> None:
        self.honest.close()


class Inherited(Own):
    """Decodes as forge does."""

    decode = Executable.decode


class Silent(Own):
    """Draws without asking the sampler, as a device may; `wrong` after so many tokens."""

    wrong_from = 1 << 30

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        alone = Sampler(sampler.params)
        for at, found in enumerate(self.honest.decode(token, start, count, alone, slot), start):
            yield found if at < self.wrong_from else 3 + at % 250


class Deaf(Own):
    """Yields another token than the one that was drawn."""

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        for at, found in enumerate(self.honest.decode(token, start, count, sampler, slot)):
            yield found ^ (at == 4)


def fill(honest: Executable, count: int) -> None:
    """With as many tokens of another text."""
    honest.keep(0, 0)
    positions = np.arange(count, dtype=np.int32)
    tokens = {"tokens": (positions * 7 % 200 + 3).astype(np.int32)}
    honest.run(tokens, positions, np.zeros_like(positions), "none")


class Stuck(Own):
    """Decodes with the keys and values of `other`, which nothing but decode writes to."""

    other: Executable

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        fill(self.other, start)
        where = np.zeros(1, np.int32)
        for at, found in enumerate(self.other.decode(token, start, count, sampler, slot), start):
            fed = {"tokens": np.array([token], np.int32)}
            self.honest.run(fed, np.array([at], np.int32), where, "none")
            token = found
            yield found


class Forgetful(Inherited):
    """Says that it kept what belongs to another text."""

    def keep(self, slot: int, count: int) -> int:
        if count > 30:
            fill(self.honest, count)
        return count


class Lagging(Inherited):
    """From its tenth run on it gives what the one before it computed."""

    before: Mapping[str, Array]

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        out = super().run(inputs, positions, slots, rows)
        if self.runs == 9:
            self.before = out
        return {**self.before} if self.runs > 9 else out


class Ring(Own):
    """Keeps none but what it is told to keep in small."""

    def keep(self, slot: int, count: int) -> int:
        return self.honest.keep(slot, 0)


class Overheating(NumpyBackend):
    """Once it is hot, every third column is a tenth too much."""

    hot = False

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        return Tenth(super().compile(graph, weights, progress), self)


class Tenth(Inherited):
    """An executable of it."""

    def __init__(self, honest: Executable, backend: Overheating) -> None:
        super().__init__(honest)
        self.backend = backend

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        out = super().run(inputs, positions, slots, rows)
        for value in out.values() if self.backend.hot else ():
            value[:, ::3] *= np.float32(1.1)
        return out


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GGUFFile]:
    path = tmp_path_factory.mktemp("standing") / "m.gguf"
    with open_gguf(write_tiny(path, quant="q8_0", layers=2, context=CONTEXT)) as opened:
        yield opened


def executable(file: GGUFFile) -> Executable:
    graph = build_graph(file, context=CONTEXT)
    backend = NumpyBackend(BackendConfig(threads=1))
    return backend.compile(graph, Weights(graph, file), lambda *_: None)


def standing(file: GGUFFile, backend: NumpyBackend | None = None) -> StandingCheck:
    small = miniature(build_graph(file), file)
    assert small is not None
    backend = backend or NumpyBackend(BackendConfig(threads=1))
    rehearsal = Rehearsal(backend, small, lambda *_: None)
    rehearsal.whole(lambda: None)
    return StandingCheck(rehearsal)


def model(file: GGUFFile, kind: type[T]) -> tuple[LoadedModel, T]:
    """With what it runs."""
    made = kind(executable(file))
    return LoadedModel(made, CONTEXT, [], standing(file)), made


def reply(
    model: LoadedModel, tokens: list[int], count: int = 12, params: SamplingParams = GREEDY
) -> list[int]:
    sampler = WatchedSampler(params, tokens)
    model.reuse(tokens)
    made = model.generate(tokens, count, [], sampler, lambda _: None)
    return [token for token in made if not isinstance(token, str)]


def turns(model: LoadedModel, params: SamplingParams = GREEDY) -> list[int]:
    """Two replies, the second of which joins the first."""
    first = reply(model, PROMPT, params=params)
    return [*first, *reply(model, [*PROMPT, *first, 5, 6], params=params)]


@pytest.mark.parametrize("params", [GREEDY, DRAWN], ids=["greedy", "drawn"])
@pytest.mark.parametrize("kind", [Own, Inherited, Silent, Ring])
def test_an_honest_executable_says_what_it_says_unwatched(
    kind: type[Own], params: SamplingParams, file: GGUFFile
) -> None:
    plain = LoadedModel(Own(executable(file)), CONTEXT, [])
    assert turns(model(file, kind)[0], params) == turns(plain, params)
    long = reply(model(file, kind)[0], PROMPT, LONG, params)
    assert long == reply(plain, PROMPT, LONG, params)


@pytest.mark.parametrize("kind", [Own, Inherited])
def test_a_prompt_that_leaves_the_reply_before_it_anywhere_accuses_nobody(
    kind: type[Own], file: GGUFFile
) -> None:
    watched, plain = model(file, kind)[0], LoadedModel(Own(executable(file)), CONTEXT, [])
    for kept in range(13):
        first = reply(watched, PROMPT)
        other = (first[kept] + 1 if kept < len(first) else 5) % watched.vocabulary
        prompt = [*PROMPT, *first[:kept], other, 6]
        told = reply(watched, prompt)
        plain.forget()
        assert told == reply(plain, prompt)


def test_a_long_reply_is_audited_at_the_same_positions_each_time(file: GGUFFile) -> None:
    watched, own = model(file, Own)
    reply(watched, PROMPT, LONG)
    assert own.runs == 1 + 2 + 1  # the prompt; positions 256 and 512; the end


def test_where_the_last_token_cannot_be_forgotten_alone_it_is_done_once(file: GGUFFile) -> None:
    watched, own = model(file, Ring)
    reply(watched, PROMPT, LONG)
    runs = own.runs
    assert runs > 2
    watched.forget()
    reply(watched, PROMPT, LONG)
    assert own.runs == runs + 1  # the prompt alone


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Deaf, "decoded token .* where .* was drawn"),
        (Forgetful, "did not keep what it said it kept"),
    ],
)
def test_what_goes_wrong_with_tokens_and_prefixes_is_noticed(
    kind: type[Own], words: str, file: GGUFFile
) -> None:
    with pytest.raises(BackendWrong, match=words):
        turns(model(file, kind)[0])


def test_a_device_that_draws_wrongly_by_itself_is_noticed_at_the_next_audit(file: GGUFFile) -> None:
    watched, silent = model(file, Silent)
    silent.wrong_from = 100
    shown: list[int] = []
    sampler = WatchedSampler(GREEDY, PROMPT)
    made = watched.generate(PROMPT, LONG, [], sampler, lambda _: None)
    with pytest.raises(BackendWrong, match="decodes tokens that its runs do not give"):
        shown.extend(token for token in made if not isinstance(token, str))
    assert len(shown) <= audit.EVERY


def test_decode_that_reads_another_cache_is_noticed(file: GGUFFile) -> None:
    watched, stuck = model(file, Stuck)
    stuck.other = executable(file)
    with pytest.raises(BackendWrong, match="decodes tokens that its runs do not give"):
        reply(watched, PROMPT)


def test_a_row_that_comes_twice_has_the_model_in_small_asked_at_once(file: GGUFFile) -> None:
    clock = Clock(0.001)
    watched = LoadedModel(Lagging(executable(file)), CONTEXT, [], StandingCheck(clock, clock))  # type: ignore[arg-type]
    made = watched.generate(PROMPT, 12, [], WatchedSampler(GREEDY, PROMPT), lambda _: None)
    parts = [clock.parts for _ in range(11) if next(made) is not None]
    assert parts == [1] * 9 + [2] * 2  # the first token; the first row that came twice


@pytest.mark.parametrize("at", range(1, 6))
def test_a_device_that_loses_its_mind_is_noticed_by_the_next_part(at: int, file: GGUFFile) -> None:
    backend = Overheating(BackendConfig(threads=1))
    check = standing(file, backend)
    for _ in range(at):
        check.now()
    backend.hot = True
    with pytest.raises(BackendWrong, match=r"wrongly .* and did so rightly when"):
        check.now()


class Clock:
    """Says what it is told, a part taking `each` seconds."""

    rewinds = False

    def __init__(self, each: float) -> None:
        self.time, self.each, self.parts = 100.0, each, 0

    def __call__(self) -> float:
        return self.time

    def step(self) -> None:
        self.parts += 1
        self.time += self.each


@pytest.mark.parametrize("each", [1e-4, 0.02])
def test_parts_take_a_small_share_of_the_time(each: float) -> None:
    clock = Clock(each)
    check = StandingCheck(clock, clock)  # type: ignore[arg-type]
    check.now()
    begun, clock.parts = clock.time, 0
    for _ in range(20_000):
        clock.time += 0.003
        check.if_due()
    assert 0 < clock.parts * each <= (clock.time - begun) / SHARE
    assert clock.parts <= (clock.time - begun) / LEAST


def test_what_keeps_looking_strange_is_not_asked_about_each_time() -> None:
    clock = Clock(0.001)
    check = StandingCheck(clock, clock)  # type: ignore[arg-type]
    check.suspect()
    assert clock.parts == 1
    for _ in range(100):
        clock.time += 0.001
        check.suspect()
    assert clock.parts == 1
    clock.time += SHARE * 0.001
    check.suspect()
    assert clock.parts == 2
