"""What the examination of a restored system gathers: problems, remarks, and what could not be looked at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

#: How many names a message holds, and how many lines of a tool the details.
_NAMES: Final = 5
_DETAILS: Final = 200

#: What may stand in a faithful backup: a note, unless ``expect.strict`` lists it.
STRICTNESS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "not_valid": "constraints that were never validated (NOT VALID), so that rows may break them",
        "unpopulated": "materialised views that answer nothing before they are refreshed",
        "sequences": "sequences whose next value their column has already",
        "invalid_index": "indexes that are not used, because building them was broken off",
        "disabled_trigger": "triggers, those of foreign keys among them, that are switched off",
        "unlogged": "unlogged tables, of which a base backup has no rows",
        "collation": "text that was sorted by another version of a collation (always a problem of a base backup)",
        "checksums_off": "a base backup without data checksums, so that damage inside a page may go unseen",
        "foreign_tables": "foreign tables, whose rows are in no backup",
        "subscriptions": "subscriptions and foreign servers, which would reach out (the sandbox holds them)",
        "event_triggers": "event triggers, which run when somebody changes the schema or logs in",
        "unread_indexes": "hash, GIN, GiST, SP-GiST and BRIN indexes that no extension of this server can read",
        "missing_roles": "roles that the dump names and does not bring; they were made without login",
        "extension_version": "extensions that the server has in another version than the backup",
    }
)


@dataclass(slots=True)
class Findings:
    """Gathered by one examination after the other."""

    problems: list[dict[str, Any]] = field(default_factory=list)
    remarks: list[dict[str, Any]] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    def problem(self, rule: str, message: str, count: int = 1, details: Iterable[str] = ()) -> None:
        """Something is wrong."""
        self.problems.append({"rule": rule, "message": message, "count": count})
        self.detail(details)

    def remark(self, rule: str, message: str, names: Iterable[str] = (), count: int = 0) -> None:
        """Something that a faithful backup may contain; names are told after the message."""
        assert rule in STRICTNESS, rule  # noqa: S101 - what can be remarked can be strict
        known = list(names)
        told = f"{message}: {several(known)}" if known else message
        self.remarks.append({"rule": rule, "message": told, "count": count or len(known) or 1})

    def detail(self, lines: Iterable[str]) -> None:
        """For the terminal only."""
        self.details += list(lines)[: max(0, _DETAILS - len(self.details))]

    def facts(self) -> dict[str, Any]:
        """As :meth:`restore_drill.engines.base.Restored.integrity` returns it."""
        return {
            "problems": self.problems, "remarks": self.remarks, "undone": self.undone, "checked": self.checked,
            "details": self.details,
        }  # fmt: skip


def several(names: Iterable[str]) -> str:
    """The first names of many."""
    known = sorted(names)
    more = f" and {len(known) - _NAMES} more" if len(known) > _NAMES else ""
    return ", ".join(known[:_NAMES]) + more
