"""Where forge keeps what it remembers between runs."""

from __future__ import annotations

import os
from pathlib import Path


def state_folder() -> Path:
    """FORGE_STATE, or the user's state folder; created for its owner alone.

    Raises OSError where there is none and none can be made.
    """
    if base := os.environ.get("FORGE_STATE"):
        folder = Path(base).expanduser()
    else:
        from platformdirs import user_state_path  # a path given by hand needs none of it

        folder = user_state_path("forge", appauthor=False)
        if not folder.is_absolute():
            raise FileNotFoundError(f"{folder}: this user has no home folder; set FORGE_STATE")
    return private(folder.absolute())


def records_folder() -> Path:
    """Where the records of hangs lie, beside the database. Raises OSError as `state_folder`."""
    return private(state_folder() / "hangs")


def private(folder: Path) -> Path:
    """Create it where it is missing, readable by its owner alone."""
    if not folder.is_dir():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
