"""Unpack an archive that lies in the work directory already: one of several in a tree that was restored.

What compresses it is taken off here, in the sandbox; what encrypts it is not, as no key ever gets there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

from restore_drill.archives.base import Archive
from restore_drill.archives.unpack import Pulse, full_modes, inside, open_tree
from restore_drill.codecs.base import HEAD, Codec, StagedCodec
from restore_drill.disk import Workspace, reserve
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.registry import load, names
from restore_drill.sandboxes.base import Call

_PIECE = 1 << 20
_MOST_LAYERS = 2
_RATIO = 1000
#: Expansion is not judged below this many bytes.
_RATIO_FREE = 256 << 20


def unpack_file(call: Call, *, path: str, root: str, limits: Mapping[str, Any], archive: str = "tar") -> dict[str, Any]:
    """Unpack one archive.

    Args:
        call: Where this runs.
        path: The archive, inside the work directory.
        root: A directory inside the work directory that does not exist yet, as for
            :func:`restore_drill.archives.unpack.unpack_tree`.
        limits: As there.
        archive: Registered name of the format.

    Returns:
        What :meth:`restore_drill.archives.members.Tree.finish` returns.

    Raises:
        BackupFailed: Damaged, hostile, or beyond a limit (stage ``unpack``).
        CouldNotVerify: It is encrypted or packed in a way that is not taken off here, or disk or time are too small.
    """
    free = reserve(call.work)
    reader: Archive = load("archives", archive)()
    reader.workspace = Workspace(call.work, free)
    tree = open_tree(call, root, limits, digest=False, discard=False, reserve=free)
    with full_modes(), closing(tree):
        reader.unpack(_content(call, inside(call.work, path), int(limits.get("ratio", _RATIO))), tree)
        return tree.finish()


def _content(call: Call, path: Path, ratio: int) -> Iterator[bytes]:
    """The bytes of the archive within whatever compresses it."""
    head, chunks = _peek(_read(call, path))
    depth, most = 0, max(_RATIO_FREE, ratio * path.stat().st_size)
    while codec := _codec(head):
        if codec.encrypts or isinstance(codec, StagedCodec) or depth == _MOST_LAYERS:
            raise CouldNotVerify(
                f"an archive inside the snapshot is {'encrypted' if codec.encrypts else 'packed'} by {codec.name}, "
                "which is not taken off there",
                remedy="Name it as an artifact of its own (path or parts), or store the snapshot as one archive.",
                stage=Stage.UNPACK,
            )
        head, chunks = _peek(_bound(codec.decode(chunks), most))
        depth += 1
    return chunks


def _codec(head: bytes) -> Codec | None:
    kinds: Iterator[type[Codec]] = (load("codecs", name) for name in names("codecs"))
    return next((kind(None) for kind in kinds if kind.recognises(head)), None)


def _read(call: Call, path: Path) -> Iterator[bytes]:
    pulse, size = Pulse(call), 0
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        while piece := file.read(_PIECE):
            size += len(piece)
            pulse.beat({"bytes": size})
            yield piece


def _peek(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    head: list[bytes] = []
    while sum(map(len, head)) < HEAD and (piece := next(chunks, b"")):
        head.append(piece)
    return b"".join(head)[:HEAD], chain(head, chunks)


def _bound(chunks: Iterator[bytes], most: int) -> Iterator[bytes]:
    """What a decompression bomb meets."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise BackupFailed(
                "unpacking an archive inside the snapshot would give far more than its stored size",
                remedy="If this backup really is like that, store it as one archive and raise limits.ratio.",
                stage=Stage.UNPACK,
            )
        yield chunk
