"""Attention by matrix instructions: the tests of the Vulkan kernels."""

from tests.backends.vulkan.ops.test_attention_coopmat import *  # noqa: F403
