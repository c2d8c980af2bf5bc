"""The third party's backend with a driver that can be missing, and a plugin's own ways to fail."""

import os

import third_driver  # noqa: F401  # the tests put it beside this one, or do not
from third_party import ThirdBackend

from forge.backend import BackendConfig, BackendUnavailable


class DrivenBackend(ThirdBackend):
    """Opens where there is a device."""

    def __init__(self, config: BackendConfig) -> None:
        if os.environ.get("NO_DEVICE"):
            raise BackendUnavailable("third_driver finds no device: install third-firmware 2")
        super().__init__(config)
