"""One open device for each set of features that is switched off."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.backends.vulkan.ops.stage import Stage

from forge.backend import BackendUnavailable


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Stage]]:
    """Open devices by what they do without; pipelines are cached in a folder of the tests."""
    opened: dict[str, Stage] = {}
    with pytest.MonkeyPatch.context() as patch:
        if "FORGE_VULKAN_CACHE" not in os.environ:
            patch.setenv("FORGE_VULKAN_CACHE", str(tmp_path_factory.mktemp("pipelines")))
        yield opened
        for stage in opened.values():
            stage.close()


@pytest.fixture
def stage(request: pytest.FixtureRequest, stages: dict[str, Stage]) -> Iterator[Stage]:
    """An open device with what it has; a parameter names what it shall do without."""
    without = getattr(request, "param", "")
    if without not in stages:
        try:
            stages[without] = Stage(without)
        except (BackendUnavailable, IndexError) as error:
            pytest.skip(
                f"{error}\nNo Vulkan device: apt-get install mesa-vulkan-drivers libvulkan1"
            )
    yield stages[without]
    stages[without].clear()
