"""SQLite databases: copies of the file, with or without a log, and SQL text as ``.dump`` writes it.

Nothing here touches restored bytes: what does is in :mod:`.sqlite_probe`, :mod:`.sqlite_query` and :mod:`.sqlite_text`,
which run inside the sandbox.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from restore_drill.engines.base import Engine, Restored, RestoreOptions, Sample
from restore_drill.engines.crashes import crashed
from restore_drill.engines.sqlite_format import DATABASE, SQL_TEXT, recognise
from restore_drill.errors import (
    BackupFailed,
    CouldNotVerify,
    DeadlineExceeded,
    RestoreDrillError,
    SandboxDied,
    UsageProblem,
)
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.quantities import format_size
from restore_drill.sandboxes.base import Pending, Sandbox

_PROBE: Final = "restore_drill.engines.sqlite_probe"
_QUERY: Final = "restore_drill.engines.sqlite_query"
_TEXT: Final = "restore_drill.engines.sqlite_text"
#: Seconds that the probe has to answer with what it knows, after its own deadline and before the sandbox ends it.
_GRACE: Final = 10.0
#: Which measurement a planned case needs.
_NEEDS: Final = {"integrity": ("integrity",), "structure": ("structure", "rows"), "rows": ("rows",)}
_ERRORS: Final = {kind.__name__: kind for kind in (BackupFailed, CouldNotVerify, DeadlineExceeded)}


class SqliteEngine(Engine):
    """SQLite 3."""

    name: ClassVar[str] = "sqlite"
    forms: ClassVar[tuple[PayloadForm, ...]] = (PayloadForm.FILE, PayloadForm.TREE)
    sandboxes: ClassVar[tuple[str, ...]] = ("directory", "container")
    functions_inside: ClassVar[bool] = True
    checks: ClassVar[frozenset[str]] = frozenset({"integrity", "structure", "rows", "query", "newest"})

    @classmethod
    def recognises(cls, head: bytes) -> str | None:
        """``sqlite-database`` or ``sql-text``; the dumps of other products are neither."""
        return recognise(head)

    def restore(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Restored:
        """Put the database in place, or load the text into a fresh one.

        The option ``database`` names the file, relative to the root, where a tree was backed up.

        Raises:
            BackupFailed: SQLite refuses it, it is cut, its log is another database's, or nothing came back.
            CouldNotVerify: Time, memory or disk did not suffice, or a newer SQLite wrote it.
            UsageProblem: The catalogue gives this engine an option that it does not have.
        """
        function, arguments = _how(payloads[-1], sandbox.work, _database_option(options.settings))
        arguments |= {"allow_empty": options.allow_empty, "seconds": options.deadline}
        try:
            answer = sandbox.call(function, arguments, deadline=options.deadline + _GRACE)
        except SandboxDied as problem:
            raise crashed(problem, "the database", "SQLite", Stage.RESTORE) from problem
        return RestoredSqlite(sandbox, options, answer)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """A good database and dump, and damaged ones; see :mod:`.sqlite_samples`."""
        from restore_drill.engines.sqlite_samples import samples

        yield from samples()


class RestoredSqlite(Restored):
    """A database in a sandbox, in a file of its own."""

    def __init__(self, sandbox: Sandbox, options: RestoreOptions, answer: Mapping[str, Any]) -> None:
        self._sandbox = sandbox
        self._options = options
        self._database = str(answer["path"])
        self._measured: dict[str, Any] = {}
        self._pending: tuple[Pending, frozenset[str]] | None = None
        facts = dict(answer["facts"])
        summary = f"a SQLite database of {format_size(facts['bytes'])} with {facts['tables']} tables"
        self.facts = {"summary": summary, **facts}
        self.notes = list(answer.get("notes", ()))

    def prepare(self, wanted: frozenset[str]) -> None:
        """Begin to measure what the planned cases will ask for, all in one call that uses every core it may."""
        needed = {f"integrity {self._options.integrity}" if name == "integrity" else name for name in _needed(wanted)}
        missing = frozenset(needed - self._measured.keys())
        if missing and self._pending is None:
            self._pending = (self._submit(missing), missing)

    def integrity(self, mode: str = "full") -> dict[str, Any]:
        """SQLite's own checks: ``integrity_check``, ``foreign_key_check``, and those of FTS and R-tree tables.

        Returns:
            ``problems`` (``rule`` is ``foreign_key`` for orphans), ``checked``, ``total`` (a lower bound when
            ``at_least``), ``notes`` on what cannot be checked, and ``details``: SQLite's own lines.

        Raises:
            BackupFailed: Reading it crashed SQLite.
            CouldNotVerify: The checks did not come to an end, and found nothing until then.
        """
        found: dict[str, Any] = self._measure(f"integrity {mode}")
        return found

    def structure(self) -> dict[str, list[str]]:
        """Tables, virtual tables, indexes, views and triggers; SQLite's internal ones are left out."""
        found: dict[str, list[str]] = self._measure("structure")
        return found

    def row_counts(self) -> dict[str, int]:
        """Exact rows of every table; of virtual ones where they own their content (FTS, R-tree). Views have none."""
        found: dict[str, int] = self._measure("rows")
        return found

    def query(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:
        """The rows of one read-only statement, 10,000 or 16 MiB at most.

        A BLOB, and a text that is not valid UTF-8, comes as ``{"bytes": …, "sha256": …}``.
        """
        seconds = self._options.deadline if deadline is None else deadline
        arguments = {"database": self._database, "sql": sql, "seconds": seconds}
        rows = self._result(self._sandbox.submit(f"{_QUERY}:query", arguments, deadline=seconds + _GRACE))
        return [tuple(row) for row in rows]

    @property
    def path(self) -> Path:
        """The database file."""
        return self._sandbox.work / self._database

    def _measure(self, what: str) -> Any:
        """A measurement: from what was prepared, or in a call of its own; the outcome is kept."""
        if self._pending is not None and what in self._pending[1]:
            self._collect(*self._pending)
        if what not in self._measured:
            wanted = frozenset({what})
            try:
                self._measured |= self._result(self._submit(wanted))
            except RestoreDrillError as problem:
                self._measured[what] = problem
        outcome = self._measured[what]
        if isinstance(outcome, RestoreDrillError):
            raise outcome
        if "error" in outcome:
            raise _decode(outcome["error"])
        return outcome["value"]

    def _collect(self, pending: Pending, wanted: frozenset[str]) -> None:
        """Take what was prepared; when its process died, each is measured again by itself, to know which did it."""
        self._pending = None
        try:
            self._measured |= pending.result()
        except SandboxDied:
            return
        except RestoreDrillError as problem:
            self._measured |= dict.fromkeys(wanted, problem)

    def _submit(self, wanted: frozenset[str]) -> Pending:
        arguments = {
            "database": self._database,
            "wanted": sorted(wanted),
            "threads": self._options.threads,
            "seconds": self._options.deadline,
        }
        return self._sandbox.submit(f"{_PROBE}:measure", arguments, deadline=self._options.deadline + _GRACE)

    @staticmethod
    def _result(pending: Pending) -> Any:
        try:
            return pending.result()
        except SandboxDied as problem:
            raise crashed(problem, "the database", "SQLite", Stage.CONTENT) from problem


def _how(payload: Payload, work: Path, database: str) -> tuple[str, dict[str, Any]]:
    path = str(payload.path.relative_to(work))
    if payload.form is PayloadForm.TREE:
        return f"{_PROBE}:restore_tree", {"root": path, "database": database}
    if payload.format == DATABASE:
        parts = [str(part.relative_to(work)) for part in payload.parts]
        return f"{_PROBE}:restore_file", {"payload": path, "parts": parts}
    if payload.format == SQL_TEXT:
        return f"{_TEXT}:load", {"payload": path}
    raise BackupFailed(
        f"the content is {payload.format or 'unknown'}, not a SQLite database and not SQL text for SQLite",
        remedy="Check what the backup job writes, and the target's engine.",
        stage=Stage.RESTORE,
    )


def _database_option(settings: Mapping[str, Any]) -> str:
    unknown = sorted(set(settings) - {"database"})
    if unknown:
        raise UsageProblem(
            f"the sqlite engine has no option {', '.join(unknown)}",
            remedy="Its only option is database: the path of the database in a tree.",
        )
    database = settings.get("database", "")
    if not isinstance(database, str) or database.startswith("/") or ".." in database.split("/"):
        raise UsageProblem(
            "the sqlite engine's option database is not a path inside the tree",
            remedy="Write it relative to the root of the tree: engine_options: {database: app/data.db}.",
        )
    return database


def _needed(wanted: frozenset[str]) -> set[str]:
    return {measurement for name in wanted for measurement in _NEEDS.get(name, ())}


def _decode(parts: Mapping[str, Any]) -> RestoreDrillError:
    kind = _ERRORS.get(parts["kind"], CouldNotVerify)
    return kind(
        parts["cause"],
        looked_at=parts["looked_at"],
        remedy=parts["remedy"],
        stage=Stage.CONTENT,
        details=tuple(parts["details"]),
    )
