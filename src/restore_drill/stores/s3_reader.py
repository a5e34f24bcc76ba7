"""Read one S3 object: resumed where the connection broke, by one stream or by several ranges at once.

Whatever happens, the bytes belong to one version: every request carries the version id where the bucket keeps
versions, and the ETag in ``If-Match`` (RFC 9110, section 13.1.1) in any case; every answer is checked for both.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Artifact, Stage
from restore_drill.stores.base import StoreSettings
from restore_drill.stores.pieces import Held, read_some
from restore_drill.stores.s3_client import Connection
from restore_drill.stores.s3_errors import CUT_SHORT, diagnose
from restore_drill.stores.trying import Diagnosis, Nature, Patience, could_not_verify

#: Bytes of one ranged read, and what each of the parallel ones may hold in memory.
PART = 8 << 20
_AGAIN = "Run the drill again. If it happens again, the backup job replaces its own snapshots: give each a new name."

_Part = SimpleQueue[bytes | BaseException | None]


class ObjectReader:
    """The bytes of one version of one object.

    Args:
        connection: How to reach the store.
        settings: The store's.
        address: ``Bucket`` and ``Key``.
        artifact: What was listed or looked at.
        where: The object's address for messages.
    """

    def __init__(
        self, connection: Connection, settings: StoreSettings, address: dict[str, str], artifact: Artifact, where: str
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._address = address
        self._size = artifact.size
        self._etag = artifact.etag
        self._version = artifact.version
        self._where = where
        self._arrived: dict[int, int] = {}
        self._stopped = threading.Event()

    def chunks(self) -> Generator[bytes, None, None]:
        """Everything, in order.

        Raises:
            BackupFailed: The object vanished or changed.
            CouldNotVerify: It could not be read to its end.
        """
        if self._settings.ranges > 1 and self._size > PART:
            yield from self._by_ranges()
        else:
            yield from self._span(0, self._size)

    def _by_ranges(self) -> Generator[bytes, None, None]:
        """Keep ``ranges`` parts under way; hand them on in order. At most ``ranges + 1`` parts are in memory."""
        starts = iter(range(0, self._size, PART))
        waiting: deque[_Part] = deque()
        pool = ThreadPoolExecutor(self._settings.ranges, "restore-drill-s3")

        def ask() -> None:
            start = next(starts, None)
            if start is not None:
                part: _Part = SimpleQueue()
                waiting.append(part)
                pool.submit(self._fetch, start, min(start + PART, self._size), part)

        try:
            for _ in range(self._settings.ranges):
                ask()
            while waiting:
                part = waiting.popleft()
                ask()
                while (chunk := part.get()) is not None:
                    if isinstance(chunk, BaseException):
                        raise chunk
                    yield chunk
        finally:
            # Not waited for: a stalled read ends by itself, at its deadline.
            self._stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, start: int, stop: int, part: _Part) -> None:
        try:
            for chunk in self._span(start, stop):
                if self._stopped.is_set():
                    return
                part.put(chunk)
            part.put(None)
        except BaseException as problem:  # handed on, unchanged, to who reads
            part.put(problem)

    def _span(self, start: int, stop: int) -> Generator[bytes, None, None]:
        """The bytes from ``start`` up to ``stop``, each asked for once."""
        position, patience = start, Patience(self._settings.retries, self._stopped.wait)
        while True:
            held, broken = Held(), None
            try:
                for piece in self._pieces(position, stop):
                    position += len(piece)
                    self._arrived[start] = position - start
                    patience.progressed()
                    if held.add(piece):
                        yield held.take()
            except RestoreDrillError:
                raise
            except Exception as problem:
                broken = problem
            if held:
                yield held.take()
            if broken is None and position == stop:
                return
            self._go_on(broken, patience)

    def _pieces(self, position: int, stop: int) -> Iterator[bytes]:
        """What one answer brings, as it comes in; ends early when the connection does."""
        parameters = {**self._address, **self._conditions()}
        ranged = position > 0 or stop < self._size
        if ranged:
            parameters["Range"] = f"bytes={position}-{stop - 1}"
        answer = self._connection.attempt("get_object", parameters)
        with answer["Body"] as raw:  # urllib3's response: closed at the end, whatever happens
            self._check(answer, position if ranged else None)
            while position < stop:
                piece = read_some(raw, stop - position)
                if not piece:
                    return
                position += len(piece)
                yield piece

    def _conditions(self) -> dict[str, str]:
        conditions = {"IfMatch": f'"{self._etag}"'} if self._etag else {}
        if self._version:
            conditions["VersionId"] = self._version
        return conditions

    def _check(self, answer: Any, position: int | None) -> None:
        """Make sure that an answer is of the version and the range that were asked for."""
        etag = str(answer.get("ETag", "")).strip('"')
        if self._etag and not etag:
            raise self._odd("does not say which version of the object it sends")
        if self._etag and etag != self._etag:
            raise self._changed("was replaced after it was listed")
        self._etag = etag
        if not self._version:
            self._version = usable_version(answer)
        size = answer.get("ContentLength", self._size)
        if position is not None:
            begins, _, total = str(answer.get("ContentRange", "")).removeprefix("bytes ").partition("/")
            if begins.partition("-")[0] != str(position):
                raise self._odd("does not send the range that it is asked for")
            size = int(total) if total.isdigit() else self._size
        if size != self._size:
            raise self._changed(f"has {size} bytes, and had {self._size} when it was listed")

    def _go_on(self, problem: Exception | None, patience: Patience) -> None:
        """Wait and return when another attempt makes sense, raise the reason otherwise."""
        diagnosis = diagnose(problem) if problem else CUT_SHORT
        if diagnosis is None:
            assert problem  # noqa: S101 - only a problem can go undiagnosed
            raise problem
        if diagnosis.nature is Nature.ABSENT:
            raise self._changed("vanished after it was listed") from problem
        if diagnosis.nature is Nature.CHANGED:
            raise self._changed("was replaced after it was listed") from problem
        if self._stopped.is_set() or not patience.bears(diagnosis):
            raise could_not_verify(diagnosis, self._where, Stage.FETCH, self._so_far(diagnosis, patience)) from problem

    def _so_far(self, diagnosis: Diagnosis, patience: Patience) -> str:
        arrived = sum(self._arrived.values())
        if diagnosis.nature is Nature.FINAL and not arrived:
            return ""
        tried = f", and {patience.tries} further attempts brought nothing" if patience.tries else ""
        return f"; {arrived} of {self._size} bytes had arrived{tried}"

    def _changed(self, how: str) -> BackupFailed:
        return BackupFailed(f"the object {how}", looked_at=self._where, remedy=_AGAIN, stage=Stage.FETCH)

    def _odd(self, what: str) -> CouldNotVerify:
        return CouldNotVerify(
            f"the S3 server {what}",
            looked_at=self._where,
            remedy="Is it the S3 service itself that answers? Set the store's `ranges` to 1 if it knows no ranges.",
            stage=Stage.FETCH,
        )


def usable_version(answer: Any) -> str:
    """The version id of an answer; ``""`` where the bucket keeps none (``null`` may be overwritten)."""
    version = str(answer.get("VersionId") or "")
    return "" if version == "null" else version
