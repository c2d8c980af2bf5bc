"""Mixtures of experts: the tests of the Vulkan kernels."""

from tests.backends.vulkan.test_experts import *  # noqa: F403
