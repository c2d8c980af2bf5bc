"""Norms, gates, sums, rotation and selection: the tests of the Vulkan kernels."""

from tests.backends.vulkan.ops.test_row_ops import *  # noqa: F403
