"""``python -m restore_drill``: the command line, where its script is not on the PATH."""

from __future__ import annotations

import sys

from restore_drill.cli import main

if __name__ == "__main__":
    sys.exit(main())
