"""What a snapshot that is not the newest is judged by: itself, and not what is right of today's.

Its age is not judged, nor what lies around it in the store. A catalogue's numbers (exactly 59 rows, at least 1000
files) and bounds against earlier drills speak of the newest snapshot: healthy data grows, is purged, and was smaller
once. Of such a rule stays that what must not be empty is not. What was recorded beside the snapshot, its digest, its
manifest and its counts, is judged as ever; and so are questions, unless ``expect.newest_only`` says otherwise.
"""

from __future__ import annotations

from typing import Any

#: The cases that an older snapshot can have; ``expect.newest_only`` takes some of them away.
CASES = frozenset({
    "located", "fetched", "checksum", "encrypted", "unpacks", "chain", "restores", "rto", "integrity", "rows", "query",
    "files", "newest", "smoke", "check", "disposed",
})  # fmt: skip
LIMIT = (
    "an older snapshot: its age, gaps around it and its structure are not judged, and of rules with numbers of rows, "
    "files or bytes only that they are not zero"
)


def relaxed(model: Any) -> Any:
    """A target's model as it holds for its older snapshots."""
    expect = model.expect
    rows, files = _rows(expect.rows), _files(expect.files)
    changed = expect.model_copy(update={"rows": rows, "files": files, "structure": "off"})
    return model.model_copy(update={"expect": changed})


def relaxed_copy(model: Any) -> Any:
    """A copy's model as it holds for its older snapshots: what points to the newest says nothing of them."""
    return model.model_copy(update={"latest": None}) if model.latest else model


def _rows(rows: Any) -> Any:
    if rows is None:
        return None
    tables = {name: rule for name, each in rows.tables.items() if (rule := _row_rule(each)) is not None}
    default = _row_rule(rows.default) if rows.default is not None else None
    return rows.model_copy(update={"tables": tables, "default": default}) if tables or default else None


def _row_rule(rule: Any) -> Any:
    least = 1 if rule.exact or rule.min else None
    if least is None and not rule.recorded:
        return None
    return rule.model_copy(update={"exact": None, "min": least, "max": None, "max_drop": None})


def _files(rule: Any) -> Any:
    if rule is None:
        return None
    bounds = {name: 1 if getattr(rule, name) else None for name in ("min", "min_bytes")}
    return rule.model_copy(update={**bounds, "max": None, "max_bytes": None, "max_drop": None})
