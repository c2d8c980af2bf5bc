"""A HIP error becomes the error of forge's that the supervisor knows what to do with."""

from __future__ import annotations

import pytest

from forge.backend import (
    BackendError,
    BackendLost,
    BackendOutOfMemory,
    BackendUnavailable,
    BackendUnsupported,
)
from forge_hip.runtime.errors import OVERRIDE, HipFailure, failure


@pytest.mark.parametrize(
    ("code", "call", "kind"),
    [
        ("hipErrorIllegalAddress", "hipEventQuery", BackendLost),
        ("hipErrorLaunchFailure", "hipStreamQuery", BackendLost),
        ("hipErrorUnknown", "hipMemcpyAsync", BackendLost),
        ("hipErrorOutOfMemory", "hipMalloc", BackendOutOfMemory),
        ("hipErrorMemoryAllocation", "hipHostMalloc", BackendOutOfMemory),
        ("hipErrorNoDevice", "hipGetDeviceCount", BackendUnavailable),
        ("hipErrorInvalidDevice", "hipInit", BackendUnavailable),
        ("hipErrorNoDevice", "hipMemcpyAsync", HipFailure),
        ("hipErrorNotSupported", "hipStreamBeginCapture", BackendUnsupported),
        ("hipErrorNoBinaryForGpu", "hipModuleLoadData", BackendError),
        ("hipErrorInvalidValue", "hipMemcpyAsync", HipFailure),
    ],
)
def test_each_code_has_its_kind_and_its_name_in_the_message(
    code: str, call: str, kind: type[BackendError]
) -> None:
    error = failure(code, call)
    assert type(error) is kind
    assert code in str(error)
    assert call in str(error)


def test_a_loss_names_the_layer() -> None:
    assert "layer 7" in str(failure("hipErrorLaunchFailure", "hipEventQuery", "layer 7"))


def test_missing_code_is_blamed_on_the_override_where_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(OVERRIDE, raising=False)
    assert OVERRIDE not in str(failure("hipErrorNoBinaryForGpu", "hipModuleLoadData"))
    monkeypatch.setenv(OVERRIDE, "10.3.0")
    assert f"unset {OVERRIDE}" in str(failure("hipErrorNoBinaryForGpu", "hipModuleLoadData"))
