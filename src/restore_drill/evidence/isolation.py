"""Where a backup was brought back: what that was cut off from, that it was not production, and that it is gone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from restore_drill.evidence.account import Recorded
from restore_drill.evidence.moments import stamp

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def isolation(account: Recorded, host: str) -> dict[str, Any]:
    """The sandbox of a restore that ended or broke, as it and its engine report it; ``{}`` when there was none.

    Args:
        account: The drill.
        host: Where the run took place.
    """
    restore = account.facts("restore")
    sandbox: Mapping[str, Any] = restore.get("sandbox") or {}
    if not sandbox:
        return {}
    facts: Mapping[str, Any] = restore.get("facts") or {}
    found: dict[str, Any] = {"kind": sandbox.get("kind", ""), "network": str(sandbox.get("network", "not known"))}
    if sandbox.get("image"):
        found["image"] = sandbox["image"]
        told = " ".join([*sandbox.get("image_digests", ()), str(sandbox.get("image_id", ""))])
        found |= {"image_digest": match[0]} if (match := _DIGEST.search(told)) else {}
    if facts.get("system_identifier"):
        found["system_identifier"] = str(facts["system_identifier"])
    return {**found, "proof": [*_cut_off(sandbox), *_another(facts), f"restored on the host {host}"]}


def _cut_off(sandbox: Mapping[str, Any]) -> Iterator[str]:
    network = sandbox.get("network")
    if network == "none":
        reported = "as the container engine reports it" if sandbox.get("engine") else "no interface of it is up"
        yield f"no network: {reported}"
    else:
        yield f"the network was not cut off: {network or 'not known'}"
    if sandbox.get("processes") == "own":
        yield "processes of its own namespace only"
    if sandbox.get("writes") == "sandbox directory":
        yield f"writes confined to its directory (Landlock {sandbox.get('landlock')})"
    if sandbox.get("authentication"):
        yield f"authentication: {sandbox['authentication']}"
    if sandbox.get("capabilities") == []:
        yield "no capability of root"


def _another(facts: Mapping[str, Any]) -> Iterator[str]:
    """What the restored system itself says."""
    identifier = facts.get("system_identifier")
    if identifier and facts.get("kind") == "physical":
        yield f"the cluster is a copy of the original's files (system_identifier {identifier}), started apart from it"
    elif identifier:
        yield f"a cluster of its own, made for this drill: system_identifier {identifier}"
    if facts.get("archive_mode"):
        yield f"archive_mode {facts['archive_mode']}"


def disposal(account: Recorded) -> dict[str, Any]:
    """What became of the restored copy; ``{}`` when the drill came to none, or ended before it was disposed of."""
    line = next((each for each in account.measured if each.get("stage") == "dispose"), None)
    if line is None:
        return {}
    facts: Mapping[str, Any] = line["facts"] or {}
    left, kept = int(facts.get("left", 0)), bool(facts.get("kept"))
    ended = datetime.fromisoformat(line["started"]) + timedelta(seconds=line["seconds"])
    return {
        "at": stamp(ended),
        "confirmed": list(_confirmed(facts, left, kept)),
        "left": left,
        **({"kept": True} if kept else {}),
        **({"reason": str(facts["reason"])} if left and facts.get("reason") else {}),
    }


def _confirmed(facts: Mapping[str, Any], left: int, kept: bool) -> Iterator[str]:
    if not left and not kept:
        yield "everything below its work directory was removed"
    if facts.get("confirmed"):
        yield str(facts["confirmed"])
