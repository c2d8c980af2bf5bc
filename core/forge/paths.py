"""Module search paths without the current folder: what lies there must not be imported."""

from __future__ import annotations

import os
import sys


def is_here(path: str) -> bool:
    """Whether a path means the current folder without naming it."""
    return not os.path.isabs(path) and os.path.abspath(path) == os.getcwd()


def leave_current_folder() -> None:
    """Take it off `sys.path` where PYTHONPATH has it as "." or as an empty element.

    The interpreter has made these absolute. One that is named in full was meant.
    """
    paths = os.environ.get("PYTHONPATH", "")  # empty is as good as not set, here as in Python
    elements = paths.split(os.pathsep) if paths else []
    for _ in filter(is_here, elements):
        if os.getcwd() in sys.path and os.getcwd() not in elements:
            sys.path.remove(os.getcwd())
    while "" in sys.path:
        sys.path.remove("")


def python_path(paths: str) -> str:
    """A PYTHONPATH for a process that may have another current folder, and never searches it."""
    kept = [os.path.abspath(path) for path in paths.split(os.pathsep) if path and not is_here(path)]
    return os.pathsep.join(kept)
