"""Attention of one token: the tests of the Vulkan kernels."""

from tests.backends.vulkan.ops.test_attention_decode import *  # noqa: F403
