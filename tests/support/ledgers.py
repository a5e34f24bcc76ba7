"""Ledgers to try things on: small documents, keys, and what a suite asks of every kind of ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from restore_drill.ledger import statement
from restore_drill.ledger.base import Head, Ledger, Signer
from restore_drill.ledger.directory import DirectoryLedger
from restore_drill.ledger.envelope import digest_of, open_line, own_part, read_link, seal
from restore_drill.ledger.signing import KeySigner
from restore_drill.ledger.verify import Verification, verify


@cache
def _key(name: str) -> KeySigner:
    return KeySigner.generate()


def key(name: str = "ledger") -> KeySigner:
    """A key of that name, the same throughout a session."""
    return _key(name)


def small(run: str, verdict: str = "passed", user: str = "nightly", **more: Any) -> dict[str, Any]:
    """As little evidence as a ledger can hold."""
    drill = {
        "target": "orders-db",
        "copy": "nas",
        "verdict": verdict,
        "snapshot": {"id": "s", "sha256": {"orders.db": "5" * 64}},
        "cases": [{"case": "located", "verdict": "passed"}, {"case": "rows", "detail": "orders", "verdict": verdict}],
    }
    run_part = {
        "id": run,
        "started": "2026-11-23T02:00:00.000Z",
        "finished": "2026-11-23T02:01:00.000Z",
        "operator": {"user": user, "host": "runner"},
        "ci": {"url": "https://ci.example/1"},
    }
    catalogue = {"path": "/srv/drills/targets.yaml", "sha256": "c" * 64}
    return {"form": "restore-drill/evidence/2", "run": run_part, "catalogue": catalogue, "verdict": verdict,
            "drills": [drill], "targets": [{"target": "orders-db", "cases": [{"case": "3-2-1", "verdict": "passed"}]}],
            "not_run": [], **more}  # fmt: skip


def review_of(ledger: Ledger, place: int, reviewer: str = "alice", **more: Any) -> dict[str, Any]:
    """A review of the run that stands somewhere."""
    entry = next(ledger.entries(place))
    digest = statement.evidence_digest(entry.evidence)
    return {"run": entry.run, "entry": entry.digest, "evidence": digest, "reviewer": reviewer, **more}


def filled(root: Path, count: int = 6, signer: Signer | None = None) -> DirectoryLedger:
    """A ledger of some runs (``r1``, ``r2``, …)."""
    ledger = DirectoryLedger(root)
    for number in range(1, count + 1):
        ledger.append("run", small(f"r{number}", "failed" if number == 2 else "passed"), signer)
    return ledger


def stored(root: Path) -> list[bytes]:
    """The lines of a directory's ledger."""
    return (root / "ledger" / "entries.jsonl").read_bytes().splitlines()


def store(root: Path, lines: Sequence[bytes], head: Head | None = None) -> DirectoryLedger:
    """A directory's ledger of these lines; ``head.json`` stays what it was, unless one is given."""
    (root / "ledger").mkdir(parents=True, exist_ok=True)
    (root / "ledger" / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    if head is not None:
        (root / "ledger" / "head.json").write_text(json.dumps({"sequence": head.sequence, "digest": head.digest}))
    return DirectoryLedger(root)


def head_of(lines: Sequence[bytes]) -> Head:
    """What ``head.json`` should say of these lines."""
    return read_link(lines[-1], "").head


def statement_of(line: bytes) -> dict[str, Any]:
    """What a line states."""
    return own_part(open_line(line).payload)[0]


def forged(line: bytes, stated: Mapping[str, Any]) -> bytes:
    """The line with another payload under the same signature."""
    envelope = json.loads(line)
    other = json.loads(seal(json.dumps(stated, separators=(",", ":")).encode(), None))
    return json.dumps({**envelope, "payload": other["payload"]}, separators=(",", ":")).encode()


def signed(stated: Mapping[str, Any], signer: Signer | None) -> bytes:
    """A line that states something, signed anew."""
    return seal(json.dumps(stated, separators=(",", ":")).encode(), signer)


def chained(lines: Sequence[bytes], signer: Signer | None) -> list[bytes]:
    """All lines signed anew and chained to one another: what who holds the key can make of them."""
    found: list[bytes] = []
    for line in lines:
        stated = statement_of(line)
        stated["predicate"]["restoreDrill"]["previous"] = digest_of(found[-1]) if found else None
        found.append(signed(stated, signer))
    return found


def problems(ledger: Ledger, *names: str, **options: Any) -> list[tuple[int, str]]:
    """What is wrong with it: first entry and name of each problem."""
    return [(each.sequence, each.what) for each in verified(ledger, *names, **options).problems]


def verified(ledger: Ledger, *names: str, **options: Any) -> Verification:
    """Verify by the public halves of some keys."""
    return verify(ledger, [key(name).public for name in names or ("ledger",)], **options)
