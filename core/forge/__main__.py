"""`python -m forge`: the same as the `forge` command."""

import os
import sys

# -m puts the current folder first on the path: whatever lies there must not be imported.
if not sys.flags.safe_path and sys.path and sys.path[0] in ("", os.getcwd()):
    del sys.path[0]

from forge.cli import main  # after the path is safe

sys.exit(main())
