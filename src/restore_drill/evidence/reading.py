"""Reading evidence: of this form only, since what is misread is worse than what is refused."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from restore_drill.errors import CouldNotVerify

#: Name and version of the document's form.
FORM = "restore-drill/evidence/2"


def load(raw: bytes, where: str = "") -> dict[str, Any]:
    """An evidence document.

    Args:
        raw: Its bytes.
        where: Where they are from, for the message.

    Raises:
        CouldNotVerify: It is no JSON object, or of a form that this release does not know (which is named).
    """
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError) as problem:
        raise _unreadable("it is not JSON", where) from problem
    if not isinstance(found, dict) or "form" not in found:
        raise _unreadable("it names no form", where)
    if found["form"] != FORM:
        raise _unreadable(f"it has the form {str(found['form'])[:80]!r}, this release knows {FORM}", where)
    return found


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema of the form (draft 2020-12)."""
    found: dict[str, Any] = json.loads(files("restore_drill.evidence").joinpath("schema.json").read_bytes())
    return found


def _unreadable(how: str, where: str) -> CouldNotVerify:
    return CouldNotVerify(
        f"this is no evidence that can be read: {how}",
        looked_at=where,
        remedy="Read it with the release that wrote it, or drill again.",
    )
