"""The contract of a codec: one byte stream in, another out.

A codec MUST

* recognise its format by the first bytes, never by a name;
* work in bounded memory and hand on what it has as soon as it has it;
* raise :class:`BackupFailed` with a cause of its own for each of: truncated, damaged, trailing bytes, empty;
* raise :class:`CouldNotVerify` when a key is missing or wrong, which says nothing about the backup.

It need not bound its expansion: the pipeline counts what comes out (:mod:`restore_drill.stream`).
Every codec passes :class:`restore_drill.testing.codec.CodecConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version
from typing import Any, ClassVar

from restore_drill.errors import BackupFailed
from restore_drill.model import Stage
from restore_drill.secrets import SecretReference

#: How many first bytes ``recognises`` may rely on being given (fewer only when the stream is shorter).
HEAD = 1024


class Codec(ABC):
    """A compression or encryption format.

    Args:
        secrets: The key material the catalogue gives for this format, by name.
    """

    name: ClassVar[str]
    #: File name endings, as ``gzip`` writes them; used to relate recorded names to layers, never to recognise.
    suffixes: ClassVar[tuple[str, ...]] = ()
    #: Whether the bytes are unreadable without a key.
    encrypts: ClassVar[bool] = False
    #: Names of the secrets it can use; the catalogue is refused when it gives another one.
    keys: ClassVar[tuple[str, ...]] = ()
    #: Whether damage is always noticed by the format itself.
    self_checking: ClassVar[bool] = True

    def __init__(self, secrets: Mapping[str, SecretReference] | None = None) -> None:
        self.secrets = dict(secrets or {})

    @classmethod
    @abstractmethod
    def recognises(cls, head: bytes) -> bool:
        """Whether a stream that begins with these bytes is of this format."""

    @abstractmethod
    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Turn the encoded stream into the decoded one.

        Raises:
            BackupFailed: Truncated, damaged, followed by something else, or empty (stage ``unpack``).
            CouldNotVerify: The key is missing or is the wrong one (stage ``unpack``).
        """

    def facts(self) -> dict[str, Any]:
        """What is worth recording once decoded: frames, key id. Never key material."""
        return {}


@cache
def library(package: str) -> str:
    """Name and version of an installed package, for facts: looking it up costs more than a small backup does."""
    return f"{package} {version(package)}"


def damaged(codec: str, how: str, remedy: str = "") -> BackupFailed:
    """The error for bytes that break the format's own rules."""
    return BackupFailed(
        f"the {codec} stream is {how}",
        remedy=remedy or "Compare its size with the original; take the backup again if the original is as bad.",
        stage=Stage.UNPACK,
    )
