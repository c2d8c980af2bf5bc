"""The driver's edge: devices, memory, kernels, recorded command buffers and bounded waits."""

from forge.backend import BackendUnavailable

try:
    import vulkan  # noqa: F401  # looks for the loader as it is imported
except OSError as error:
    raise BackendUnavailable(
        f"the Vulkan loader is not installed ({error}): apt-get install libvulkan1 "
        "(Fedora: vulkan-loader; Arch: vulkan-icd-loader)"
    ) from error
