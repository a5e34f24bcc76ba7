"""MySQL and MariaDB: a dump, loaded into a database that must not exist yet, as these servers cannot rename one."""

from __future__ import annotations

from restore_drill.recovery.book import Command, Variable, WrittenStep
from restore_drill.recovery.prose import code, quoted
from restore_drill.recovery.systems.base import (
    CD,
    CHANGED,
    IS_CHANGED,
    REFUSES,
    TAKEN_BACK,
    Served,
    databases,
    stands_in,
)

_DEFINERS = r"s/^(\/\*!|CREATE ).*DEFINER=(`[^`]+`@`[^`]+`).*$/\2/p"


class Mysql(Served):
    """One database of a server that runs."""

    @property
    def name(self) -> str:
        """The database's name."""
        return self._all[0]

    @property
    def _all(self) -> list[str]:
        """The databases that the dump makes, the one that was examined first; the target's name where it has none."""
        return databases(self.drilled) or [self.drilled.target.name]

    @property
    def _client(self) -> str:
        engine = self.drilled.target.model.engine
        program = "mariadb" if engine == "mariadb" else "mysql"
        self.parts.needs(program, "diff")
        return f"{program} --batch --raw --skip-column-names --default-character-set=utf8mb4"

    def restore(self) -> list[WrittenStep]:
        """Make the database, and load it."""
        self.parts.takes(Variable("MYSQL_HOST", "the server; user and password stand in `~/.my.cnf`", "db.example"))
        create = f"create database {_identifier(self.name)}"
        names = ", ".join(_literal(name) for name in self._all)
        there = f"select schema_name from information_schema.schemata where schema_name in ({names})"  # noqa: S608
        commands = (
            CD,
            *self.absent(f"{self._client} --execute {quoted(there)}"),
            Command(f"{self._client} --execute {quoted(create)}"),
            CHANGED,
            Command(f"{self._client} {quoted(self.name)} <{self.places[0]}"),
        )
        about = (
            f"It makes {', '.join(code(name) for name in self._all)}. What exists is never overwritten: it "
            "stops before. Restore on a server that has none, or save the old one and drop it first."
        )
        return [*self._accounts(), WrittenStep("Load the dump", commands, about)]

    def _accounts(self) -> list[WrittenStep]:
        """Make the accounts whose views and triggers the dump brings, where the drill had to as well."""
        if not stands_in(self.drilled):
            return []
        self.parts.needs("sed", "sort")
        place = _escaped(_identifier(self.name))
        made = f"create user if not exists \\1 account lock; grant all privileges on {place}.* to \\1;"
        listed = f"sed -nE {quoted(_DEFINERS)} {self.places[0]} | sort -u"
        commands = (
            CD,
            Command(f"{listed} | sed -E {quoted(f's/^(.*)$/{made}/')} >accounts"),
            Command(f"{self._client} <accounts"),
        )
        about = (
            "Its views, triggers or routines belong to accounts that the dump does not contain. Best have them back "
            "from where accounts are saved; whatever is missing is made here, locked."
        )
        return [WrittenStep("Make the accounts", commands, about)]

    def verify(self) -> WrittenStep:
        """As many rows as the drill counted."""
        return self.compared(
            f"{self._client} {quoted(self.name)}",
            lambda table: f"select concat({_literal(table)}, '|', count(*)) from {self._table(table)};",  # noqa: S608 - quoted
        )

    def go_live(self) -> WrittenStep:
        """Only what was verified is handed over."""
        return self.hand_over()

    def roll_back(self) -> WrittenStep:
        """Drop what was restored."""
        drop = "; ".join(f"drop database {_identifier(name)}" for name in self._all)
        commands = (IS_CHANGED, Command(f"{self._client} --execute {quoted(drop)}"), TAKEN_BACK)
        about = f"Stop what uses it. Nothing was there before; nothing is kept. {REFUSES}"
        return WrittenStep("Drop what was restored", commands, about)

    def _table(self, table: str) -> str:
        """A table as drills name it: of another database than the first behind its name and a dot."""
        database, dot, name = table.partition(".")
        if dot and database in self._all[1:]:
            return f"{_identifier(database)}.{_identifier(name)}"
        return _identifier(table)


def _identifier(text: str) -> str:
    return "`" + text.replace("`", "``") + "`"


def _literal(text: str) -> str:
    """A text of SQL; these servers take a backslash in it for a sign."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _escaped(replacement: str) -> str:
    """What sed puts in; a name may hold what sed takes for a sign."""
    return replacement.replace("\\", "\\\\").replace("/", "\\/").replace("&", "\\&")
