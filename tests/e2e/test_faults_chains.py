"""Faults of the incremental chains of GNU tar: what is missing, in disorder, cut, or deleted and back again."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from tests.support.contents import AgeKey, files, gz, zst
from tests.support.histories import History
from tests.support.matrix import AGES, FaultMatrix, Make, Row, Site
from tests.support.tar_builder import header_offsets

_TIME = "{time:%Y%m%d_%H%M%S}"
_NUMBERED = _TIME + "_{kind:full=full|incremental=inc}-{seq}.tar"
_TIMED = _TIME + "_{kind:full=full|incremental=inc}.tar"
_DIFFERENTIAL = _TIME + "_{kind:full=full|differential=diff}.tar"
_RULES = {"min": 12, "must_exist": ["renamed/kept", "new-3"], "must_not_exist": ["gone-*", "dropped/**", "dropped"]}
#: Links differ in size by nature.
_ANY_SIZE = {"predecessors": 60}
_KEY = AgeKey()
_WHOLE = "(?i)take a full backup now"


@cache
def nights(*, differential: bool = False, other: bool = False) -> tuple[bytes, ...]:
    """A full archive and three more: each adds a file, the first deletes some, the second renames a directory."""
    with tempfile.TemporaryDirectory() as directory:
        return tuple(_nights(Path(directory), differential, other))


def _nights(root: Path, differential: bool, other: bool) -> Iterator[bytes]:
    history = History(shutil.which("tar") or "tar", root, 0, "--format=gnu", "--owner=0", "--group=0")
    live = history.live
    letters = {f"other-{name}": data for name, data in files().items()} if other else files()
    for name, data in {**letters, "old/kept": b"1", "old/changed": b"1", "dropped/a": b"1", "gone-1": b"1"}.items():
        (live / name).parent.mkdir(parents=True, exist_ok=True)
        (live / name).write_bytes(data)
    yield history.back_up()
    (live / "gone-1").unlink()
    shutil.rmtree(live / "dropped")
    (live / "new-1").write_text("1")
    yield history.back_up(keep=not differential)
    (live / "old").rename(live / "renamed")
    (live / "new-2").write_text("2")
    yield history.back_up(keep=not differential)
    (live / "renamed" / "changed").write_text("3")
    (live / "new-3").write_text("3")
    yield history.back_up(keep=not differential)


def _chain(site: Site, form: str, links: tuple[bytes, ...], pack: Callable[[bytes], bytes] = bytes) -> None:
    site.copy(form)
    site.options |= {"engine": "files", "size": _ANY_SIZE, "grace": "3h", "expect": {"files": _RULES}}
    for number, (age, data) in enumerate(zip(AGES, links, strict=True)):
        site.put(age, pack(data), key=_key(site, number))


def _key(site: Site, number: int, seq: int | None = None) -> str:
    form = site.options["copies"]["nas"]["path"]
    later = "diff" if "diff" in form else "inc"
    when = site.now - AGES[number]
    name = f"{when:%Y%m%d_%H%M%S}_{later if number else 'full'}"
    numbered = f"-{number if seq is None else seq:02}" if "{seq}" in form else ""
    return f"{site.name}/{name}{numbered}.tar{form.rpartition('.tar')[2]}"


def numbered(site: Site) -> None:
    _chain(site, _NUMBERED, nights())


def timed(site: Site) -> None:
    _chain(site, _TIMED, nights())


def compressed(site: Site) -> None:
    _chain(site, f"{_NUMBERED}.gz", nights(), gz)


def differential(site: Site) -> None:
    _chain(site, _DIFFERENTIAL, nights(differential=True))


def encrypted(site: Site) -> None:
    _chain(site, f"{_TIMED}.zst.age", nights(), lambda data: _KEY.encrypt(zst(data)))
    site.options |= {"sensitive": True, "decrypt": {"age": {"identity": site.project.secret("chains", _KEY.secret)}}}


def nightly(site: Site) -> None:
    """Full archives every night, with tar's lists in them."""
    site.copy(f"{_TIME}.tar")
    rules = {"min": 12, "must_exist": ["old/kept"]}
    site.options |= {"engine": "files", "size": _ANY_SIZE, "grace": "3h", "expect": {"files": rules}}
    for age in AGES:
        site.put(age, nights()[0])


def omitted(number: int) -> Make:
    return lambda site: site.disk(_key(site, number)).unlink()


def holds(number: int, data: Callable[[], bytes]) -> Make:
    """A link that is something else, and whose digest is right."""

    def harm(site: Site) -> None:
        key = _key(site, number)
        site.rewrite(data(), key=key)
        site.sign(key=key)

    return harm


def swapped(site: Site) -> None:
    holds(1, lambda: nights()[2])(site)
    holds(2, lambda: nights()[1])(site)


def numbered_twice(site: Site) -> None:
    site.disk(_key(site, 2)).unlink()
    site.put(AGES[2], nights()[2], key=_key(site, 2, seq=1))


def changed(number: int, change: Callable[[bytes], bytes], *, signed: bool = True) -> Make:
    """A link is damaged, before its digest was taken or afterwards."""

    def harm(site: Site) -> None:
        key = _key(site, number)
        site.rewrite(change(site.places["nas"].read(key)), key=key)
        if signed:
            site.sign(key=key)

    return harm


def _flip(data: bytes) -> bytes:
    return data[:700] + bytes([data[700] ^ 1]) + data[701:]


def _cut(data: bytes) -> bytes:
    """Without its last member, and ended as if nothing had happened."""
    return data[: header_offsets(data)[-1]] + bytes(1024)


def _never_ended(data: bytes) -> bytes:
    return data[: header_offsets(data)[-1]]


def _of_volumes(number: int) -> bytes:
    """One part of a multi-volume archive."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        (root / "big").write_bytes(os.urandom(60_000))
        parts = [root / f"part-{part}" for part in range(3)]
        command = ["tar", "-c", "-M", "-V", "weekly", "-L", "30", *(f"--file={part}" for part in parts), "big"]
        subprocess.run(command, check=True, cwd=root)
        return parts[number].read_bytes()


def _part_alone(number: int) -> Make:
    def harm(site: Site) -> None:
        site.rewrite(_of_volumes(number))
        site.sign()

    return harm


def incremental_for_full(site: Site) -> None:
    """The job forgot to begin anew: what it calls full holds only what has changed."""
    site.rewrite(nights()[3])
    site.sign()


ROWS = [
    Row(66, "incremental omitted", numbered, omitted(1), "nas/chain", "1 link.* are missing", _WHOLE,
        blocked=("nas/restores", "nas/files")),
    Row(66, "incremental omitted, names tell no numbers", timed, omitted(1), "nas/chain",
        "the last archive of the chain counts on 1 name that no archive of it brought", _WHOLE),
    Row(66, "incremental omitted from an encrypted chain", encrypted, omitted(2), "nas/chain",
        "counts on [0-9] names?", _WHOLE),
    Row(66, "full one omitted", numbered, omitted(0), "nas/chain", "the full snapshot it builds on is missing", _WHOLE),
    Row(66, "full one of a differential omitted", differential, omitted(0), "nas/chain",
        "the full snapshot it builds on is missing", _WHOLE),
    Row(66, "incrementals out of order", numbered, swapped, "nas/chain", "counts on [0-9] names?", _WHOLE),
    Row(66, "incrementals overlap", numbered, numbered_twice, "nas/chain", "their numbers overlap", _WHOLE),
    Row(66, "full one of another system", numbered, holds(0, lambda: nights(other=True)[0]), "nas/chain",
        "counts on [0-9]+ names that no archive of it brought", _WHOLE),
    Row(66, "differential of another full one", differential, holds(0, lambda: nights(other=True)[0]), "nas/chain",
        "counts on [0-9]+ names", _WHOLE),
    Row(66, "earlier differential omitted", differential, omitted(1)),
    Row(66, "incremental taken for a full one", nightly, incremental_for_full, "nas/restores",
        "it is an incremental archive without those before it", "kind:full"),
    Row(33, "corrupt link", numbered, changed(1, _flip, signed=False), "nas/checksum", "recorded is",
        "use another copy"),
    Row(33, "corrupt link inside gzip", compressed, changed(1, lambda data: data[:-100]), "nas/unpacks",
        "gzip stream is", "."),
    Row(29, "link cut at a member boundary", numbered, changed(1, _never_ended), "nas/unpacks",
        "without end-of-archive blocks", "."),
    Row(29, "link cut at a member boundary, end blocks added", numbered, changed(3, _cut), "nas/unpacks",
        "1 name that the lists of the incremental archives say they hold is not in them", "not_archived"),
    Row(29, "earlier link cut likewise", timed, changed(1, _cut), "nas/unpacks", "1 name that the lists", "."),
    Row(16, "full archive with a list cut likewise", nightly,
        lambda site: (site.rewrite(_cut(site.bytes())), site.sign()), "nas/unpacks", "1 name that the lists", "."),
    Row(31, "zero blocks in a link", numbered,
        changed(2, lambda data: data[: header_offsets(data)[1]] + bytes(1024) + data[header_offsets(data)[1] :]),
        "nas/unpacks", "end the tar archive, but another archive or more members follow", "."),
    Row(30, "bad header in a link", numbered,
        changed(2, lambda data: data[: (at := header_offsets(data)[1])] + b"\xa5" + data[at + 1 :]), "nas/unpacks",
        "a header.* of the tar archive", "take the backup again"),
    Row(32, "first part of a multi-volume archive", nightly, _part_alone(0), "nas/unpacks", "multi-volume archive",
        "one archive"),
    Row(32, "last part of a multi-volume archive", nightly, _part_alone(2), "nas/unpacks", "multi-volume archive",
        "one archive"),
]  # fmt: skip


class TestFaults(FaultMatrix):
    """The rows of this module; the undamaged chains prove that what was deleted is gone and what moved has moved."""
