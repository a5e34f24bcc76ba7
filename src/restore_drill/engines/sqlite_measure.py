"""Everything that a drill asks of a SQLite database, measured at once. Runs inside the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from restore_drill import disk
from restore_drill.engines import sqlite_integrity as integrity
from restore_drill.engines import sqlite_keys, sqlite_proof, sqlite_schema
from restore_drill.engines.sqlite_connection import Deadline, Reading
from restore_drill.engines.sqlite_errors import ERRORS, lacks_module, printable, translate
from restore_drill.engines.sqlite_integrity import Copy
from restore_drill.engines.sqlite_proof import Proof
from restore_drill.engines.sqlite_schema import Schema, quoted
from restore_drill.engines.sqlite_verdicts import Verdicts
from restore_drill.errors import RestoreDrillError

_Result = TypeVar("_Result")


class Measurement:
    """One database being measured by several threads.

    Args:
        copy: The private copy.
        pool: Its threads.
        wanted: Which of ``integrity full`` or ``integrity quick``, ``structure`` and ``rows``.
        plain_below: Bytes below which ``integrity_check`` is not shared out.
        share_from: Index entries from which the indexes of one table are.
    """

    def __init__(
        self,
        copy: Copy,
        pool: Executor,
        wanted: frozenset[str],
        plain_below: int = integrity.PLAIN_BELOW,
        share_from: int = integrity.SHARE_FROM,
    ) -> None:
        self._copy = copy
        self._pool = pool
        self._wanted = wanted
        self._plain_below = plain_below
        self._share_from = share_from

    def run(self) -> dict[str, Any]:
        """What was wanted, each as ``{"value": …}`` or as ``{"error": …}``."""
        schema = self._schema()
        tasks: dict[str, Callable[[], Any]] = {}
        asked = [name for name in ("integrity full", "integrity quick") if name in self._wanted]
        for name in asked:
            tasks[name] = self._start_integrity(schema, full=name == "integrity full")
        if not asked and "rows" in self._wanted:
            self._counts = self._start_counts(schema)
        if "rows" in self._wanted:
            tasks["rows"] = lambda: self._counted(schema)
        if "structure" in self._wanted:
            tasks["structure"] = schema.structure
        return {name: outcome(task) for name, task in tasks.items()}

    def _schema(self) -> Schema:
        try:
            return sqlite_schema.read(self._copy.connection())
        except ERRORS as problem:
            raise translate(problem, "the schema cannot be read", self._copy.path) from problem

    def _start_counts(self, schema: Schema) -> dict[str, Future[int | None]]:
        tables = schema.countable() if not schema.unusable else []
        return {table: self._pool.submit(count, self._copy, table) for table in tables}

    def _counted(self, schema: Schema) -> dict[str, int]:
        schema.require_usable()
        counts = {table: future.result() for table, future in self._counts.items()}
        return {table: rows for table, rows in counts.items() if rows is not None}

    def _start_integrity(self, schema: Schema, *, full: bool) -> Callable[[], dict[str, Any]]:
        """Begin what can run beside the first pass over the pages, and return what waits for the answer."""
        size = self._copy.path.stat().st_size
        shared = full and integrity.can_share(schema, size, self._plain_below)
        self._counts = self._start_counts(schema)
        first = self._pool.submit(integrity.check_pages, self._copy, schema)
        others, late = self._start_keys(schema, by_index=full)
        plain = [self._pool.submit(integrity.check_whole, self._copy, "integrity_check")] if full and not shared else []
        if full:
            others.append(self._pool.submit(integrity.check_virtuals, self._copy, schema))
        proofs = self._start_proofs(schema) if shared else []

        def finish() -> dict[str, Any]:
            sound = first.exception() is None and first.result().clean
            reading = Reading.SOUND if sound else Reading.SEEKING
            others.extend(self._check_keys(table, [], reading) for table in late)
            more = self._go_on(schema, first, proofs) if shared else plain
            return merge("integrity_check" if full else "quick_check", [first, *more], others).as_json()

        return finish

    def _start_proofs(self, schema: Schema) -> list[tuple[Proof, Future[int | None]]]:
        """Begin to prove indexes right, which counts for something once the pages are found sound."""
        place = self._copy.path.parent
        if disk.free_space(place) - disk.reserve(place) < self._copy.path.stat().st_size:
            return []  # sorting may need files
        try:
            proofs = sqlite_proof.possible(self._copy.connection(), schema)
        except ERRORS:
            return []  # whatever it is, the checks will come upon it
        return [(proof, self._pool.submit(sqlite_proof.attempt, self._copy, proof)) for proof in proofs]

    def _go_on(
        self, schema: Schema, first: Future[Verdicts], proofs: list[tuple[Proof, Future[int | None]]]
    ) -> list[Future[Verdicts]]:
        """What follows ``quick_check``: what is not proved yet or, when it found something, the plain check."""
        if first.exception() is not None:
            return []
        if not first.result().clean:
            for _, future in proofs:
                future.cancel()
            return [self._pool.submit(integrity.check_whole, self._copy, "integrity_check")]
        counts = {table: future.result() for table, future in self._counts.items() if future.exception() is None}
        proved = {proof.index for proof, future in proofs if future.result() == counts.get(proof.table, -1)}
        shares = integrity.shares(schema, counts, self._copy.threads, self._share_from, proved)
        return [self._pool.submit(integrity.check_share, self._copy, share) for share in shares]

    def _start_keys(self, schema: Schema, *, by_index: bool) -> tuple[list[Future[Verdicts]], list[str]]:
        """Begin with the foreign keys that an index answers for, and return the tables whose rows must be looked at."""
        if schema.unusable:
            return [_settled(Verdicts(notes=["foreign keys were not checked: a table's name is not valid text"]))], []
        try:
            declared = sqlite_keys.declaring(self._copy.connection(), schema)
        except ERRORS as problem:
            return [_settled(translate(problem, "the foreign keys cannot be read", self._copy.path))], []
        except RestoreDrillError as problem:  # it is too late already
            return [_settled(problem)], []
        if not by_index:
            return [], list(declared)
        begun = [self._check_keys(table, questions) for table, questions in declared.items() if questions]
        return begun, [table for table, questions in declared.items() if not questions]

    def _check_keys(self, table: str, questions: list[str], reading: Reading = Reading.SEEKING) -> Future[Verdicts]:
        connect = partial(self._copy.connection, reading)
        return self._pool.submit(sqlite_keys.check, connect, table, questions)


def measure(path: Path, deadline: Deadline, wanted: frozenset[str], threads: int, **limits: int) -> dict[str, Any]:
    """Measure a database with ``threads`` threads, a small one with this one only; see :class:`Measurement`.

    Raises:
        RestoreDrillError: It cannot be opened, or its schema cannot be read.
    """
    small = path.exists() and path.stat().st_size < limits.get("plain_below", integrity.PLAIN_BELOW)
    copy = Copy(path, deadline, 1 if small else threads, small=small)
    with _Here() if small else ThreadPoolExecutor(threads, thread_name_prefix="sqlite") as pool:
        try:
            return Measurement(copy, pool, wanted, **limits).run()
        finally:
            pool.shutdown(cancel_futures=True)
            copy.close()


def count(copy: Copy, table: str) -> int | None:
    """The exact number of rows of a table; ``None`` for a virtual one whose module is not complete here.

    Raises:
        RestoreDrillError: They cannot be counted.
    """
    try:
        # The rows themselves: left to itself, SQLite counts the entries of the smallest index instead.
        row = copy.connection().execute(f"SELECT count(*) FROM main.{quoted(table)} NOT INDEXED").fetchone()  # noqa: S608
    except ERRORS as problem:
        if lacks_module(problem):
            return None
        raise translate(problem, f"the rows of {printable(table)} cannot be counted", copy.path) from problem
    return int(row[0])


class _Here(Executor):
    """Does at once, and here, what it is given: threads cost more than a small database altogether."""

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        future: Future[_Result] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as problem:
            future.set_exception(problem)
        return future


def _settled(result: Verdicts | RestoreDrillError) -> Future[Verdicts]:
    future: Future[Verdicts] = Future()
    if isinstance(result, Verdicts):
        future.set_result(result)
    else:
        future.set_exception(result)
    return future


def merge(name: str, whole: list[Future[Verdicts]], others: list[Future[Verdicts]]) -> Verdicts:
    """What several checks found, together.

    Args:
        name: What the parts in ``whole`` are together, once all of them have come to an end.
        whole: The parts of SQLite's own check.
        others: Further checks.

    Raises:
        RestoreDrillError: Nothing was found, and a check did not come to an end.
    """
    together = Verdicts()
    missing = [problem for future in whole if (problem := _absorb(together, future))]
    together.checked += [] if missing else [name]
    missing += [problem for future in others if (problem := _absorb(together, future))]
    if missing and together.clean:
        raise missing[0]
    together.notes += [problem.cause for problem in missing]
    return together


def _absorb(together: Verdicts, future: Future[Verdicts]) -> RestoreDrillError | None:
    try:
        together.absorb(future.result())
    except RestoreDrillError as problem:
        return problem
    return None


def outcome(task: Callable[[], Any]) -> Mapping[str, Any]:
    """What a task returned, or the error that it raised, as JSON values."""
    try:
        return {"value": task()}
    except RestoreDrillError as problem:
        return {
            "error": {
                "kind": type(problem).__name__,
                "cause": problem.cause,
                "looked_at": problem.looked_at,
                "remedy": problem.remedy,
                "details": list(problem.details),
            }
        }
