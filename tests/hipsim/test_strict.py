"""What hangs real drivers is refused, hung or counted; what is done properly is let be."""

import pytest

from .stage import play

MISUSES = [
    ("null_launch", "the null stream"),
    ("null_copy", "the null stream"),
    ("synchronous_copy", "the null stream"),
    ("null_fill", "the null stream"),
    ("null_wait", "the null stream"),
    ("null_event", "the null stream"),
    ("blocking_stream", "a stream that waits for the null stream"),
    ("pageable_upload", "a pageable copy"),
    ("pageable_download", "a pageable copy"),
    ("registered_pages", "pages of the program given to the driver"),
    ("storm", "a storm of allocations"),
    ("stream_ordered_allocator", "the stream-ordered allocator"),
    ("managed_memory", "managed memory"),
]


@pytest.mark.parametrize(("scene", "misuse"), MISUSES)
def test_misuse_is_refused_and_named(scene: str, misuse: str) -> None:
    found = play(f"strict.{scene}")
    assert found.error == "hipErrorNotSupported"
    assert f"{misuse} is what hangs real drivers" in found.said
    assert found.counts[f"misuse:{misuse}"] == 1


def test_misuse_can_hang_as_it_does_in_the_field() -> None:
    misuse = "misuse:a pageable copy"
    found = play("strict.pageable_upload", {"strict": "hang"}, stuck_at=misuse)
    assert found.signal == "SIGKILL"
    assert found.counts[misuse] == 1


def test_misuse_is_only_counted_where_that_is_asked_for() -> None:
    found = play("strict.pageable_upload", {"strict": "off"})
    assert not found.error
    assert found.counts["misuse:a pageable copy"] == 1


def test_proper_work_is_let_be() -> None:
    found = play("strict.clean", {"strict": "hang"})
    assert found.result == [2.0] * 64
    assert not [name for name in found.counts if name.startswith("misuse")]
    assert not found.said


def test_as_many_allocations_as_are_no_storm_are_allowed() -> None:
    assert play("strict.storm", {"storm": "10"}, calls=10).result == 10
    assert play("strict.storm", {"storm": "10"}, calls=11).error == "hipErrorNotSupported"


def test_calls_and_bytes_are_counted() -> None:
    found = play("strict.storm", calls=5)
    assert found.counts["hipMalloc"] == 5
    assert found.counts["hipMalloc:bytes"] == 5 * 256
    assert found.counts["hipFree"] == 0


def test_copies_are_counted_by_their_direction() -> None:
    found = play("strict.all_kinds_of_copies")
    copied = {name: value for name, value in found.counts.items() if name.startswith("cop")}
    assert copied == {"copies": 3, "copied:h2d": 100, "copied:d2d": 50, "copied:d2h": 16}


def test_launches_replays_and_runs_are_counted_apart() -> None:
    found = play("strict.launches_and_replays", replays=4)
    assert found.counts["launch:fill"] == 3
    assert found.counts["hipGraphLaunch"] == 4
    assert found.counts["run:fill"] == 1 + 2 * 4
    assert found.counts["hipFree"] == 1


def test_counts_outlive_a_process_that_crashes() -> None:
    found = play("strict.killed")
    assert found.signal == "SIGSEGV"
    assert found.counts["hipMalloc"] == 3
