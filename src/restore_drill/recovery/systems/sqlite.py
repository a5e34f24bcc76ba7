"""SQLite: a database file, or a text of SQL that is read into a new one."""

from __future__ import annotations

from restore_drill.recovery.book import Command, WrittenStep
from restore_drill.recovery.systems.base import CD, COMPARED, Placed, identifier, labelled, literal

_SHELL = "sqlite3 -batch -bail -init /dev/null"


class Sqlite(Placed):
    """One database file."""

    #: A write-ahead log that belongs to the old database would be taken for the new one's.
    beside = ("-wal", "-shm", "-journal")

    def restore(self) -> list[WrittenStep]:
        """Read the text into a new database, or take the file with what belongs to it."""
        self.parts.needs("sqlite3")
        into = f"restored/{self.name}"
        main = self.places[0]
        if self.drilled.format == "sql-text":
            read = (CD, Command(f"{_SHELL} {into} <{main}"))
            return [WrittenStep("Read the dump into a new database", read, "The first error ends it.")]
        commands: tuple[Command, ...] = (CD, Command(f"mv -- {main} {into}"))
        stem = self.drilled.stored[0].name
        for stored, place in zip(self.drilled.stored[1:], self.places[1:], strict=True):
            commands += (Command(f"mv -- {place} {into}{stored.name.removeprefix(stem)}"),)
        if len(self.places) > 1:
            commands += (Command(f"{_SHELL} {into} 'pragma wal_checkpoint(truncate)' >checkpoint"),)
        return [WrittenStep("Set the database apart", commands)]

    def verify(self) -> WrittenStep:
        """Its own checks, and as many rows as the drill counted."""
        self.parts.needs("diff")
        asked, expected = ["pragma integrity_check;"], ["ok"]
        if self.drilled.target.model.expect.integrity == "full":
            asked.append("pragma foreign_key_check;")
        counts = labelled(self.drilled.counts())
        asked += [
            f"select {literal(table)}, count(*) from {identifier(table)};"  # noqa: S608 - quoted
            for table, _ in counts
        ]
        expected += [f"{table}|{count}" for table, count in counts]
        commands = (
            CD,
            Command(f"{_SHELL} restored/{self.name} >answers", tuple(asked)),
            Command("diff - answers", tuple(expected)),
            self.accept(),
        )
        return WrittenStep("Ask the database", commands, COMPARED)
