"""``global/pg_control`` of a data directory: whose it is, in which state, and what recovery demands of a server.

Source: ``src/include/catalog/pg_control.h`` of PostgreSQL 12 to 18. The fields that are read here stand at the same
offsets in all of them; 18 has one more before the checksum, whose place the version of the file tells.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Final

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

#: Version of the file → offset of its checksum: 1201 is PostgreSQL 12, 1300 is 13 to 16.
_CHECKSUM_AT: Final[Mapping[int, int]] = {1201: 288, 1300: 288, 1700: 288, 1800: 292}
#: ``DBState``, in its order.
_STATES: Final = (
    "starting up", "shut down", "shut down in recovery", "shutting down", "in crash recovery", "in archive recovery",
    "in production",
)  # fmt: skip
_WAL_LEVELS: Final = ("minimal", "replica", "logical")
_LEAST: Final = 512
_REMEDY: Final = "Use another copy or snapshot: without this file nothing can start from the data."


@dataclass(frozen=True, slots=True)
class Control:
    """What the file says.

    Attributes:
        system: The identifier that ``initdb`` gave the cluster.
        catalog: Version of the system catalogues.
        state: What the cluster was doing when the file was copied.
        checkpoint: Position of its latest checkpoint (``0/2000060``).
        timeline: Of that checkpoint.
        wal_level: What the server wrote to its write-ahead log.
        demands: Parameters that a server must have at least as large to recover it.
        segment: Bytes of a file of write-ahead log.
        checksums: Version of the data page checksums, 0 where there are none.
    """

    system: str
    catalog: int
    state: str
    checkpoint: str
    timeline: int
    wal_level: str
    demands: Mapping[str, int]
    segment: int
    checksums: int

    @property
    def was_shut_down(self) -> bool:
        """Whether it had been stopped in order."""
        return self.state.startswith("shut down")

    def to_json(self) -> dict[str, Any]:
        """As a sandbox hands it on."""
        return asdict(self)


def parse(raw: bytes) -> Control:
    """Read the first bytes of the file.

    Raises:
        BackupFailed: It is short, or its checksum does not fit.
        CouldNotVerify: It is of a version, or of a machine, that is not known here.
    """
    if len(raw) < _LEAST or not any(raw[:_LEAST]):
        raise _damaged("is too short" if raw[:_LEAST].strip(b"\0") or not raw else "holds nothing but zeros")
    version = int(_field(raw, "<I", 8))
    place = _CHECKSUM_AT.get(version)
    if place is None:
        if int(_field(raw, ">I", 8)) in _CHECKSUM_AT:
            raise _unknown("comes from a machine of the other byte order", "Drill it on a machine of its own kind.")
        if any(crc32c(raw[:at]) == _field(raw, "<I", at) for at in range(256, 480, 4)):
            raise _unknown(
                f"has the version {version}, which is not read here", "PostgreSQL 12 to 18 can be drilled from files."
            )
        raise _damaged("is damaged: it says a version that does not exist")
    if crc32c(raw[:place]) != _field(raw, "<I", place):
        raise _damaged("is damaged: its checksum does not fit")
    names = ("max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions",
             "max_locks_per_transaction")  # fmt: skip
    return Control(
        system=str(_field(raw, "<Q", 0)),
        catalog=_field(raw, "<I", 12),
        state=_at(_STATES, _field(raw, "<i", 16)),
        checkpoint=position(_field(raw, "<Q", 32)),
        timeline=_field(raw, "<I", 48),
        wal_level=_at(_WAL_LEVELS, _field(raw, "<i", 172)),
        demands={name: _field(raw, "<i", 180 + 4 * number) for number, name in enumerate(names)},
        segment=_field(raw, "<I", 228),
        checksums=_field(raw, "<I", 252),
    )


def position(lsn: int) -> str:
    """A place in the write-ahead log as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def crc32c(data: bytes, value: int = 0) -> int:
    """The CRC-32C (RFC 3720) of a few bytes: a table and no library, for files of a page at most."""
    table, value = _table(), value ^ 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


@cache
def _table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)  # noqa: PLW2901 - eight steps of one value
        table.append(value)
    return tuple(table)


def _field(raw: bytes, form: str, place: int) -> int:
    return int(struct.unpack_from(form, raw, place)[0])


def _at(names: tuple[str, ...], number: int) -> str:
    return names[number] if 0 <= number < len(names) else f"unknown ({number})"


def _damaged(how: str) -> BackupFailed:
    return BackupFailed(f"global/pg_control {how}", remedy=_REMEDY, stage=Stage.RESTORE)


def _unknown(how: str, remedy: str) -> CouldNotVerify:
    return CouldNotVerify(f"global/pg_control {how}", remedy=remedy, stage=Stage.RESTORE)
