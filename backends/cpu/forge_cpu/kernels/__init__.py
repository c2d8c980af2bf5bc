"""What runs between tokens: functions compiled to machine code, one idea a file.

These modules import numba, so a process that finds all its code in the cache never imports them:
kernels are known by name ("module.function") to the rest of the backend.
"""
