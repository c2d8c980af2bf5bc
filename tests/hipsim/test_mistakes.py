"""Every mistake that a backend can make with HIP is caught by the simulated driver."""

import pytest

from .stage import play


def played(scene: str, **settings: str) -> object:
    found = play(f"mistakes.{scene}", settings)
    assert not found.error, found.said
    return found.result


def test_a_result_is_not_there_before_the_stream_was_waited_for() -> None:
    assert played("read_before_sync") == [0.0, 3.0]


def test_an_upload_reads_its_source_when_it_happens_not_when_it_is_asked_for() -> None:
    assert played("buffer_reused_before_sync") == 2.0


def test_new_memory_is_nan() -> None:
    assert played("fresh_memory") == ["nan"] * 1024


@pytest.mark.parametrize("scene", ["uninitialised_dynamic", "uninitialised_static"])
def test_shared_memory_is_nan_at_the_beginning_of_a_launch(scene: str) -> None:
    assert played(scene) == ["nan"] * 64


def test_a_missing_barrier_gives_wrong_numbers_in_one_order_at_least() -> None:
    right = [str(float(63 - i)) for i in range(64)]
    orders = [played("race", order=order) for order in ("forward", "reverse", "random")]
    assert all(found != right for found in orders)
    assert orders[0] != orders[1]


@pytest.mark.parametrize(
    ("scene", "error", "said"),
    [
        ("wrong_width", "hipErrorInvalidValue", "takes 16 bytes of arguments, not 20"),
        ("missing_argument", "hipErrorInvalidValue", "takes 16 bytes of arguments, not 12"),
        ("copy_past_the_end", "hipErrorInvalidValue", ""),
        ("copy_in_the_wrong_direction", "hipErrorInvalidValue", ""),
        ("host_pointer", "hipErrorIllegalAddress", "argument 0"),
        ("used_after_free", "hipErrorIllegalAddress", "argument 0"),
        ("divergent", "hipErrorLaunchFailure", "kernel divergent, block (0, 0, 0): threads wait"),
        ("mixed", "hipErrorLaunchFailure", "different operations"),
        ("early", "hipErrorLaunchFailure", "reads a lane that has ended"),
        ("divide_by_zero", "hipErrorLaunchFailure", "division by zero in kernel divide"),
        ("after_a_fault", "hipErrorIllegalAddress", "an illegal address in kernel far"),
        ("malloc_while_capturing", "hipErrorStreamCaptureUnsupported", "hipMalloc is not allowed"),
        ("sync_while_capturing", "hipErrorStreamCaptureUnsupported", "hipStreamSynchronize"),
        ("capture_after_a_spoilt_call", "hipErrorStreamCaptureInvalidated", ""),
        ("query_a_captured_event", "hipErrorCapturedEvent", ""),
        ("foreign_code", "hipErrorNoBinaryForGpu", ""),
        ("other_arch", "hipErrorNoBinaryForGpu", "for gfx1030, the device is gfx1100"),
        ("no_code", "hipErrorInvalidImage", ""),
        ("unknown_kernel", "hipErrorNotFound", ""),
        ("too_many_threads", "hipErrorInvalidConfiguration", "2048 threads"),
        ("freed_twice", "hipErrorInvalidValue", ""),
        ("freed_in_the_middle", "hipErrorInvalidValue", ""),
        ("unknown_option", "HIPRTC_ERROR_INVALID_OPTION", ""),
    ],
)
def test_a_mistake_is_an_error_by_its_name(scene: str, error: str, said: str) -> None:
    found = play(f"mistakes.{scene}")
    assert found.error == error, found.said
    assert said in found.said


@pytest.mark.parametrize("at", [1024, -1024, 1 << 30], ids=["just behind", "before", "far"])
def test_a_write_outside_of_an_allocation_is_an_illegal_address(at: int) -> None:
    found = play("mistakes.far_write", at=at)
    assert found.error == "hipErrorIllegalAddress"
    assert "kernel far, at module+0x" in found.said


def test_a_bad_address_can_end_the_process_as_rocm_does() -> None:
    found = play("mistakes.far_write", {"abort": "1"}, at=1 << 30)
    assert found.signal == "SIGABRT"
    assert "Memory access fault by GPU" in found.said


@pytest.mark.parametrize(
    ("scene", "said"), [("standard_types", "uint32_t"), ("infinity", "INFINITY")]
)
def test_what_the_real_compiler_does_not_know_is_unknown(scene: str, said: str) -> None:
    found = play(f"mistakes.{scene}")
    assert found.error.startswith("HIPRTC_ERROR_COMPILATION")
    assert said in found.error
