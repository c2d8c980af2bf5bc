"""forge's vulkan backend."""
