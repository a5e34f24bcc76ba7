"""What a target's ``engine_options`` may say to the ``mysql`` and ``mariadb`` engines."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from restore_drill.engines.mysql.recognise import MARIADB, MYSQL
from restore_drill.errors import UsageProblem

_NAMES: Final = ("server", "version", "database", "lower_case_table_names")
_VERSION: Final = re.compile(r"\d{1,2}\.\d{1,2}")


@dataclass(frozen=True, slots=True)
class Settings:
    """The options, checked; ``""`` where nothing is said."""

    server: str = ""
    version: str = ""
    database: str = ""
    lower_case_table_names: int = 0


def settings(given: Mapping[str, Any]) -> Settings:
    """Check what the catalogue says.

    Raises:
        UsageProblem: There is no such option, or it has no such value.
    """
    if unknown := sorted(set(given) - set(_NAMES)):
        raise UsageProblem(
            f"the mysql engine has no option {', '.join(unknown)}", remedy=f"It has {', '.join(_NAMES)}."
        )
    values: dict[str, Any] = {name: str(value) if name == "version" else value for name, value in given.items()}
    found = Settings(**values)
    good = {
        "server": found.server in ("", MYSQL, MARIADB),
        "version": not found.version or bool(_VERSION.fullmatch(found.version)),
        "database": isinstance(found.database, str) and len(found.database) <= 64 and "\0" not in found.database,
        "lower_case_table_names": found.lower_case_table_names in (0, 1),
    }
    if wrong := [name for name, fine in good.items() if not fine]:
        raise UsageProblem(
            f"the mysql engine's option {wrong[0]} has a wrong value",
            remedy='server is mysql or mariadb, version is like "10.11", database is a name, '
            "lower_case_table_names is 0 or 1.",
        )
    return found
