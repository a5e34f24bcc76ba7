"""Making a server ready for dumps: what it has, what they need, and what has to be made before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from restore_drill.engines.base import UNNAMED
from restore_drill.engines.postgres.server import PostgresServer, identifier
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage

if TYPE_CHECKING:
    from restore_drill.engines.postgres.logical import Plan

#: Databases that every server has.
OWN: Final = frozenset({"postgres", "template0", "template1"})
_IN_PLACE: Final = "allow_in_place_tablespaces"
_SPACES: Final = frozenset({"pg_default", "pg_global", ""})
_SHOWN: Final = 10
#: Statements that one execution is given.
_AT_ONCE: Final = 200
_HAS: Final = (
    "SELECT rolname FROM pg_roles",
    "SELECT name FROM pg_available_extensions",
    "SELECT name FROM pg_settings",
    "SELECT collcollate FROM pg_collation UNION SELECT collctype FROM pg_collation",
    "SELECT datcollate FROM pg_database WHERE datname = 'template0'",
)


@dataclass(slots=True)
class Loaded:
    """What is being loaded: the databases that dumps are aimed at, and remarks.

    Attributes:
        aims: The database of each dump, in their order.
        parameters: Names of the parameters that the server has.
        locales: Locales that it has, in the form of :func:`same_locale`.
        locale: That of its own databases.
        roles: How many roles dumps bring.
        stood_in: How many were made because dumps speak of them and do not bring them.
        unnamed: Of the databases, those that no dump has a name for.
    """

    aims: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: list[dict[str, Any]] = field(default_factory=list)
    parameters: set[str] = field(default_factory=set)
    locales: set[str] = field(default_factory=set)
    locale: str = "C"
    roles: int = 0
    stood_in: int = 0
    unnamed: list[str] = field(default_factory=list)

    @property
    def in_place(self) -> bool:
        """Whether tablespaces can be made inside the data directory (PostgreSQL 10 and later, by minor version)."""
        return _IN_PLACE in self.parameters

    def note(self, text: str) -> None:
        """Remark something, once."""
        if text not in self.notes:
            self.notes.append(text)


def prepare(server: PostgresServer, plan: Plan) -> Loaded:
    """Look for what dumps need, and make what they speak of and do not contain: roles, tablespaces, databases.

    Raises:
        CouldNotVerify: An extension is not installed.
    """
    loaded = Loaded()
    answers = server.ask("postgres", _HAS, seconds=plan.left)
    if problem := next((answer.problem for answer in answers if answer.problem), None):
        raise problem
    roles, extensions, loaded.parameters, locales, own = ({str(row[0]) for row in each.rows} for each in answers)
    loaded.locale = own.pop()
    loaded.locales = {same_locale(name) for name in locales | {loaded.locale, "C", "POSIX"}}
    _require(extensions, plan)
    statements = _roles(roles, plan, loaded) + _tablespaces(plan, loaded) + _databases(plan, loaded)
    _execute(server, plan, statements, loaded)
    return loaded


def same_locale(name: str) -> str:
    """A locale's name in the form in which equal ones are equal: ``en_us.utf8``."""
    return name.lower().replace("-", "")


def shown(names: Iterable[str]) -> str:
    """The first of many names."""
    ordered = sorted(names)
    return ", ".join(ordered[:_SHOWN]) + (f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else "")


def _require(extensions: set[str], plan: Plan) -> None:
    missing = sorted({name for dump in plan.dumps for name in dump["extensions"]} - extensions)
    if missing:
        raise CouldNotVerify(
            f"the dump needs {'extensions that are' if len(missing) > 1 else 'an extension that is'} not installed: "
            f"{shown(missing)}",
            remedy="Name an image that has them (sandbox: {image: ...}), or install their packages beside the server's "
            "programs.",
            stage=Stage.RESTORE,
        )


def _roles(known: set[str], plan: Plan, loaded: Loaded) -> list[str]:
    created = {role for dump in plan.dumps for role in dump.get("created_roles", ())}
    loaded.roles = len(created)
    wanted = {role for dump in plan.dumps for role in dump["roles"]} | set(plan.settings.roles)
    stubs = sorted(role for role in wanted - created - known if not role.startswith("pg_"))
    loaded.stood_in = len(stubs)
    if stubs:
        told = f"roles that the dump speaks of and does not contain were made, NOLOGIN: {shown(stubs)}"
        loaded.note(told)
        loaded.remarks.append({"rule": "missing_roles", "message": told, "count": len(stubs)})
    return [f"CREATE ROLE {identifier(role)} NOLOGIN" for role in stubs]


def _tablespaces(plan: Plan, loaded: Loaded) -> list[str]:
    """Archives come back without theirs; scripts cannot."""
    spaces = {space for dump in plan.dumps for space in dump["tablespaces"]} - _SPACES
    if not spaces:
        return []
    loaded.note(f"tablespaces of the dump are inside of the sandbox's own: {shown(spaces)}")
    scripts = {space for dump in plan.dumps if dump["form"] == "script" for space in dump["tablespaces"]} - _SPACES
    return (
        [f"CREATE TABLESPACE {identifier(space)} LOCATION ''" for space in sorted(scripts)] if loaded.in_place else []
    )


def _databases(plan: Plan, loaded: Loaded) -> list[str]:
    """Those that dumps do not make themselves, by the names that they had."""
    statements = []
    for dump in plan.dumps:
        name = _aim(dump, plan, loaded)
        loaded.aims.append(name)
        if name not in OWN:
            ascii_only = str(dump["encoding"]).upper() == "SQL_ASCII"
            how = " ENCODING 'SQL_ASCII' LOCALE 'C'" if ascii_only else ""
            statements.append(f"CREATE DATABASE {identifier(name)} TEMPLATE template0{how}")
    return statements


def _aim(dump: dict[str, Any], plan: Plan, loaded: Loaded) -> str:
    if dump["form"] == "script" and (dump["databases"] or dump["created_roles"] or not dump["statements"]):
        return "postgres"
    # No name of a server is longer; one that is was never a database's.
    known = str(dump["database"]).encode()[:63].decode(errors="ignore") or plan.settings.database
    base = known or UNNAMED
    name, number = base, 1
    while name in loaded.aims and name not in OWN:
        number += 1
        name = f"{base[:50]}_{number}"
    if not known:
        loaded.unnamed.append(name)
    return name


def _execute(server: PostgresServer, plan: Plan, statements: Sequence[str], loaded: Loaded) -> None:
    settings = {_IN_PLACE: "on"} if loaded.in_place else None
    for begin in range(0, len(statements), _AT_ONCE):
        these = statements[begin : begin + _AT_ONCE]
        answers = server.ask("postgres", these, seconds=plan.left, settings=settings)
        if problem := next((answer.problem for answer in answers if answer.problem), None):
            problem.stage = Stage.RESTORE
            raise problem
