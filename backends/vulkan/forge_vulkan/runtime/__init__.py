"""The driver's edge: devices, memory, kernels, recorded command buffers and bounded waits."""
