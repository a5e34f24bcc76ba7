"""``restore-drill discover``."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from restore_drill.discovery.catalogue import Discovery, discover
from restore_drill.discovery.describe import KEYS
from restore_drill.discovery.place import place_of
from restore_drill.errors import UsageProblem
from restore_drill.printable import printable
from restore_drill.registry import load

_STATE = "file:../.restore-drill/state"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("place", nargs="+", help="a directory, or a store's url (s3://bucket/prefix, sftp://…)")
    add_options(parser)
    parser.add_argument("--out", metavar="PATH", help="write the catalogue to this file, which must not exist")


def add_options(parser: argparse.ArgumentParser | argparse._ArgumentGroup, *, store: str = "--store") -> None:
    """What ``init --discover`` understands, too; there ``--store`` means something else."""
    parser.add_argument(
        "--baseline",
        action="store_true",
        help="restore the newest snapshot of each series once, and expect what it holds",
    )
    parser.add_argument(
        "--timezone", default="", metavar="ZONE", help="the zone of names without an offset, if you know it"
    )
    parser.add_argument(
        "--key", action="append", default=[], metavar="FORMAT.NAME=REFERENCE",
        help="where a key is kept, to look inside what is encrypted: age.identity=file:keys/backup.txt",
    )  # fmt: skip
    parser.add_argument(
        store, dest="store_options", action="append", default=[], metavar="OPTION=VALUE",
        help="what the catalogue should say of the store: endpoint=…, region=…, path_style=true, "
        "credentials.access_key_id=env:NAME",
    )  # fmt: skip
    parser.add_argument(
        "--most", type=int, default=2000, metavar="N", help="look into N objects at most (default: 2000)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the catalogue, or write it."""
    path = Path(arguments.out) if arguments.out else Path("drills") / "targets.yaml"
    if arguments.out and path.exists():
        raise UsageProblem(f"{path} exists already", remedy="Write to another file, and merge by hand what you need.")
    found = find(arguments, arguments.place, path)
    text = found.sheet().text
    if arguments.out:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
        print(f"wrote {path}: {summary(found)}")
    else:
        print(text, end="")
        print(summary(found), file=sys.stderr)
    return 0


def find(arguments: argparse.Namespace, places: list[str], path: Path) -> Discovery:
    """Look at the places that were named, with the options of :func:`add_options`."""
    taken: set[str] = set()
    options = _nested(arguments.store_options)
    if arguments.timezone:
        _check_zone(arguments.timezone)
    if arguments.most < 1:
        raise UsageProblem(f"--most {arguments.most}: at least one object must be looked into")
    tell = _teller()
    try:
        found = discover(
            [place_of(where, options, taken) for where in places], path, _STATE,
            references={**_in_environment(), **_absolute(_nested(arguments.key))}, timezone=arguments.timezone,
            most=arguments.most, now=time.time(), tell=tell,
        )  # fmt: skip
        if arguments.baseline:
            from restore_drill.discovery.baseline import add_baselines

            add_baselines(found, tell)
    finally:
        tell("")
    return found


def summary(found: Discovery) -> str:
    """How much was found, in a line."""
    made = sum(not each.missing for each in found.proposals)
    asked = len(found.proposals) - made
    return (
        f"{found.listed} objects, {found.looked} looked into: {made} targets, "
        f"{asked} that need a word from you, {len(found.left_out)} kinds of things left out"
    )


#: What is no text: 007 is some, a password perhaps.
_PLAIN = re.compile(r"true|false|0|[1-9][0-9]{0,17}", re.ASCII)


def _nested(given: list[str]) -> dict[str, Any]:
    """``a.b=value`` as mappings; a value that is JSON's true, false or a number is that."""
    found: dict[str, Any] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise UsageProblem(
                f"{name!r} has no value", remedy="Write NAME=VALUE, such as age.identity=env:BACKUP_KEY."
            )
        *outer, last = name.split(".")
        inner = found
        for part in outer:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise UsageProblem(f"{part!r} is given twice: with a value, and as {name}")
        if isinstance(inner.get(last), dict):
            raise UsageProblem(f"{name!r} is given twice: with a value, and as {name}.{next(iter(inner[last]))}")
        inner[last] = json.loads(value) if _PLAIN.fullmatch(value) else value
    return found


def _absolute(references: dict[str, Any]) -> dict[str, Any]:
    """Files of keys by their whole path: what is relative starts from the catalogue, which is not there yet."""
    found: dict[str, Any] = {}
    for name, keys in references.items():
        if not isinstance(keys, dict):
            raise UsageProblem(
                f"--key {name}=… names no key", remedy="Write FORMAT.NAME=REFERENCE: age.identity=env:KEY."
            )
        found[name] = {
            key: f"file:{Path(value.removeprefix('file:')).expanduser().resolve()}"
            if isinstance(value, str) and value.startswith("file:")
            else value
            for key, value in keys.items()
        }
    return found


def _in_environment() -> dict[str, Any]:
    """The keys that a printed catalogue looks for in the environment, where they are there already."""
    found: dict[str, Any] = {}
    for (codec, _), (name, reference) in KEYS.items():
        if os.environ.get(reference.removeprefix("env:")) and not load("codecs", codec).options:
            found.setdefault(codec, {})[name] = reference
    return found


def _check_zone(name: str) -> None:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise UsageProblem(
            f"{name!r} is no time zone", remedy="Write one of the IANA database: Europe/Berlin."
        ) from None


def _teller() -> Callable[[str], None]:
    if not sys.stderr.isatty():
        return lambda what: None  # noqa: ARG005 - nobody watches
    return lambda what: print(f"\x1b[K{printable(what)[:100]}", end="\r", file=sys.stderr, flush=True)
