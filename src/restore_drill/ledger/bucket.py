"""A ledger in a bucket: one object an entry, ``ledger/000000000017.json``, written on the condition that none is there.

The condition (``If-None-Match: *``) decides between runs at once: who comes second reads the first one's entry and
follows it. Nothing is ever deleted or replaced but ``head.json``, which only says where to look first: a bucket whose
objects are locked (object lock, versions) is welcome. A request that is repeated after an answer was lost finds its own
entry there, and takes it as written.
"""

from __future__ import annotations

import random
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar

from restore_drill.errors import CouldNotVerify
from restore_drill.ledger import statement
from restore_drill.ledger.base import FOLDER, Entry, Head, Kind, Ledger, Signer
from restore_drill.ledger.directory import HEAD, head_json, parse_head
from restore_drill.ledger.envelope import read_link, seal, written
from restore_drill.stores.base import StoreSettings
from restore_drill.stores.s3_requests import NOT_THERE, TAKEN, UNDECIDED, ask

_NAME = re.compile(r"(\d{12})\.json")
#: Entries that are read at the same time.
_AT_ONCE = 16
#: How often another run may be faster before this one gives up.
_ATTEMPTS = 50
#: How often a listing that lacks what ``head.json`` knows is asked for again, before that is told.
_PATIENT = 3
#: Seconds that a run waits at most when another one was faster; twice as long each time, up to a second.
_PAUSE = 0.02
#: A bucket whose objects are locked takes none without a checksum.
_AS_JSON = {"ContentType": "application/json", "ChecksumAlgorithm": "SHA256"}
_Answer = TypeVar("_Answer")


class BucketLedger(Ledger):
    """Entries as objects.

    Args:
        settings: The state's.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._bucket, _, prefix = settings.url.removeprefix("s3://").partition("/")
        self._prefix = "/".join(filter(None, [prefix.strip("/"), FOLDER])) + "/"
        self._remarks: list[str] = []

    @cached_property
    def _client(self) -> Any:
        from restore_drill.stores.s3_client import make_client

        return make_client(self._settings, self.where())

    def where(self) -> str:
        """The bucket and prefix."""
        return f"s3://{self._bucket}/{self._prefix}"

    def append(self, kind: Kind, content: Mapping[str, Any], signer: Signer | None = None) -> Entry:
        """Write the next object; again with another number as long as others are faster."""
        plain = statement.plain(content)
        for attempt in range(_ATTEMPTS):
            hint = self.hint()
            numbers = self._numbers(hint)
            number = numbers[-1] if numbers else 0
            last = self._get(number) if number else None
            behind = hint is not None and hint.sequence > number and attempt < _PATIENT
            if not behind and (last is not None or number == 0):  # nobody begins anew because it is gone again
                link = read_link(last, self.where()) if last is not None else None
                line = seal(statement.make(kind, plain, link, hint), signer)
                if self._put(number + 1, line):
                    entry = written(line, plain.document, signer)
                    self._write_head(entry.head)
                    return entry
            time.sleep(random.uniform(0, min(_PAUSE * 2**attempt, 1.0)))  # noqa: S311 - spreads attempts
        raise self._unusable("written", f"other runs were faster {_ATTEMPTS} times")

    def lines(self, first: int = 1) -> Iterator[bytes]:
        """Object by object, several read at the same time."""
        self._remarks = []
        pending: deque[tuple[int, Future[bytes | None]]] = deque()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            try:
                for number in self._listed(after=first - 1, remark=True):
                    pending.append((number, pool.submit(self._get, number)))
                    if len(pending) >= 2 * _AT_ONCE:
                        yield from self._taken(*pending.popleft())
                while pending:
                    yield from self._taken(*pending.popleft())
            finally:
                for _, future in pending:
                    future.cancel()

    def _taken(self, number: int, future: Future[bytes | None]) -> Iterator[bytes]:
        line = future.result()
        if line is None:
            self._remarks.append(f"entry {number} was listed, and was gone when it was read")
        else:
            yield line

    def remarks(self) -> list[str]:
        """Objects that do not belong there."""
        return list(self._remarks)

    def tail_lines(self, count: int) -> list[bytes]:
        """The objects with the highest numbers."""
        numbers = self._numbers(self.hint(), at_least=count)[-count:] if count else []
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return [line for line in pool.map(self._get, numbers) if line is not None]

    def hint(self) -> Head | None:
        """``head.json``."""
        raw = self._read(self._prefix + HEAD)
        return parse_head(raw) if raw is not None else None

    def _numbers(self, hint: Head | None, at_least: int = 1) -> list[int]:
        """The numbers of the last entries: from the hint on, or all when it leads nowhere."""
        if hint is not None:
            found = list(self._listed(after=max(hint.sequence - at_least, 0)))
            if len(found) >= min(at_least, hint.sequence):
                return found
        return list(self._listed(after=0))

    def _listed(self, after: int, *, remark: bool = False) -> Iterator[int]:
        """The numbers of the entries after one, in order: keys have leading zeros, and are listed in their order."""
        arguments = {"Bucket": self._bucket, "Prefix": self._prefix}
        if after > 0:
            arguments["StartAfter"] = self._key(after)
        while True:
            answer = self._ask("read", lambda: self._client.list_objects_v2(**arguments), frozenset()) or {}
            for item in answer.get("Contents", ()):
                name = item["Key"].removeprefix(self._prefix)
                match = _NAME.fullmatch(name)
                if match and int(match[1]) > after:
                    yield int(match[1])
                elif remark and not match and name not in ("", HEAD):
                    self._remarks.append(f"{self.where()} holds {name!r}, which is no entry")
            if not answer.get("IsTruncated"):
                return
            arguments["ContinuationToken"] = answer["NextContinuationToken"]

    def _key(self, number: int) -> str:
        return f"{self._prefix}{number:012d}.json"

    def _get(self, number: int) -> bytes | None:
        return self._read(self._key(number))

    def _read(self, key: str) -> bytes | None:
        def read() -> bytes:
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            return body

        return self._ask("read", read, NOT_THERE)

    def _put(self, number: int, line: bytes) -> bool:
        """Whether the entry is there: not when another one has the number."""
        key = self._key(number)

        def write() -> bool:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=line, IfNoneMatch="*", **_AS_JSON)
            return True

        # A lost answer and a lost race look alike: what is there decides.
        return bool(self._ask("written", write, TAKEN | UNDECIDED)) or self._read(key) == line

    def _write_head(self, head: Head) -> None:
        """Write the hint; an entry is safe without it, but whoever may write the one may write the other."""
        key, body = self._prefix + HEAD, head_json(head)
        self._ask(
            "written", lambda: self._client.put_object(Bucket=self._bucket, Key=key, Body=body, **_AS_JSON), frozenset()
        )

    def _ask(self, purpose: str, request: Callable[[], _Answer], foreseen: frozenset[str]) -> _Answer | None:
        return ask(request, self._settings.retries, foreseen, lambda why: self._unusable(purpose, why))

    def _unusable(self, purpose: str, why: str) -> CouldNotVerify:
        return CouldNotVerify(
            f"the ledger cannot be {purpose}: {why}",
            looked_at=self.where(),
            remedy="Check the address, credentials and permissions of state: (list, read, and write of new objects).",
        )
