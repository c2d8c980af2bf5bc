"""Attention of many tokens: the tests of the Vulkan kernels."""

from tests.backends.vulkan.ops.test_attention import *  # noqa: F403
