"""The largest logit and the larger ones: the tests of the Vulkan kernels."""

from tests.backends.vulkan.ops.test_sampling import *  # noqa: F403
