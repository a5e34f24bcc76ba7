"""PostgreSQL: an archive or a script, loaded into a database of another name, which is renamed in the end."""

from __future__ import annotations

from collections.abc import Sequence

from restore_drill.quantities import format_size
from restore_drill.recovery.book import Command, Drilled, Parts, Variable, WrittenStep
from restore_drill.recovery.prose import code, quoted, text
from restore_drill.recovery.systems.base import (
    CD,
    CHANGED,
    IS_CHANGED,
    REFUSES,
    TAKEN_BACK,
    Served,
    accepted,
    databases,
    identifier,
    literal,
    of_restore,
    stands_in,
)

#: Names of roles in statements as pg_dump writes them, each on a line of its own; then what makes each of them.
_NAME = '("[A-Za-z0-9_ .@-]+"|[a-z_][a-z0-9_$]*)'
_SPOKEN_OF = "; ".join(
    f"s/^{statement};$/\\1/p"
    for statement in (
        f"ALTER .* OWNER TO {_NAME}", f"GRANT .* TO {_NAME}( WITH GRANT OPTION)?", f"REVOKE .* FROM {_NAME}",
        f"ALTER DEFAULT PRIVILEGES FOR ROLE {_NAME} .*",
    )
)  # fmt: skip
_MAKE = r"s/^(.*)$/do $make$ begin create role \1 nologin; exception when duplicate_object then null; end $make$;/"
_PSQL = "psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1"


class Postgres(Served):
    """One database of a server that runs."""

    @property
    def name(self) -> str:
        """The database's name."""
        return next(iter(databases(self.drilled)), self.drilled.target.name)

    @property
    def _new(self) -> str:
        return f"{self.name}_restored"

    def restore(self) -> list[WrittenStep]:
        """Load it beside the old one."""
        self._require()
        version = str(of_restore(self.drilled).get("restored_by", ""))
        source, database = self.places[0], quoted(self._new)
        if self._is_script:
            load = Command(f"{_PSQL} --output /dev/null --dbname {database} --file {source}")
        else:
            self.parts.needs("pg_restore")
            load = Command(f"pg_restore --no-password --exit-on-error --dbname {database} {source}")
        commands = (
            CD,
            Command(f"createdb --no-password --template template0 {database}"),
            load,
            Command(f"{_PSQL} --dbname {database} --command analyze"),
        )
        about = (
            f"It is loaded into {code(self._new)}; what runs now is not touched. One that an earlier attempt "
            f"left must go first: `dropdb` it."
        ) + (f" The drill used PostgreSQL {text(version)}." if version else "")
        return [*self._roles(), WrittenStep("Load the dump into a new database", commands, about)]

    def _roles(self) -> list[WrittenStep]:
        """Make the roles that the dump speaks of, where the drill had to as well."""
        if not stands_in(self.drilled):
            return []
        self.parts.needs("sed", "sort")
        source = self.places[0]
        schema = f"cat {source}" if self._is_script else f"pg_restore --schema-only --file - {source}"
        made = f"{schema} | sed -nE {quoted(_SPOKEN_OF)} | sort -u | sed -E {quoted(_MAKE)} >roles"
        commands = (CD, Command(made), Command(f"{_PSQL} --dbname postgres --file roles"))
        about = (
            "The dump speaks of roles that it does not contain. Best have them back with their passwords and "
            "memberships, from what `pg_dumpall --globals-only` has saved; whatever is missing is made here, without a "
            "login."
        )
        return [WrittenStep("Make the roles", commands, about)]

    @property
    def _is_script(self) -> bool:
        return self.drilled.format == "postgres-script"

    def _require(self) -> None:
        self.parts.needs("psql", "createdb", "diff")
        self.parts.takes(Variable("PGHOST", "the server, or the directory of its socket", "db.example"))
        self.parts.takes(Variable("PGPORT", "its port", "5432"))
        self.parts.takes(Variable("PGUSER", "a superuser; the password stands in `~/.pgpass`", "postgres"))
        facts = of_restore(self.drilled)
        came = facts.get("databases") or []
        if facts.get("database_bytes"):
            self.parts.cautions.append(
                f"The server needs {format_size(int(facts['database_bytes']))} for it on its disk."
            )
        if len(came) > 1:
            self.parts.by_hand.append(
                f"The dump holds {len(came)} databases; these commands bring back {code(self.name)} only."
            )

    def verify(self) -> WrittenStep:
        """As many rows as the drill counted."""
        return self.compared(
            f"{_PSQL} --dbname {quoted(self._new)}",
            lambda table: f"select {literal(table)}, count(*) from {_table(table)};",  # noqa: S608 - quoted
        )

    def go_live(self) -> WrittenStep:
        """Rename the old one away and the new one to its name."""
        old, new, kept = self.name, self._new, f"{self.name}_before"
        commands = (
            accepted(self.drilled.target.name),
            Command(f"{_PSQL} --dbname postgres", _at_once(*_moved(old, kept), *_moved(new, old, must=True))),
            CHANGED,
        )
        about = (
            f"Stop what uses {code(old)} first: one that is in use cannot be renamed. The old one becomes {code(kept)}."
        )
        return WrittenStep("Put it in its place", commands, about)

    def roll_back(self) -> WrittenStep:
        """Rename both back."""
        old, aside, kept = self.name, f"{self.name}_rejected", f"{self.name}_before"
        back = _at_once(*_moved(old, aside, must=True), *_moved(kept, old))
        commands = (IS_CHANGED, Command(f"{_PSQL} --dbname postgres", back), TAKEN_BACK)
        about = (
            f"Stop what uses it. What was restored is kept as {code(aside)}, and {code(kept)} is put back. {REFUSES}"
        )
        return WrittenStep("Take back what was there before", commands, about)


class PostgresScript(Postgres):
    """A script that makes its databases itself (``pg_dump --create``, ``pg_dumpall``): none of them may exist."""

    @property
    def _new(self) -> str:
        return self.name

    @property
    def _all(self) -> list[str]:
        return databases(self.drilled)

    def _require(self) -> None:
        super()._require()
        self.parts.by_hand[:] = [line for line in self.parts.by_hand if "bring back" not in line]

    def restore(self) -> list[WrittenStep]:
        """Have the script make them."""
        self._require()
        self.parts.needs("sed")
        names = ", ".join(literal(name) for name in self._all)
        there = quoted(f"select datname from pg_database where datname in ({names})")  # noqa: S608 - quoted
        commands = (
            CD,
            *self.absent(f"{_PSQL} --dbname postgres --command {there}"),
            # A script of a whole cluster would make the role anew that runs it.
            Command(f'sed -E "/^CREATE ROLE \\"?$PGUSER\\"?;/d" {self.places[0]} >script'),
            CHANGED,
            Command(f"{_PSQL} --output /dev/null --dbname postgres --file script"),
            *[Command(f"{_PSQL} --dbname {quoted(name)} --command analyze") for name in self._all],
        )
        about = (
            f"It makes {', '.join(code(name) for name in self._all)}, which must not exist: rename or drop an old one "
            "first, or restore on another server. It stops before otherwise."
        )
        return [*self._roles(), WrittenStep("Load the script", commands, about)]

    def go_live(self) -> WrittenStep:
        """Only what was verified is handed over."""
        return self.hand_over()

    def roll_back(self) -> WrittenStep:
        """Rename what the script made."""
        moved = tuple(line for name in self._all for line in _moved(name, f"{name}_rejected", must=True))
        about = f"Stop what uses it. What was restored is kept under names that end in `_rejected`. {REFUSES}"
        commands = (IS_CHANGED, Command(f"{_PSQL} --dbname postgres", _at_once(*moved)), TAKEN_BACK)
        return WrittenStep("Set aside what was restored", commands, about)


def postgres(drilled: Drilled, places: Sequence[str], parts: Parts) -> Postgres:
    """As a script that makes its databases, or as a dump of one."""
    made = [name for name in databases(drilled) if name not in of_restore(drilled).get("provided", ())]
    kind = PostgresScript if drilled.format == "postgres-script" and made else Postgres
    return kind(drilled, places, parts)


def _at_once(*statements: str) -> tuple[str, ...]:
    """All or nothing: between two names there would be no database at all."""
    return ("begin;", *statements, "commit;")


def _moved(old: str, new: str, *, must: bool = False) -> tuple[str, ...]:
    """Rename a database, where there is one of that name or must be."""
    rename = f"alter database {identifier(old)} rename to {identifier(new)}"
    if must:
        return (f"{rename};",)
    return (f"select {literal(rename)} from pg_database where datname = {literal(old)} \\gexec",)  # noqa: S608 - quoted


def _table(table: str) -> str:
    """A table as drills name it: of the schema ``public``, or behind its schema and a dot."""
    schema, dot, name = table.partition(".")
    return f"{identifier(schema)}.{identifier(name)}" if dot else f"public.{identifier(table)}"
