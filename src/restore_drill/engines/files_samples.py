"""What the ``files`` engine proves itself with: a good archive of a small tree, and the ways in which one goes bad."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from restore_drill.engines.base import Sample

#: What a catalogue would expect of these samples.
EXPECT: Mapping[str, Any] = {
    "files": {
        "must_exist": ["etc/app.toml", "data/**/*.csv"],
        "must_not_exist": ["**/*.tmp"],
        "manifest": "SHA256SUMS",
    },
    "newest_file": {"within": "1h"},
}
#: When their snapshot was taken, and their newest file written (seconds since the epoch).
TAKEN = 1_700_000_000.0
_LONG_AGO = 1_000_000_000
_BLOCK = 512

Contents = Mapping[str, bytes]


def samples() -> Iterator[Sample]:
    """The good one first."""
    good = _contents()
    csv = good["data/2026/orders.csv"]
    changed = {**_listed(good), "data/2026/orders.csv": csv[:-2] + b"X\n"}
    yield Sample("good", "", _sample("good", _listed(good)))
    yield Sample("one-byte-changed", "files", _sample("changed", changed))
    yield Sample("a-file-missing", "files", _sample("missing", _without(_listed(good), "data/2026/items.csv")))
    yield Sample("a-file-extra", "files", _sample("extra", {**_listed(good), "data/left-over.csv": b"1\n"}))
    yield Sample("a-forbidden-file", "files", _sample("forbidden", _listed({**good, "data/half.tmp": b"1\n"})))
    yield Sample("stale", "newest", _sample("stale", _listed(good), written=_LONG_AGO))
    yield Sample("no-file", "restores", _sample("empty", {}))
    yield Sample("cut-at-a-member", "unpacks", _sample("cut", _listed(good), _cut_at_member))
    yield Sample("cut-inside-a-member", "unpacks", _sample("short", _listed(good), _cut_inside_member))
    yield Sample("damaged-header", "unpacks", _sample("header", _listed(good), _damage_a_header))
    yield Sample("zeros-in-the-middle", "unpacks", _sample("zeros", _listed(good), _zeros_in_the_middle))
    yield Sample("trailing-bytes", "unpacks", _sample("trailing", _listed(good), lambda data: data + b"more"))
    yield Sample("climbs-out", "unpacks", _sample("hostile", {**_listed(good), "../outside": b"1\n"}))


def _contents() -> dict[str, bytes]:
    orders = b"".join(b"%d,2026-01-%02d,%d\n" % (number, number % 28 + 1, number * 7) for number in range(400))
    items = b"".join(b"%d,%d\n" % (number, number % 400) for number in range(900))
    return {"etc/app.toml": b'name = "orders"\n', "data/2026/orders.csv": orders, "data/2026/items.csv": items}


def _listed(contents: Contents) -> dict[str, bytes]:
    lines = [f"{hashlib.sha256(data).hexdigest()}  ./{name}\n" for name, data in contents.items()]
    return {**contents, "SHA256SUMS": "".join(lines).encode()}


def _without(contents: Contents, name: str) -> dict[str, bytes]:
    return {other: data for other, data in contents.items() if other != name}


def _sample(
    name: str, contents: Contents, damage: Callable[[bytes], bytes] = bytes, written: float = TAKEN
) -> Callable[[Path], Path]:
    def build(directory: Path) -> Path:
        path = directory / f"{name}.tar"
        path.write_bytes(damage(_tar(contents, written)))
        return path

    return build


def _tar(contents: Contents, written: float) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        root = tarfile.TarInfo("./")
        root.type, root.mode, root.mtime = tarfile.DIRTYPE, 0o755, written
        archive.addfile(root)
        for name, data in contents.items():
            member = tarfile.TarInfo(f"./{name}" if not name.startswith("..") else name)
            member.size, member.mtime = len(data), written
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def _headers(data: bytes) -> list[int]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return [member.offset for member in archive]


def _cut_at_member(data: bytes) -> bytes:
    return data[: _headers(data)[-1]]


def _cut_inside_member(data: bytes) -> bytes:
    return data[: _headers(data)[-1] + _BLOCK + 9]


def _damage_a_header(data: bytes) -> bytes:
    at = _headers(data)[2] + 3
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _zeros_in_the_middle(data: bytes) -> bytes:
    at = _headers(data)[2]
    return data[:at] + bytes(2 * _BLOCK) + data[at:]
