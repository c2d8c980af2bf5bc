"""A crew runs programs: the right numbers, on any number of threads, and no work while idle."""

import threading
import time

import numpy as np
import pytest

from forge_cpu.crew import Crew
from forge_cpu.library import Library
from forge_cpu.program import PerThread, Program

N = 100


class Trial:
    """Two arrays filled at once, mixed, and summed up."""

    def __init__(self, library: Library) -> None:
        self.a, self.b = np.zeros(N, np.float32), np.zeros(N, np.float32)
        self.out = np.zeros(1, np.float32)
        self.program = Program(library)
        self.program.add("trial.fill", self.a, N, 1.0, wait=False)
        self.block = self.program.add("trial.fill", self.b, N, 2.0)
        self.program.add("trial.add_shifted", self.a, self.b, N)
        self.program.add("trial.total", self.out, self.a, N)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_ten_thousand_runs_give_the_right_sum(library: Library, threads: int) -> None:
    trial = Trial(library)
    crew = Crew(library, threads)
    try:
        wrong = 0
        for _ in range(10_000):
            trial.out[0] = 0
            crew.run(trial.program)
            wrong += trial.out[0] != 3 * N
    finally:
        crew.close()
    assert wrong == 0


def test_a_changed_argument_is_seen_by_the_next_run(library: Library) -> None:
    trial, crew = Trial(library), Crew(library, 2)
    try:
        trial.block[2] = np.float64(5.0).view(np.int64)
        crew.run(trial.program)
    finally:
        crew.close()
    assert trial.out[0] == 6 * N


def test_each_thread_may_do_all_of_a_step_on_arrays_of_its_own(library: Library) -> None:
    own = PerThread(tuple(np.zeros(N, np.float32) for _ in range(3)))
    sums = PerThread(tuple(np.zeros(1, np.float32) for _ in range(3)))
    program, crew = Program(library), Crew(library, 3)
    program.add("trial.fill", own, N, 2.0, wait=False, alone=True)
    program.add("trial.total", sums, own, N, alone=True)
    try:
        crew.run(program)
    finally:
        crew.close()
    assert [each[0] for each in sums.each] == [2 * N] * 3


def test_a_program_with_arrays_for_three_threads_is_refused_by_two(library: Library) -> None:
    program, crew = Program(library), Crew(library, 2)
    program.add("trial.fill", PerThread((np.zeros(N, np.float32),) * 3), N, 2.0)
    try:
        with pytest.raises(ValueError, match="for 3 threads, run by 2"):
            crew.run(program)
    finally:
        crew.close()
    with pytest.raises(ValueError, match="arrays for \\[2, 3\\] threads"):
        program.add("trial.fill", PerThread((np.zeros(N, np.float32),) * 2), N, 2.0)


def test_a_profile_has_the_clock_of_each_step(library: Library) -> None:
    trial, crew = Trial(library), Crew(library, 2)
    try:
        times = crew.profile(trial.program)
    finally:
        crew.close()
    assert trial.out[0] == 3 * N
    assert times.shape == (4, 3)
    assert (np.diff(times.reshape(-1)) >= 0).all()


def test_a_crew_grows_and_shrinks_between_runs(library: Library) -> None:
    trial, crew = Trial(library), Crew(library, 1)
    try:
        for threads in (3, 1, 2):
            crew.resize(threads)
            assert crew.size == threads
            trial.out[0] = 0
            crew.run(trial.program)
            assert trial.out[0] == 3 * N
    finally:
        crew.close()


def test_an_idle_crew_uses_no_processor_time(library: Library) -> None:
    trial, crew = Trial(library), Crew(library, 3)
    try:
        crew.run(trial.program)
        time.sleep(0.1)
        before = time.process_time()
        time.sleep(1.0)
        used = time.process_time() - before
    finally:
        crew.close()
    assert used < 0.05


def test_closing_ends_the_threads_and_more_work_is_refused(library: Library) -> None:
    before = threading.active_count()
    trial, crew = Trial(library), Crew(library, 3)
    assert threading.active_count() == before + 2
    crew.run(trial.program)
    crew.close()
    crew.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        crew.run(trial.program)


def test_a_crew_of_no_threads_is_refused(library: Library) -> None:
    crew = Crew(library, 1)
    with pytest.raises(ValueError, match="0 threads"):
        crew.resize(0)
    crew.close()


def test_an_empty_program_runs(library: Library) -> None:
    crew = Crew(library, 2)
    try:
        crew.run(Program(library))
    finally:
        crew.close()


def test_an_array_with_gaps_is_no_argument(library: Library) -> None:
    with pytest.raises(ValueError, match="not contiguous"):
        Program(library).add("trial.fill", np.zeros((4, 4), np.float32)[:, 1], 4, 1.0)
