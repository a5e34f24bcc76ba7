"""Where backup jobs write in the tests: a directory whose files can be dated, and a bucket whose objects cannot."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

#: How long after the time it claims an object is there.
DELAY = timedelta(seconds=30)


class Place(Protocol):
    """A store, as the job sees it that writes there."""

    def write(self, key: str, data: bytes, when: datetime) -> None:
        """Store an object that claims to be of ``when``."""

    def read(self, key: str) -> bytes:
        """Its bytes."""

    def remove(self, key: str) -> None:
        """Delete it."""


class Disk:
    """A directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, key: str, data: bytes, when: datetime) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.date(key, when + DELAY)

    def date(self, key: str, when: datetime) -> None:
        os.utime(self.root / key, (when.timestamp(), when.timestamp()), follow_symlinks=False)

    def read(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def remove(self, key: str) -> None:
        (self.root / key).unlink()


class Bucket:
    """A prefix of a bucket.

    Attributes:
        metadata: What the objects written from now on carry.
    """

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        self.client = client
        self.bucket = bucket
        self.prefix = prefix
        self.metadata: dict[str, str] = {}

    def write(self, key: str, data: bytes, when: datetime) -> None:  # the server dates it
        self.client.put_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}", Body=data, Metadata=self.metadata)

    def read(self, key: str) -> bytes:
        data: bytes = self.client.get_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")["Body"].read()
        return data

    def remove(self, key: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"{self.prefix}/{key}")
