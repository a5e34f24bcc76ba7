"""The contract of a codec: one byte stream in, another out.

A codec MUST

* recognise its format by the first bytes, never by a name;
* work in bounded memory and hand on what it has as soon as it has it;
* raise :class:`BackupFailed` with a cause of its own for each of: truncated, damaged, trailing bytes, empty;
* raise :class:`CouldNotVerify` when a key is missing or wrong, which says nothing about the backup.

A format that cannot be read from its first byte to its last (a directory stands at its end) is a :class:`StagedCodec`:
the whole stream is put on disk first, where the pipeline says, and the facts say how much that was.

It need not bound its expansion: the pipeline counts what comes out (:mod:`restore_drill.stream`).
Every codec passes :class:`restore_drill.testing.codec.CodecConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any, ClassVar

from restore_drill.disk import Staged, Workspace
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.secrets import SecretReference

#: What the catalogue may say of a format beside its keys.
Setting = str | int | bool
#: What it gives a format under ``decrypt``: keys, which are secrets, and settings, which are not.
Given = Mapping[str, SecretReference | Setting]
#: How many first bytes ``recognises`` may rely on being given (fewer only when the stream is shorter).
HEAD = 1024


@dataclass(frozen=True, slots=True)
class Option:
    """A setting of a format that its bytes do not tell; it stands beside the keys in the catalogue and is no secret.

    Attributes:
        description: What it is, for the reference.
        example: A value, for the reference.
        choices: The words it may be; none: it is a whole number.
        least: The smallest number it may be.
        most: The largest.
        default: What it is when it is left out; ``None``: it must be given.
        only_with: Another option and the value of it without which this one means nothing.
    """

    description: str
    example: Setting
    choices: tuple[str, ...] = ()
    least: int = 1
    most: int = 1 << 31
    default: Setting | None = None
    only_with: tuple[str, Setting] | None = None


class Codec(ABC):
    """A compression or encryption format.

    Args:
        given: What the catalogue gives for this format, by name: the key material, and the settings it declares.
    """

    name: ClassVar[str]
    #: File name endings, as ``gzip`` writes them; used to relate recorded names to layers, never to recognise.
    suffixes: ClassVar[tuple[str, ...]] = ()
    #: Whether the bytes are unreadable without a key.
    encrypts: ClassVar[bool] = False
    #: Names of the secrets it can use; the catalogue is refused when it gives another one.
    keys: ClassVar[tuple[str, ...]] = ()
    #: What must be known beside them; the catalogue is refused when it gives another one, or not what it may be.
    options: ClassVar[Mapping[str, Option]] = {}
    #: Whether nothing in the format itself tells an altered stream: a digest of what it decodes to is then required.
    needs_content_digest: ClassVar[bool] = False
    #: Whether damage is always noticed by the format itself.
    self_checking: ClassVar[bool] = True
    #: Programs of this machine without which it decodes nothing; ``restore-drill doctor`` looks for them.
    programs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, given: Given | None = None) -> None:
        given = given or {}
        self.secrets = {name: value for name, value in given.items() if isinstance(value, SecretReference)}
        defaults = {name: option.default for name, option in self.options.items() if option.default is not None}
        self.settings: dict[str, Setting] = defaults | {
            name: value for name, value in given.items() if not isinstance(value, SecretReference)
        }

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


class StagedCodec(Codec):
    """A format of which nothing can be decoded before the whole stream is on disk.

    The file it is staged in has no name and ends with the process at the latest.
    """

    #: Whether it is an archive, which may hold any number of files: only one of a single file is decoded as a layer.
    holds_files: ClassVar[bool] = False
    #: Where the stream is staged; the pipeline sets it.
    workspace: Workspace | None = None
    _staged = 0

    @classmethod
    def holds_one(cls, whole: Staged) -> bool:  # noqa: ARG003 - overridden by what holds files
        """Whether the one thing in it is to be decoded; else it is left as it is, for an engine that takes trees.

        Raises:
            BackupFailed: It is damaged.
        """
        return True

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Stage the stream, then read it; see :meth:`Codec.decode`."""
        whole = self.stage(chunks)
        try:
            yield from self.read(whole)
        finally:
            whole.close()

    def stage(self, chunks: Iterator[bytes]) -> Staged:
        """Put the stream on disk.

        Raises:
            CouldNotVerify: The disk is too small for it.
        """
        whole = (self.workspace or Workspace.default()).stage(chunks)
        self._staged = whole.size
        return whole

    @abstractmethod
    def read(self, whole: Staged) -> Iterator[bytes]:
        """Decode what was staged; raises as :meth:`decode` does."""

    def facts(self) -> dict[str, Any]:
        """Bytes that were staged."""
        return {"staged": self._staged}


class UnprovenKey(CouldNotVerify):
    """A key that a format without authentication cannot be told from damage by.

    Whoever reads the content can tell: where that proved readable the key was right, and ``damage`` is what is wrong.

    Args:
        damage: What it amounts to then.
    """

    def __init__(self, cause: str, *, damage: BackupFailed, looked_at: str = "", remedy: str = "") -> None:
        super().__init__(cause, looked_at=looked_at, remedy=remedy, stage=Stage.UNPACK)
        self.damage = damage


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
