"""Where small documents are kept between runs: a directory, or a prefix of a bucket.

Together with the reports this is all that restore-drill ever writes. Documents are changed by read-modify-write that
two runs at once survive: under a file lock in a directory, by conditional requests (``If-Match``) in a bucket.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from restore_drill.errors import CouldNotVerify
from restore_drill.stores.base import StoreSettings

Change = Callable[[bytes | None], bytes]
_ATTEMPTS = 8


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
        path = self._root / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with self._lock():
                _replace(path, change(self.read(name)))
        except OSError as problem:
            raise _unusable(self, "written", problem.strerror) from problem

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        descriptor = os.open(self._root / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class BucketState(State):
    """Documents as objects of a bucket, replaced only when nobody else did meanwhile."""

    def __init__(self, settings: StoreSettings) -> None:
        from restore_drill.stores.s3 import make_client, split_url

        self._settings = settings
        self._bucket, self._prefix = split_url(settings.url)
        self._client: Any = make_client(settings)

    def where(self) -> str:
        """The bucket and prefix."""
        return self._settings.url

    def read(self, name: str) -> bytes | None:
        """Read an object."""
        return self._get(name)[0]

    def update(self, name: str, change: Change) -> None:
        """Write an object, on the condition that it is still the one that was read."""
        for _ in range(_ATTEMPTS):
            body, etag = self._get(name)
            condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
            if self._put(name, change(body), condition):
                return
        raise _unusable(self, "written", f"another run changed {name} {_ATTEMPTS} times meanwhile")

    def _get(self, name: str) -> tuple[bytes | None, str]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)
            return answer["Body"].read(), answer["ETag"]
        except ClientError as problem:
            if problem.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return None, ""
            raise _unusable(self, "read", problem.response["Error"]["Code"]) from problem
        except BotoCoreError as problem:
            raise _unusable(self, "read", type(problem).__name__) from problem

    def _put(self, name: str, body: bytes, condition: dict[str, str]) -> bool:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=body, **condition)
        except ClientError as problem:
            code = problem.response["Error"]["Code"]
            if code in ("PreconditionFailed", "ConditionalRequestConflict", "412", "409"):
                return False
            raise _unusable(self, "written", code) from problem
        except BotoCoreError as problem:
            raise _unusable(self, "written", type(problem).__name__) from problem
        return True


def open_state(settings: StoreSettings) -> State:
    """The state that a catalogue names."""
    if settings.url.startswith("file:"):
        return DirectoryState(Path(settings.url.removeprefix("file://")))
    return BucketState(settings)


def _replace(path: Path, body: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _unusable(state: State, what: str, why: str | None) -> CouldNotVerify:
    return CouldNotVerify(
        f"the state of earlier drills cannot be {what}: {why}",
        looked_at=state.where(),
        remedy="Check the catalogue's state: and its permissions with restore-drill doctor.",
    )
