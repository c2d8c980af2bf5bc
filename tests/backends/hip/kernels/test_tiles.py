"""Products for many tokens: the tests of the Vulkan kernels."""

from tests.backends.vulkan.test_tiles import *  # noqa: F403
