"""Read one object of a web server: resumed where the connection broke, and never from another version.

Every answer is checked for the version (ETag, or the time of the last change), the size and the range (RFC 9110,
sections 8.8 and 14); a resumption is asked for with ``If-Range``, so that a server that has another version says so.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Stage
from restore_drill.stores.base import StoreSettings
from restore_drill.stores.http_errors import CUT_SHORT, diagnose, of_status
from restore_drill.stores.http_headers import lowered, marker
from restore_drill.stores.pieces import Held, read_some
from restore_drill.stores.trying import Diagnosis, Nature, Patience, could_not_verify

if TYPE_CHECKING:
    from restore_drill.stores.http_client import Client


class ObjectReader:
    """The bytes of one version of one object, as they are sent, undecoded.

    Args:
        client: How to reach the server.
        settings: The store's.
        url: The object's, without a signature.
        artifact: What was listed or looked at.
        where: The object's address for messages.
    """

    def __init__(self, client: Client, settings: StoreSettings, url: str, artifact: Artifact, where: str) -> None:
        self._client = client
        self._settings = settings
        self._url = url
        self._size = artifact.size
        self._etag = artifact.etag
        self._where = where

    def chunks(self) -> Generator[bytes, None, None]:
        """Everything, in order.

        Raises:
            BackupFailed: The object vanished or changed.
            CouldNotVerify: It could not be read to its end.
        """
        position, patience = 0, Patience(self._settings.retries)
        while True:
            held = Held()
            problem: Exception | None = None
            try:
                for piece in self._pieces(position):
                    position += len(piece)
                    patience.progressed()
                    if held.add(piece):
                        yield held.take()
            except Exception as raised:
                problem = raised
            if held:
                yield held.take()
            if position == self._size and problem is None:
                return
            self._go_on(position, problem, patience)

    def _pieces(self, position: int) -> Iterator[bytes]:
        """What one answer brings from a position on, as it comes in; ends early when the connection does."""
        if 0 < position == self._size:
            return
        answer, _ = self._client.send("GET", self._url, self._ranged(position))
        try:
            skipped = self._check(answer, position)
            while skipped < position:  # a server that knows no ranges sends everything again
                piece = read_some(answer, position - skipped)
                if not piece:
                    return
                skipped += len(piece)
            while piece := read_some(answer, self._size - position + 1):
                position += len(piece)
                if position > self._size:
                    raise changed(self._where, f"has more than the {self._size} bytes that were listed")
                yield piece
        finally:
            answer.close()

    def _ranged(self, position: int) -> dict[str, str]:
        if not position:
            return {}
        # A weak validator cannot vouch for a range (section 13.1.5): then only our own comparison does.
        strong = self._etag and not self._etag.startswith("W/")
        return {"Range": f"bytes={position}-", **({"If-Range": self._etag} if strong else {})}

    def _check(self, answer: Any, position: int) -> int:
        """Make sure that an answer is of the version that was listed; where its body begins."""
        if answer.status not in (200, 206):
            raise _Refused(of_status(answer.status))
        headers = lowered(answer)
        begins, _, total = headers.get("content-range", "").removeprefix("bytes ").partition("/")
        size = total if answer.status == 206 else headers.get("content-length", "")
        if self._etag and marker(headers) != self._etag:
            raise changed(self._where, "was replaced after it was listed")
        if size.isdigit() and int(size) != self._size:
            raise changed(self._where, f"has {size} bytes, and had {self._size} when it was listed")
        if answer.status == 200:
            return 0
        if begins.partition("-")[0] != str(position):
            raise CouldNotVerify(
                "the web server does not send the range that it is asked for",
                looked_at=self._where,
                remedy="Is a proxy or cache in the way? Try `curl -r 10-19` by hand.",
                stage=Stage.FETCH,
            )
        return position

    def _go_on(self, position: int, problem: Exception | None, patience: Patience) -> None:
        """Wait and return when another attempt makes sense, raise the reason otherwise."""
        if isinstance(problem, _Refused):
            diagnosis: Diagnosis | None = problem.diagnosis
        else:
            diagnosis = diagnose(problem) if problem else CUT_SHORT
        if diagnosis is None:
            assert problem is not None  # noqa: S101 - only a problem can go undiagnosed
            raise problem
        if diagnosis.nature is Nature.ABSENT:
            raise changed(self._where, "vanished after it was listed") from problem
        if diagnosis.nature is Nature.CHANGED:
            raise changed(self._where, "was replaced after it was listed") from problem
        if not patience.bears(diagnosis):
            so_far = f"; {position} of {self._size} bytes had arrived" if position else ""
            raise could_not_verify(diagnosis, self._where, Stage.FETCH, so_far) from problem


class _Refused(Exception):
    """An answer that brings nothing."""

    def __init__(self, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.cause)
        self.diagnosis = diagnosis


def changed(where: str, how: str) -> BackupFailed:
    """The error for an object that is not the one that was listed."""
    return BackupFailed(
        f"the object {how}",
        looked_at=where,
        remedy="Run the drill again. If it happens again, the backup job replaces its own snapshots: "
        "give each a new name.",
        stage=Stage.FETCH,
    )
