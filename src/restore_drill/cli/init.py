"""``restore-drill init``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from restore_drill.catalogue.load import load
from restore_drill.catalogue.problems import CatalogueInvalid
from restore_drill.cli import discover
from restore_drill.history import History
from restore_drill.state import open_state

_CASES = '''"""The standard cases of restore-drill; cases of your own may stand beside them."""

from restore_drill.standard_cases import *  # noqa: F403
'''
_CATALOGUE = """\
# What is backed up, where, and what must be true of it once it is restored.
# Check it with `restore-drill validate`, see what would run with `restore-drill plan`, drill with `pytest drills/`.
version: 1

# Where earlier drills leave what they measured. In a pipeline whose machines are thrown away: s3://bucket/prefix
state: file:../.restore-drill/state

stores:
  nas: {{url: {store}, media: {media}}}
  # offsite: {{url: "s3://bucket/prefix", media: object-storage, offsite: true}}

defaults:
  timezone: UTC # of times in names that carry no offset

targets:
{target}
"""
_EXAMPLE = """\
  orders-db: # an example: make it yours
    tier: critical # critical: RPO 1h, RTO 15m; important: 1d, 4h; archival: 1w, 1d
    engine: sqlite # or postgres, mysql, mariadb, redis, files (directories, archives), volume, csv, parquet, git, …
    copies:
      nas: {path: "orders/{time:%Y%m%d_%H%M%S}_orders.db.gz"} # how names carry the time
    # expect:
    #   rows: {customers: 59, orders: {min: 1000, max_drop: 5%}}"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("directory", nargs="?", default=".", help="the project (default: here)")
    parser.add_argument("--store", metavar="URL", default="file:///backups", help="where your backups are")
    parser.add_argument(
        "--discover", action="append", metavar="PLACE",
        help="describe what lies in this directory or url, as restore-drill discover does (may be repeated)",
    )  # fmt: skip
    discover.add_options(parser.add_argument_group("with --discover"), store="--store-option")


def run(arguments: argparse.Namespace) -> int:
    """Write what is missing; nothing that exists is touched."""
    drills = Path(arguments.directory) / "drills"
    drills.mkdir(parents=True, exist_ok=True)
    catalogue = drills / "targets.yaml"
    media = "object-storage" if arguments.store.startswith("s3:") else "disk"
    found = None
    if arguments.discover and not catalogue.exists():
        found = discover.find(arguments, arguments.discover, catalogue)
        made = _write(catalogue, found.sheet().text)
    else:
        made = _write(catalogue, _CATALOGUE.format(store=json.dumps(arguments.store), media=media, target=_EXAMPLE))
    try:
        plan = load(catalogue)
    except CatalogueInvalid:
        if made:  # of a --store that cannot be; the next attempt must not find it
            catalogue.unlink()
        raise
    _tell(catalogue, made=made)
    if found is not None:
        print(f"        {discover.summary(found)}")
    _tell(drills / "test_standard.py", made=_write(drills / "test_standard.py", _CASES))
    if History(open_state(plan.state)).initialise():
        print(f"initialised {plan.state.url}")
    next_step = "read" if found is not None else "describe your backups in"
    print(f"now {next_step} {catalogue}, then: restore-drill doctor, and pytest {drills}/")
    return 0


def _write(path: Path, text: str) -> bool:
    """Create a file; one that is there stays as it is, and so does a link, wherever it leads."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    return True


def _tell(path: Path, *, made: bool) -> None:
    print(f"wrote   {path}" if made else f"kept    {path} (it exists)")
