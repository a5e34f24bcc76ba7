"""Where small documents are kept between runs: a directory, or a prefix of a bucket.

Together with the reports this is all that restore-drill ever writes. Documents are changed by read-modify-write that
two runs at once survive: under a file lock in a directory, by conditional requests (``If-Match``) in a bucket.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from restore_drill.errors import CouldNotVerify
from restore_drill.stores.base import StoreSettings
from restore_drill.stores.s3_requests import NOT_THERE, TAKEN, UNDECIDED, ask
from restore_drill.whole_files import locked

Change = Callable[[bytes | None], bytes]
_ATTEMPTS = 8
#: Documents that are written at the same time.
_AT_ONCE = 8
#: Seconds that a run waits at most when another one was faster; twice as long each time.
_PAUSE = 0.05
_Answer = TypeVar("_Answer")


class State(ABC):
    """Documents by name."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A document, or ``None`` when there is none.

        Raises:
            CouldNotVerify: The place cannot be read.
        """

    @abstractmethod
    def update(self, name: str, change: Change) -> None:
        """Replace a document by what ``change`` makes of it; ``change`` may be called again after a conflict.

        Raises:
            CouldNotVerify: The place cannot be written.
        """

    def update_many(self, changes: Mapping[str, Change]) -> None:
        """Replace several documents; when one of them cannot be written, others may have been.

        Raises:
            CouldNotVerify: The place cannot be written.
        """
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self.update, changes.keys(), changes.values()))

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The names of the documents right below a folder, sorted.

        Raises:
            CouldNotVerify: The place cannot be read.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a document, if it is there.

        Raises:
            CouldNotVerify: The place cannot be written.
        """

    @abstractmethod
    def where(self) -> str:
        """The place as a person would write it."""


class DirectoryState(State):
    """Documents as files, replaced atomically."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def where(self) -> str:
        """The directory."""
        return str(self._root)

    def read(self, name: str) -> bytes | None:
        """Read a file."""
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise _unusable(self, "read", problem.strerror) from problem

    def update(self, name: str, change: Change) -> None:
        """Change a file under the directory's lock."""
        self.update_many({name: change})

    def update_many(self, changes: Mapping[str, Change]) -> None:
        """Change several files under one lock: all are written out together before the first takes its name."""
        if not changes:
            return
        written: list[tuple[Path, Path]] = []
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with locked(self._root):
                for name, change in changes.items():
                    path = self._root / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    written.append((_write(path, change(self.read(name))), path))
                with ThreadPoolExecutor(_AT_ONCE) as pool:
                    list(pool.map(_sync, (temporary for temporary, _ in written)))
                while written:
                    temporary, path = written[-1]
                    temporary.replace(path)
                    written.pop()
        except OSError as problem:
            raise _unusable(self, "written", problem.strerror) from problem
        finally:
            for temporary, _ in written:
                temporary.unlink(missing_ok=True)

    def names(self, folder: str) -> list[str]:
        """The files of a directory; what is being written beside them is none."""
        try:
            with os.scandir(self._root / folder) as found:
                return sorted(f"{folder}/{each.name}" for each in found if not each.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as problem:
            raise _unusable(self, "read", problem.strerror) from problem

    def remove(self, name: str) -> None:
        """Remove a file."""
        try:
            (self._root / name).unlink(missing_ok=True)
        except OSError as problem:
            raise _unusable(self, "written", problem.strerror) from problem


class BucketState(State):
    """Documents as objects of a bucket, replaced only when nobody else did meanwhile."""

    def __init__(self, settings: StoreSettings) -> None:
        self._settings = settings
        self._bucket, _, prefix = settings.url.removeprefix("s3://").partition("/")
        self._prefix = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""

    @cached_property
    def _client(self) -> Any:
        from restore_drill.stores.s3_client import make_client

        return make_client(self._settings, self.where())

    def where(self) -> str:
        """The bucket and prefix."""
        return self._settings.url

    def read(self, name: str) -> bytes | None:
        """Read an object."""
        return self._get(name)[0]

    def update(self, name: str, change: Change) -> None:
        """Write an object, on the condition that it is still the one that was read."""
        for attempt in range(_ATTEMPTS):
            body, etag = self._get(name)
            condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
            if self._put(name, change(body), condition):
                return
            time.sleep(random.uniform(0, _PAUSE * 2**attempt))  # noqa: S311 - spreads attempts, protects nothing
        raise _unusable(self, "written", f"another run changed {name} {_ATTEMPTS} times meanwhile")

    def names(self, folder: str) -> list[str]:
        """The objects below a prefix."""
        start, found = f"{self._prefix}{folder}/", list[str]()
        more: dict[str, str] = {}
        while True:
            request = {"Bucket": self._bucket, "Prefix": start, "Delimiter": "/", **more}
            answer = self._ask("read", lambda: self._client.list_objects_v2(**request), frozenset()) or {}  # noqa: B023
            found += [each["Key"].removeprefix(self._prefix) for each in answer.get("Contents", ())]
            if not answer.get("IsTruncated"):
                return sorted(found)
            more = {"ContinuationToken": answer["NextContinuationToken"]}

    def remove(self, name: str) -> None:
        """Delete an object."""
        key = self._prefix + name
        self._ask("written", lambda: self._client.delete_object(Bucket=self._bucket, Key=key), NOT_THERE)

    def _get(self, name: str) -> tuple[bytes | None, str]:
        def read() -> tuple[bytes, str]:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            return answer["Body"].read(), answer["ETag"]

        return self._ask("read", read, NOT_THERE) or (None, "")

    def _put(self, name: str, body: bytes, condition: dict[str, str]) -> bool:
        """Whether it was written; not when somebody else was faster."""

        def write() -> Any:
            return self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=body, **condition)

        return self._ask("written", write, NOT_THERE | TAKEN | UNDECIDED) is not None

    def _ask(self, purpose: str, request: Callable[[], _Answer], foreseen: frozenset[str]) -> _Answer | None:
        return ask(request, self._settings.retries, foreseen, lambda why: _unusable(self, purpose, why))


def open_state(settings: StoreSettings) -> State:
    """The state that a catalogue names."""
    if settings.url.startswith("file:"):
        return DirectoryState(Path(settings.url.removeprefix("file://")))
    return BucketState(settings)


def _write(path: Path, body: bytes) -> Path:
    """Write a document beside its place, under a name that is nobody's."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary


def _sync(path: Path) -> None:
    """Have a document on disk: a power cut must not leave an empty one under its name."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unusable(state: State, what: str, why: str | None) -> CouldNotVerify:
    return CouldNotVerify(
        f"the state of earlier drills cannot be {what}: {why}",
        looked_at=state.where(),
        remedy="Check the catalogue's state: and its permissions with restore-drill doctor.",
    )
