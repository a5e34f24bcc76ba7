"""Whether an archive of ``pg_dump`` has all the data that its table of contents announces. Runs inside the sandbox."""

from __future__ import annotations

import mmap
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from restore_drill.engines.postgres import names
from restore_drill.engines.postgres.archive import Archive, Entry, cut, damaged, read
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

_DATA, _BLOBS = 1, 3
_BLOCK: Final = 512
#: A length, where integers have the usual four bytes.
_CHUNK: Final = struct.Struct("<I")
_SUFFIXES: Final = ("", ".gz", ".lz4", ".zst")
#: What pg_dump writes behind the rows of a table (``COPY``'s end, and two empty lines).
_ROWS_END: Final = b"\\.\n\n\n"
_PROPERTIES: Final = 65536
_NAMED: Final = 5
_LOCALE: Final = re.compile(r"\b(?:LOCALE|LC_COLLATE) = '((?:[^']|'')*)'")
_PROVIDER: Final = re.compile(r"\bLOCALE_PROVIDER = (icu|builtin)\b")
_ENCODING: Final = re.compile(r"\bENCODING = '((?:[^']|'')*)'")
_ATTACH: Final = re.compile(r"ALTER TABLE (?:ONLY )?(.+?) ATTACH PARTITION ")
_METHOD: Final = re.compile(r" USING (\w+) \(")
_BLOB_LIST: Final = re.compile(r"blobs(?:_\d+)?\.toc")
_ROLE_KINDS: Final = frozenset({"ACL", "DEFAULT ACL", "POLICY", "USER MAPPING", "SCHEMA", "DATABASE"})


def custom(path: Path) -> dict[str, Any]:
    """Examine an archive in custom form."""
    with path.open("rb") as file:
        archive = read(file)
        seen = set(_blocks(file, archive))
    _expect(archive, [entry for entry in _with_data(archive) if entry.number not in seen])
    return describe(archive)


def tar(path: Path) -> dict[str, Any]:
    """Examine an archive in tar form."""
    with path.open("rb") as file:
        file.seek(_BLOCK)
        archive = read(file)
        members, ended = _members(file)
    if any(name.endswith(_SUFFIXES[1:]) for name in members):
        raise CouldNotVerify(
            "it is a dump in directory form, packed with its table of contents first, so that it looks like tar form",
            remedy="Pack the directory itself (tar -C PARENT -cf FILE DIRECTORY).",
            stage=Stage.RESTORE,
        )
        _require_ends(archive, lambda entry: _tar_end(file, members.get(entry.file)))
    lists = any(_BLOB_LIST.fullmatch(name) for name in members)
    _expect(archive, [e for e in _with_data(archive) if e.file not in members and not (e.kind == "BLOBS" and lists)])
    if not ended:
        raise cut("its last blocks are missing")
    return describe(archive)


def directory(root: Path, *, packed: bool) -> dict[str, Any]:
    """Examine an archive in directory form.

    Args:
        root: The directory that has ``toc.dat``.
        packed: It was stored as an archive of another kind.
    """
    with (root / "toc.dat").open("rb") as file:
        archive = read(file)
    if packed and (root / "restore.sql").exists():
        raise BackupFailed(
            "it is a dump in tar form that was unpacked and packed again, and pg_restore refuses such a file",
            remedy="Store what pg_dump writes as it is; this one can be unpacked and restored with pg_restore -Fd.",
            stage=Stage.RESTORE,
        )
    archive.form = "directory"
    missing = [entry for entry in _with_data(archive) if not _there(root, entry.file)]
    _expect(archive, missing)
    _require_ends(archive, lambda entry: _end(root / entry.file))
    for entry in _with_data(archive):
        if entry.kind == "BLOBS" and (lost := _lost_blobs(root, entry.file)):
            raise cut(f"the files of {lost} large object{'s' if lost > 1 else ''} are missing")
    return describe(archive)


def describe(archive: Archive) -> dict[str, Any]:
    """What is to be known before it is restored (JSON values)."""
    database = next((entry for entry in archive.entries if entry.kind == "DATABASE"), None)
    definition = database.definition if database else ""
    roles: set[str] = set()
    for entry in archive.entries:
        roles.update([entry.owner] if entry.owner else [])
        if entry.kind in _ROLE_KINDS:
            for statement in entry.definition.split(";\n"):
                roles.update(names.roles(statement))
    properties = "".join(entry.definition for entry in archive.entries if entry.kind == "DATABASE PROPERTIES")
    return {
        **headline(archive),
        "encoding": _first(_ENCODING, definition) or _client_encoding(archive),
        "locale": _first(_LOCALE, definition),
        "provider": _first(_PROVIDER, definition),
        "roles": sorted(roles),
        "extensions": sorted({entry.tag for entry in archive.entries if entry.kind == "EXTENSION"}),
        "tablespaces": sorted({entry.tablespace for entry in archive.entries if entry.tablespace}),
        "tables": sum(entry.kind == "TABLE" for entry in archive.entries),
        "data": sum(1 for _ in _with_data(archive)),
        "properties": properties[:_PROPERTIES],
        "sorts": _only_sorts(archive),
    }


def _only_sorts(archive: Archive) -> bool:
    """Whether foreign keys are checked in the restore, and no index is built in another way than by sorting."""
    methods = {found[1] for e in archive.entries if e.kind == "INDEX" and (found := _METHOD.search(e.definition))}
    return methods <= {"btree"} and any(entry.kind == "FK CONSTRAINT" for entry in archive.entries)


def headline(archive: Archive) -> dict[str, Any]:
    """The header, as JSON values."""
    return {
        "form": archive.form,
        "format": "{}.{}-{}".format(*archive.version),
        "compression": archive.compression,
        "server": archive.server,
        "program": archive.program,
        "database": archive.database,
    }


def selection(archive: Archive, tables: list[str]) -> dict[str, Any]:
    """Which entries a sample of these tables restores, and which tables are not in the archive.

    Rows of other tables, large objects, contents of materialised views and foreign keys stay out.
    """
    parents = {
        f"{entry.namespace}.{entry.tag}": _plain(found[1])
        for entry in archive.entries
        if entry.kind == "TABLE ATTACH" and (found := _ATTACH.search(entry.definition))
    }
    wanted = {table if "." in table else f"public.{table}" for table in tables}
    known: set[str] = {f"{entry.namespace}.{entry.tag}" for entry in archive.entries if entry.kind == "TABLE"}
    chosen = []
    for entry in archive.entries:
        if entry.kind == "TABLE DATA":
            if _lineage(f"{entry.namespace}.{entry.tag}", parents) & wanted:
                chosen.append(entry.number)
        elif entry.kind not in ("BLOBS", "FK CONSTRAINT", "MATERIALIZED VIEW DATA"):
            chosen.append(entry.number)
    return {"entries": chosen, "missing": sorted(wanted - known)}


def _lineage(table: str, parents: dict[str, str]) -> set[str]:
    found = {table}
    while (table := parents.get(table, table)) not in found:
        found.add(table)
    return found


def _plain(qualified: str) -> str:
    return ".".join(names.unquote(part) for part in re.findall(r'"(?:[^"]|"")*"|[^".]+', qualified))


def _with_data(archive: Archive) -> Iterator[Entry]:
    return (entry for entry in archive.entries if entry.dumper and entry.at >= 0)


def _expect(archive: Archive, missing: list[Entry]) -> None:
    if not missing:
        return
    shown = ", ".join(entry.tag for entry in missing[:_NAMED]) + (", …" if len(missing) > _NAMED else "")
    total = sum(1 for _ in _with_data(archive))
    raise cut(f"the data of {len(missing)} of {total} entries of its table of contents is missing ({shown})")


def _require_ends(archive: Archive, end: Callable[[Entry], bytes]) -> None:
    """Rows that are not compressed end in a line of their own, and pg_restore does not miss it."""
    short = [entry.tag for entry in _with_data(archive) if entry.copy and not _ROWS_END.endswith(end(entry))]
    if short:
        raise cut(f"the rows of {', '.join(short[:_NAMED])} break off")


def _end(path: Path) -> bytes:
    """The last bytes of a file; of one that is compressed, nothing: that is for its program to find out."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(_ROWS_END)))
        return file.read() or b"nothing"


def _tar_end(file: IO[bytes], member: tuple[int, int] | None) -> bytes:
    if member is None:
        return b""
    begin, size = member
    file.seek(begin + max(0, size - len(_ROWS_END)))
    return file.read(min(size, len(_ROWS_END))) or b"nothing"


def _blocks(file: IO[bytes], archive: Archive) -> Iterator[int]:
    """The numbers of the entries whose data is there to its end."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        walk = _Walk(data, archive.end, archive.integer)
        while walk.place < walk.size:
            kind, number = walk.byte(), walk.number()
            if kind == _DATA:
                walk.chunks()
            elif kind == _BLOBS:
                while walk.number():
                    walk.chunks()
            else:
                raise damaged("there is no data where some should begin")
            yield number


class _Walk:
    """Steps over blocks of data by their lengths."""

    def __init__(self, data: mmap.mmap, place: int, integer: int) -> None:
        self._data, self.place, self.size, self._step = data, place, len(data), integer + 1

    def byte(self) -> int:
        self.place += 1
        return self._data[self.place - 1]

    def number(self) -> int:
        place = self.place
        self.place = end = place + self._step
        if end > self.size:
            raise cut("it ends inside of its data")
        return int.from_bytes(self._data[place + 1 : end], "little")

    def chunks(self) -> None:
        """To behind the empty chunk that ends them; uncompressed, every row is a chunk."""
        place, step, last = self.place, self._step, self.size - self._step
        unpack, data = _CHUNK.unpack_from, self._data
        if step == _CHUNK.size + 1:
            while place <= last:
                (length,) = unpack(data, place + 1)
                place += step + length
                if not length:
                    break
            else:
                raise cut("it ends inside of its data")
            self.place = place
            return
        while length := self.number():
            self.place += length


def _members(file: IO[bytes]) -> tuple[dict[str, tuple[int, int]], bool]:
    """Where the data of a tar's members begins and how long it is, by name; and whether its end was there."""
    found: dict[str, tuple[int, int]] = {}
    size = file.seek(0, 2)
    place = 0
    while place + _BLOCK <= size:
        file.seek(place)
        header = file.read(_BLOCK)
        if not header.strip(b"\0"):
            return found, True
        if header[257:262] != b"ustar":
            raise damaged("a member of it has no header")
        length = _octal(header[124:136])
        if place + _BLOCK + length > size:
            raise cut("it ends inside of its data")
        found[header[:100].rstrip(b"\0").decode(errors="replace")] = (place + _BLOCK, length)
        place += _BLOCK + -(-length // _BLOCK) * _BLOCK
    return found, False


def _octal(field: bytes) -> int:
    """A size: octal digits, or binary where those do not suffice."""
    if field[0] & 0x80:
        return int.from_bytes(field[1:], "big")
    try:
        return int(field.rstrip(b"\0 ") or b"0", 8)
    except ValueError:
        raise damaged("a member of it has no size") from None


def _there(root: Path, name: str) -> bool:
    plain = Path(name).name == name  # or a table of contents would lead out of its directory
    return plain and any((root / f"{name}{suffix}").is_file() for suffix in _SUFFIXES)


def _lost_blobs(root: Path, name: str) -> int:
    """How many files of large objects are missing of those that their list names."""
    listed = [line.split() for line in (root / name).read_text(errors="replace").splitlines()]
    return sum(len(line) != 2 or not _there(root, line[1]) for line in listed)


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[1].replace("''", "'") if found else ""


def _client_encoding(archive: Archive) -> str:
    text = next((entry.definition for entry in archive.entries if entry.kind == "ENCODING"), "")
    found = re.search(r"'([^']*)'", text)
    return found[1] if found else ""
