"""The place to look at: a store as a catalogue would have it, checked as one before it is contacted."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from restore_drill.catalogue.load import load
from restore_drill.catalogue.problems import CatalogueInvalid
from restore_drill.codecs.base import Given
from restore_drill.discovery.naming import plain
from restore_drill.errors import UsageProblem
from restore_drill.registry import store_class
from restore_drill.stores.base import Store

_URL = re.compile(r"[a-z][a-z0-9+.-]*:", re.I)
#: Where nothing is ever written while a place is only looked at.
_NOWHERE = "/nonexistent/restore-drill"
_MEDIA = {"file": "disk", "sftp": "disk"}


@dataclass(frozen=True, slots=True)
class Place:
    """A store to look at.

    Attributes:
        name: What it is called in the catalogue.
        raw: Its keys, as the catalogue has them.
    """

    name: str
    raw: Mapping[str, Any]

    @property
    def url(self) -> str:
        """Where it is."""
        return str(self.raw["url"])


def place_of(where: str, options: Mapping[str, Any], taken: set[str]) -> Place:
    """The place that an argument names: a url, or a directory of this machine.

    Args:
        where: As it was given.
        options: Further keys of the store.
        taken: Names that are given already; the new one is added.

    Raises:
        UsageProblem: It is no directory.
    """
    url = where
    if not _URL.match(where) or (where.startswith("file:") and not where.startswith("file:///")):
        directory = Path(os.path.expanduser(where.removeprefix("file:")))  # noqa: PTH111 - one without a home stays
        if not directory.is_dir():
            raise UsageProblem(
                f"{where!r} is neither a directory nor a url", remedy="Write s3://bucket/prefix, or a path."
            )
        url = f"file://{directory.resolve()}"
    scheme = url.partition(":")[0].lower()
    base = re.sub(r"[^A-Za-z0-9_-]+", "-", url.rstrip("/").rpartition("/")[2] or scheme).strip("-_") or scheme
    base = plain(base, scheme)
    name, number = base[:40], 2
    while name.lower() in taken:
        name, number = f"{base[:40]}-{number}", number + 1
    taken.add(name.lower())
    remote = {} if scheme == "file" else dict(options)
    return Place(name, {"url": url, "media": _MEDIA.get(scheme, "object-storage"), **remote})


def open_place(place: Place, decrypt: Mapping[str, Mapping[str, Any]]) -> tuple[Store, dict[str, Given]]:
    """Its store, and the key material as drills have it.

    Args:
        place: The store.
        decrypt: What stands under ``decrypt``, by format.

    Raises:
        UsageProblem: The store, or what decrypts, is not as a catalogue may have it.
    """
    target = {
        "tier": "archival", "engine": "files", "frozen": True, "copies": {place.name: {"path": "any"}},
        **({"decrypt": dict(decrypt)} if decrypt else {}),
    }  # fmt: skip
    raw = {
        "version": 1, "state": f"file:{_NOWHERE}/state", "stores": {place.name: dict(place.raw)},
        "targets": {"any": target},
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="restore-drill-discover-") as directory:
        path = Path(directory) / "place.yaml"
        path.write_text(yaml.safe_dump(raw), "utf-8")
        try:
            copy = load(path, reports=Path(_NOWHERE) / "reports").targets[0].copies[0]
        except CatalogueInvalid as problem:
            said = "; ".join(f"{each.message}{f' ({each.hint})' if each.hint else ''}" for each in problem.problems)
            raise UsageProblem(f"this place cannot be looked at: {said}", looked_at=place.url) from None
    # Beginnings are read only: of several connections each would fetch megabytes that nobody looks at.
    return store_class(place.url)(replace(copy.settings, ranges=1)), copy.decrypt
