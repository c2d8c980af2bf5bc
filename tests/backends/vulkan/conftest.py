"""One open device for all tests of its kernels, and ways to give them arrays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from tests import vulkan_device
from tests.backends.vulkan.desk import Desk


@pytest.fixture(scope="session")
def desks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Desk]]:
    """Open devices by what they do without; pipelines are cached in a folder of the tests."""
    opened: dict[str, Desk] = {}
    with pytest.MonkeyPatch.context() as patch:
        if "FORGE_VULKAN_CACHE" not in os.environ:
            patch.setenv("FORGE_VULKAN_CACHE", str(tmp_path_factory.mktemp("pipelines")))
        yield opened
        for desk in opened.values():
            desk.close()


@pytest.fixture
def open_desk(desks: dict[str, Desk]) -> Iterator[Callable[[str], Desk]]:
    """Open the device without a feature, or with all of them ("")."""

    def open_(without: str = "") -> Desk:
        if without not in desks:
            desks[without] = Desk(vulkan_device.device(), without)
        return desks[without]

    yield open_
    for desk in desks.values():
        desk.clear()


@pytest.fixture
def desk(request: pytest.FixtureRequest, open_desk: Callable[[str], Desk]) -> Desk:
    """An open device with what it has; a parameter names what it shall do without."""
    return open_desk(getattr(request, "param", ""))
