"""Products by matrix instructions: the tests of the Vulkan kernels."""

from tests.backends.vulkan.test_cooperative import *  # noqa: F403
