"""What must hold of the ledger's keys: one signs where that is required; public ones are there, and are named once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from restore_drill.catalogue.gather import Draft
from restore_drill.catalogue.references import mapping

#: A key is a few hundred bytes; what is longer is something else.
_LONGEST = 65536


def check_ledger(draft: Draft) -> None:
    """Note a key that is missing, and every public key that could not verify anything."""
    ledger = mapping(draft.raw.get("ledger"))
    if ledger.get("required") is True and ledger.get("key") is None:
        message = "signed entries are required, and no key is named that could sign them"
        draft.report(
            ("ledger", "required"), message, "name one under ledger.key: restore-drill ledger init-key makes a pair"
        )
    paths = ledger.get("public_keys")
    seen: set[Path] = set()
    for index, path in enumerate(paths if isinstance(paths, list) else ()):
        if not isinstance(path, str) or not path:
            continue
        place = draft.base / path
        for message, hint in _wrong(place, seen):
            draft.report(("ledger", "public_keys", index), message, hint)
        seen.add(place)


def _wrong(place: Path, seen: set[Path]) -> Iterator[tuple[str, str]]:
    if place in seen:
        yield "this public key is named twice", "leave one of them out"
        return
    try:
        with place.open("rb") as file:
            content = file.read(_LONGEST)
    except OSError as problem:
        reason = f"the public key cannot be read: {problem.strerror}"
        yield reason, "make a pair with restore-drill ledger init-key, or name the right file (relative to this one)"
        return
    if b"PRIVATE KEY" in content:
        yield "this is a private key", "name the public one here, and the private one under ledger.key as a secret"
    elif b"-----BEGIN PUBLIC KEY-----" not in content:
        yield "this is no public key in PEM", "restore-drill ledger init-key writes one, as openssl pkey -pubout does"
