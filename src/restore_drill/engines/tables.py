"""Tables in files: what exports in CSV, NDJSON and Parquet have in common.

A payload is one file, which is one table, or a tree of them. Restoring reads every record of every table once, in the
sandbox and in bounded memory: what cannot be read to its end did not come back. What is wrong with records that can be
read is counted meanwhile and told by ``integrity``. The first question in SQL, if there is one, has the tables loaded
into a SQLite database of the sandbox; from there on the query machinery of the ``sqlite`` engine answers.

Nothing here touches restored bytes: what does is in :mod:`.tables_probe` and the readers of the formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from restore_drill.engines.base import Engine, Restored, RestoreOptions, nothing_came_back
from restore_drill.engines.crashes import crashed
from restore_drill.errors import SandboxDied, UsageProblem
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.quantities import format_size
from restore_drill.registry import require
from restore_drill.sandboxes.base import Pending, Sandbox

_PROBE: Final = "restore_drill.engines.tables_probe"
_QUERY: Final = "restore_drill.engines.sqlite_query:query"
#: Seconds that the probe has to answer after its own deadline and before the sandbox ends it.
_GRACE: Final = 10.0

#: Says what is wrong with a setting, or ``""``.
Rule = Callable[[Any], str]


def one_of(*values: Any) -> Rule:
    """The setting is one of these."""
    return lambda value: "" if value in values else f"is none of {', '.join(map(str, values))}"


def text(least: int = 0, most: int = 200) -> Rule:
    """The setting is a text of so many characters."""
    size = f"a text of {least} to {most} characters" if least != most else f"{least} character{'s' * (least > 1)}"
    return lambda value: "" if isinstance(value, str) and least <= len(value) <= most else f"is not {size}"


def texts(value: Any) -> str:
    """The setting is a list of texts."""
    good = isinstance(value, list | tuple) and all(isinstance(each, str) and each for each in value) and value
    return "" if good else "is not a list of names"


class TableEngine(Engine):
    """What the engines of tables share; a subclass says which reader, which files and which options.

    Options of all of them: ``table`` (the name of the only table of a file, and of parts at the root of a tree),
    ``tables`` (``files``: each file of a tree is a table; ``directories``: each directory at its root is one, and what
    is below it are parts of it), ``match`` (globs of the files that are tables).
    """

    forms: ClassVar[tuple[PayloadForm, ...]] = (PayloadForm.FILE, PayloadForm.TREE)
    checks: ClassVar[frozenset[str]] = frozenset({"integrity", "structure", "rows", "query", "newest"})
    #: Module of the reader, which is imported inside the sandbox.
    reader: ClassVar[str]
    #: Which files of a tree are tables, unless ``match`` says so.
    endings: ClassVar[tuple[str, ...]]
    #: Options besides the common ones: their defaults and rules.
    options: ClassVar[Mapping[str, tuple[Any, Rule]]] = {}

    def restore(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Restored:
        """Read every record of every table once.

        Raises:
            BackupFailed: A table cannot be read to its end, or there is not one record.
            CouldNotVerify: Time or memory did not suffice, or a library cannot read what was written.
            UsageProblem: The catalogue gives this engine an option that it does not have.
        """
        require("engines", type(self))
        settings = self._settings(options.settings)
        payload = payloads[-1]
        arguments = {
            "reader": self.reader,
            "payload": str(payload.path.relative_to(sandbox.work)),
            "tree": payload.form is PayloadForm.TREE,
            "settings": settings,
        }
        try:
            answer = sandbox.call(f"{_PROBE}:read", arguments, deadline=options.deadline)
        except SandboxDied as problem:
            raise crashed(problem, "the tables", "the reader", Stage.RESTORE) from problem
        if not sum(answer["rows"].values()) and not options.allow_empty:
            raise nothing_came_back("no table has a record" if answer["rows"] else "there is no table")
        return RestoredTables(sandbox, options, arguments, answer)

    @classmethod
    def _settings(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        known = {**_COMMON, **cls.options}
        for name, value in given.items():
            if name not in known:
                raise UsageProblem(
                    f"the {cls.name} engine has no option {name}", remedy=f"It has {', '.join(sorted(known))}."
                )
            if wrong := known[name][1](value):
                raise UsageProblem(f"the {cls.name} engine's option {name} {wrong}", remedy="Correct engine_options.")
        defaults = {name: default for name, (default, _) in known.items()}
        return {**defaults, "match": [f"*{ending}" for ending in cls.endings], **given}


_COMMON: Final[Mapping[str, tuple[Any, Rule]]] = {
    "table": ("data", text(1, 100)),
    "tables": ("files", one_of("files", "directories")),
    "match": ([], texts),
}


class RestoredTables(Restored):
    """Tables that were read to their ends."""

    def __init__(
        self, sandbox: Sandbox, options: RestoreOptions, arguments: Mapping[str, Any], answer: Mapping[str, Any]
    ) -> None:
        self._sandbox = sandbox
        self._options = options
        self._arguments = arguments
        self._answer = answer
        self._database = ""
        rows = sum(answer["rows"].values())
        tables = len(answer["rows"])
        size = format_size(answer["facts"]["bytes"])
        summary = f"{tables} table{'' if tables == 1 else 's'} of {rows:,} rows in {size}"
        self.facts = {"summary": summary, "tables": tables, "rows": rows, **answer["facts"]}
        self.notes = list(answer["notes"])

    def integrity(self, mode: str = "full") -> dict[str, Any]:  # noqa: ARG002 - it was read in full already
        """What is wrong with records that could be read."""
        return {key: self._answer[key] for key in ("problems", "checked", "details")}

    def structure(self) -> dict[str, list[str]]:
        """Tables and their columns, ``table.column``, with the type where the format has types."""
        columns = [
            f"{table}.{name}{f' {kind}' if kind else ''}"
            for table, columns in self._answer["columns"].items()
            for name, kind, usual in columns
            if usual
        ]
        return {"table": list(self._answer["rows"]), "column": columns}

    def row_counts(self) -> dict[str, int]:
        """Records of every table, those included that integrity complains of."""
        return dict(self._answer["rows"])

    def query(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:
        """The rows of one read-only statement; loads the tables into SQLite when it is the first one."""
        seconds = self._options.deadline if deadline is None else deadline
        if not self._database:
            arguments = {**self._arguments, "columns": self._answer["columns"], "seconds": self._options.deadline}
            call = self._sandbox.submit(f"{_PROBE}:load", arguments, deadline=self._options.deadline + _GRACE)
            self._database = str(_result(call))
        arguments = {"database": self._database, "sql": sql, "seconds": seconds}
        rows = _result(self._sandbox.submit(_QUERY, arguments, deadline=seconds + _GRACE))
        return [tuple(row) for row in rows]

    @property
    def path(self) -> Path:
        """The file, or the root of the tree."""
        return self._sandbox.work / str(self._arguments["payload"])


def _result(pending: Pending) -> Any:
    try:
        return pending.result()
    except SandboxDied as problem:
        raise crashed(problem, "the tables", "the reader", Stage.CONTENT) from problem
