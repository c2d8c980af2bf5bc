"""Weights of every type bit for bit: the tests of the Vulkan kernels."""

from tests.backends.vulkan.test_embed import *  # noqa: F403
