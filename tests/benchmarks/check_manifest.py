"""``python -m tests.benchmarks.check_manifest TREE``: what a drill does with a restored tree and its SHA256SUMS."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.benchmarks.measure import cores

from restore_drill.registry import load
from restore_drill.sandboxes.base import Limits


def main(tree: Path) -> int:
    """Compare both ways in a sandbox, on every core; 1 when something differs."""
    kind = load("sandboxes", "directory")
    with kind(tree.parent, run="benchmark", name="manifest", limits=Limits(processes=cores())) as sandbox:
        inside = sandbox.work / "tree"
        tree.rename(inside)
        try:
            found = sandbox.call(
                "restore_drill.engines.files_probe:hash_tree",
                {"root": "tree", "manifest": "SHA256SUMS", "threads": cores()},
                deadline=600.0,
            )
        finally:
            os.rename(inside, tree)  # noqa: PTH104 - the way back of what stands above
    sandbox.dispose()
    print({name: found[name] for name in ("listed", "verified", "mismatched", "missing", "extra")})
    return int(found["verified"] != found["listed"] or found["extra"])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
