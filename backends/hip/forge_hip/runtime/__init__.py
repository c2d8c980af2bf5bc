"""The driver's edge: devices, memory, kernels, copies, launches and bounded waits.

Nothing here imports the binding but `driver`, which is loaded in the worker only.
"""
