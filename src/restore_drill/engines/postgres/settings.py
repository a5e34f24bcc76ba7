"""The ``engine_options`` of a target whose engine is ``postgres``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from restore_drill.errors import BackupFailed, UsageProblem
from restore_drill.model import Stage

_VERSION: Final = re.compile(r"9\.[0-6]|[1-9]\d")
#: Those of dumps, and those of base backups (:mod:`.physical`).
_OPTIONS: Final = ("version", "database", "roles", "preload", "superuser", "atomic")
_NAME_LIMIT: Final = 63


@dataclass(frozen=True, slots=True)
class Settings:
    """What the catalogue says about restoring.

    Attributes:
        version: Major version of the server to restore into; ``""``: the newest that the dump speaks of.
        database: The database that is examined, and that must be in the backup; ``""``: the only one, or the biggest.
        roles: Roles to make although the dump does not seem to need them.
    """

    version: str = ""
    database: str = ""
    roles: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Check what the catalogue gives.

        Raises:
            UsageProblem: An option does not exist, or has a wrong value.
        """
        if unknown := sorted(set(given) - set(_OPTIONS)):
            raise UsageProblem(
                f"the postgres engine has no option {', '.join(unknown)}", remedy=f"It has {', '.join(_OPTIONS)}."
            )
        version, database, roles = str(given.get("version", "")), given.get("database", ""), given.get("roles", ())
        good = {
            "version": not version or _VERSION.fullmatch(version),
            "database": _is_name(database) or database == "",
            "roles": isinstance(roles, list | tuple) and all(map(_is_name, roles)),
        }
        if wrong := [name for name, fine in good.items() if not fine]:
            raise UsageProblem(
                f"the postgres engine's option {wrong[0]} has a wrong value",
                remedy="version is a major version (15), database is a name, roles is a list of names.",
            )
        return cls(version, database, tuple(roles))


def no_such_database(name: str, came: Sequence[str]) -> BackupFailed:
    """The error for a backup that lacks the database that the catalogue names."""
    return BackupFailed(
        f"the backup has no database {name}",
        looked_at=f"what came back: {', '.join(came[:20]) or 'none'}",
        remedy="Look at which database the backup job reads, or correct engine_options.database.",
        stage=Stage.RESTORE,
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value.encode()) <= _NAME_LIMIT and "\0" not in value
