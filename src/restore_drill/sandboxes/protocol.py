"""What a host and its sandbox process say to each other: frames on a stream socket, errors as JSON.

A frame is one type byte, four length bytes (network order) and the payload. The host sends ``CALL`` (JSON), then,
when the call is fed, any number of ``DATA`` and one ``END`` or ``ABORT``; the sandbox process answers each call with
any number of ``PROGRESS`` and, when the feed has ended, one ``RESULT``, ``BUSY_RESULT``, ``FAILURE`` or
``LAST_FAILURE`` (JSON).

The sandbox process handles hostile bytes: nothing that it says may make the host import, evaluate or allocate without
bound.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

from restore_drill.errors import CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage

HEADER: Final = struct.Struct("!BI")

CALL: Final = 1
DATA: Final = 2
END: Final = 3
ABORT: Final = 4
RESULT: Final = 16
FAILURE: Final = 17
PROGRESS: Final = 18
#: A failure after which the process serves no other call.
LAST_FAILURE: Final = 19
#: A result after which something that the call began goes on: a process, or a thread.
BUSY_RESULT: Final = 20

_ANSWERS: Final = frozenset({RESULT, BUSY_RESULT, FAILURE, LAST_FAILURE, PROGRESS})

#: Bytes of one data frame at most.
DATA_LIMIT: Final = 1 << 20
#: Bytes of one JSON payload at most: an answer is counts and names, never content.
JSON_LIMIT: Final = 64 << 20
#: Bytes of one progress report at most; it must fit into a socket buffer whole.
PROGRESS_LIMIT: Final = 16 << 10

_FUNCTION = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)
_PARTS = frozenset({"cause", "looked_at", "remedy", "stage", "details"})
_TEXT_LIMIT = 4000
_DETAILS_LIMIT = 1000


class ProtocolError(Exception):
    """The other side sent what no correct peer sends."""


def is_function_name(name: str) -> bool:
    """Whether a name is of the form ``package.module:function``, and nothing that could reach further."""
    return _FUNCTION.fullmatch(name) is not None


def dump(value: Any) -> bytes:
    """JSON in ASCII, which carries undecodable file names (lone surrogates) unharmed."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def frame(kind: int, payload: bytes = b"") -> bytes:
    """One small frame, header included."""
    return HEADER.pack(kind, len(payload)) + payload


class Inbox:
    """Puts the frames of a byte stream together, however it is cut."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def add(self, data: bytes) -> None:
        """Take what was received."""
        self._bytes += data

    def take(self) -> tuple[int, bytes] | None:
        """The next complete frame, or ``None``.

        Raises:
            ProtocolError: What came is no answer frame.
        """
        if len(self._bytes) < HEADER.size:
            return None
        kind, size = HEADER.unpack_from(self._bytes)
        if kind not in _ANSWERS or size > (PROGRESS_LIMIT if kind == PROGRESS else JSON_LIMIT):
            raise ProtocolError(f"a frame of type {kind} with {size} bytes")
        end = HEADER.size + size
        if len(self._bytes) < end:
            return None
        payload = bytes(self._bytes[HEADER.size : end])
        del self._bytes[:end]
        return kind, payload


def encode_error(error: RestoreDrillError) -> dict[str, Any]:
    """An error with all its parts as JSON values."""
    plain = (str, int, float, bool, type(None))
    return {
        "classes": [_label(kind) for kind in type(error).__mro__ if issubclass(kind, RestoreDrillError)],
        "cause": error.cause[:_TEXT_LIMIT],
        "looked_at": error.looked_at[:_TEXT_LIMIT],
        "remedy": error.remedy[:_TEXT_LIMIT],
        "stage": str(error.stage) if error.stage else None,
        "details": [str(detail)[:_TEXT_LIMIT] for detail in error.details[:_DETAILS_LIMIT]],
        "more": {name: value for name, value in vars(error).items() if name not in _PARTS and isinstance(value, plain)},
    }


def decode_error(parts: Mapping[str, Any]) -> RestoreDrillError:
    """The error that :func:`encode_error` took apart, of the same class.

    A class that this process has not imported is replaced by its nearest known base; nothing is imported by name.
    """
    known = {_label(kind): kind for kind in _classes(RestoreDrillError)}
    names = [name for name in parts.get("classes", ()) if isinstance(name, str)]
    kind = next((known[name] for name in names if name in known), CouldNotVerify)
    error = kind.__new__(kind, str(parts.get("cause")))
    RestoreDrillError.__init__(
        error,
        str(parts.get("cause")),
        looked_at=str(parts.get("looked_at") or ""),
        remedy=str(parts.get("remedy") or ""),
        stage=_stage(parts.get("stage")),
        details=tuple(str(detail) for detail in parts.get("details") or ()),
    )
    more = parts.get("more")
    for name, value in more.items() if isinstance(more, dict) else ():
        if name.isidentifier() and not name.startswith("_") and not callable(getattr(error, name, None)):
            setattr(error, name, value)
    return error


def _label(kind: type) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def _classes(kind: type[RestoreDrillError]) -> Iterator[type[RestoreDrillError]]:
    yield kind
    for derived in kind.__subclasses__():
        yield from _classes(derived)


def _stage(value: object) -> Stage | None:
    return Stage(value) if isinstance(value, str) and value in Stage.__members__.values() else None
