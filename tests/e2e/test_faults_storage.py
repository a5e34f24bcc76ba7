"""Faults of stores and of the way from them: nothing there, not the right thing, not all of it, not what it was."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.contents import files, gz, manifest, sha256, shop
from tests.support.estate import Outcome, Project
from tests.support.fault_proxy import Fault, FaultProxy
from tests.support.matrix import (
    AGES,
    HEALTHY,
    FaultMatrix,
    Make,
    Matrix,
    Row,
    Site,
    cut,
    nothing,
    stored,
    twin,
)
from tests.support.servers import S3Server, free_ports

_TIME = "{time:%Y%m%d_%H%M%S}"
#: Objects of a bucket cannot be dated: what was put there just now would still be on its way.
_AT_ONCE = "0.001s"
#: What happens to files while they are read and afterwards; each only to the target that is called so.
_MEDDLING = """
import os
from restore_drill.stores.local import LocalStore

read = LocalStore.open

def open_and_meddle(self, artifact):
    path = self.local_path(artifact.key)
    status = path.stat()
    chunks = read(self, artifact)
    try:
        for chunk in chunks:
            yield chunk
            if artifact.key.endswith(".db"):
                if "grows-while-it-is-read" in artifact.key:
                    with path.open("ab") as file:
                        file.write(b"more")
                elif "shrinks-while-it-is-read" in artifact.key:
                    os.truncate(path, 4096)
                elif "overwritten-while-it-is-read" in artifact.key:
                    path.write_bytes(bytes(status.st_size))
                    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    finally:
        chunks.close()
    if artifact.key.endswith(".db") and "changes-between-hash-and-restore" in artifact.key:
        path.write_bytes(b"something else")

LocalStore.open = open_and_meddle
"""


def on_disk(site: Site) -> None:
    site.copy(f"{_TIME}.db")
    site.options |= {"size": {"predecessors": 60}, "expect": {"rows": {"customers": 40}}}
    for age in AGES:
        site.put(age, shop(site.now - age))


def compressed(site: Site) -> None:
    site.copy(f"{_TIME}.db.gz")
    site.options["size"] = {"predecessors": 60}
    for age in AGES:
        site.put(age, gz(shop(site.now - age)))


def in_a_bucket(site: Site) -> None:
    site.copy(f"{_TIME}.db", "cloud")
    site.options |= {"size": {"predecessors": 60}, "settle": _AT_ONCE, "expect": {"rows": {"customers": 40}}}
    for age in AGES:
        site.put(age, shop(site.now - age), "cloud")


def with_sizes_compared(site: Site) -> None:
    on_disk(site)
    del site.options["size"]


def by_any_name(site: Site) -> None:
    """The pattern takes every name, temporary ones included."""
    site.copy(f"{_TIME}_{{any}}")
    site.options["expect"] = {"rows": {"customers": 40}}
    for age in AGES:
        site.put(age, shop(site.now - age), key=f"{site.name}/{site.now - age:%Y%m%d_%H%M%S}_shop.db")


def with_markers(site: Site) -> None:
    site.copy(f"{_TIME}.db", complete_when="{name}.done")
    for age in AGES:
        site.put(age, shop(site.now - age))
        site.beside(b"", ".done")


def with_pointer(site: Site) -> None:
    site.copy(f"{_TIME}.db", latest=f"{site.name}/LATEST")
    for age in AGES:
        site.put(age, shop(site.now - age))
    pointed(0)(site)


def pointed(back: int) -> Make:
    """The pointer names the newest but so many."""

    def write(site: Site) -> None:
        when = site.now - AGES[-1 - back]
        site.places["nas"].write(f"{site.name}/LATEST", f"{site.key(when)}\n".encode(), site.now - AGES[-1])

    return write


def in_parts(site: Site) -> None:
    site.copy(f"{_TIME}.db.gz.part-{{part}}")
    for age in AGES:
        data, whole = gz(shop(site.now - age)), site.key(site.now - age).removesuffix(".part-{part}")
        for number, letter in enumerate("abc"):
            piece = data[number * len(data) // 3 : (number + 1) * len(data) // 3]
            site.put(age, piece, key=f"{whole}.part-a{letter}", digest=False)
        site.places["nas"].write(f"{whole}.sha256", sha256(data).encode(), site.now - age)


def in_rotation(site: Site) -> None:
    site.copy("shop.db{rotation:.}.gz")
    site.options["expect"] = {"newest_record": {"sql": "select max(created_at) from orders", "within": "2h"}}
    for number, age in enumerate(reversed(AGES)):
        key = f"{site.name}/shop.db{f'.{number}' if number else ''}.gz"
        site.put(age, gz(shop(site.now - age)), key=key)


def in_folders(site: Site) -> None:
    site.copy("{time:%Y-%m-%d_%H%M}/orders.db.gz", shared_folder=True, complete_when="DONE")
    for age in AGES:
        key = site.put(age, gz(shop(site.now - age)))
        for name in ("customers.db.gz", "DONE"):
            site.places["nas"].write(key.replace("orders.db.gz", name), b"of another target", site.now - age)


def in_prefixes(site: Site) -> None:
    site.copy(f"{_TIME}/", "cloud", complete_when="{name}/_SUCCESS")
    site.options |= {"engine": "files", "settle": _AT_ONCE}
    for age in AGES:
        tree = files(stamp=str(age))
        site.grow(age, {**tree, "SHA256SUMS": manifest(tree), "_SUCCESS": b"\n"}, "cloud")


def beside_the_newest(name: str, copy: str = "nas") -> Make:
    """Remove what belongs to the newest snapshot."""
    return lambda site: site.places[copy].remove(f"{site.newest(copy)}{name}")


def without_the_middle(site: Site) -> None:
    site.places["nas"].remove(site.newest().removesuffix("c") + "b")


def rotated_wrongly(site: Site) -> None:
    """Yesterday's was written to again."""
    site.places["nas"].date(f"{site.name}/shop.db.1.gz", site.now - timedelta(minutes=5))  # type: ignore[attr-defined]


def pinned_rotation(site: Site) -> None:
    in_rotation(site)
    site.options["copies"]["nas"]["checksum"] = "pinned"


def rotated_again(site: Site) -> None:
    """Every name holds what the one before it held, and the first something new."""
    names = [f"{site.name}/shop.db{f'.{number}' if number else ''}.gz" for number in range(len(AGES) + 1)]
    for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
        site.disk(newer).rename(site.disk(older))
    when = site.now - timedelta(minutes=5)
    site.places["nas"].write(names[0], gz(shop(when)), when)


def out_of_its_folder(site: Site) -> None:
    """The newest run made every backup but this one."""
    for suffix in ("", ".sha256"):
        site.places["nas"].remove(f"{site.newest()}{suffix}")


def with_a_key_that_climbs(site: Site) -> None:
    site.places["cloud"].write(f"{site.newest('cloud')}a/../../../escaped", b"out", site.now)


def emptied(copy: str = "nas") -> Make:
    """Nothing is left of the backups."""

    def harm(site: Site) -> None:
        for age in AGES:
            key = site.key(site.now - age, copy)
            for suffix in ("", ".sha256"):
                site.places[copy].remove(f"{key}{suffix}")

    return harm


def is_now(data: bytes, copy: str = "nas") -> Make:
    """The newest snapshot has other bytes, and their digest."""
    return stored(lambda _: data, copy)


def newer(suffix: str, minutes: int, data: bytes = b"SQLite format 3\0 and so on", prefix: str = "") -> Make:
    """An upload of so many minutes ago is, or was, under way."""

    def harm(site: Site) -> None:
        when = site.now - timedelta(minutes=minutes)
        directory, _, name = site.key(when).rpartition("/")
        site.places["nas"].write(f"{directory}/{prefix}{name}{suffix}", data, when)

    return harm


def in_place_of_the_newest(make: Callable[[Path], object], minutes: int = 18) -> Make:
    """Under the name of a snapshot of so many minutes ago stands something else than a file."""

    def harm(site: Site) -> None:
        when = site.now - timedelta(minutes=minutes)
        path = site.disk(site.key(when))
        make(path)
        os.utime(path, (when.timestamp(), when.timestamp()), follow_symlinks=False)

    return harm


def linked_inside(site: Site) -> None:
    """The newest is a link to a file of the same store; another link, of no snapshot's name, leads out."""
    newest = site.disk(site.newest())
    newest.rename(newest.with_name("kept")).touch()
    newest.symlink_to("kept")
    when = (site.when(site.newest()) + timedelta(seconds=30)).timestamp()
    os.utime(newest, (when, when))
    newest.with_name("latest").symlink_to("/etc/hostname")


def touched(site: Site) -> None:
    """An old snapshot was copied or touched: by its modification time it is the newest."""
    oldest = site.key(site.now - AGES[0])
    site.disk(oldest).touch()


def older_than_its_claim(site: Site) -> None:
    """A copy of last week's backup under today's name keeps its time."""
    site.places["nas"].date(site.newest(), site.now - timedelta(days=7))  # type: ignore[attr-defined]


def sidecar_of_etag(site: Site) -> None:
    site.beside(b'"d41d8cd98f00b204e9800998ecf8427e-3"\n', copy="cloud")


def half(data: bytes) -> bytes:
    return data[: len(data) // 3]


_PAGE = b"<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>\n"
_ERROR = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>"
_JOB = "backup job"

ROWS = [
    Row(
        1, "no snapshot at all", on_disk, emptied(), "nas/located", "no snapshot, 0 objects looked at", _JOB,
        blocked=("nas/rpo", "nas/fetched", "nas/integrity", "nas/rows/customers"),
    ),
    Row(1, "no snapshot at all in a bucket", in_a_bucket, emptied("cloud"), "cloud/located", "no snapshot", _JOB),
    Row(2, "0-byte object", on_disk, is_now(b""), "nas/located", r"it is empty \(0 bytes\)", _JOB),
    Row(
        2, "0-byte object in a bucket", in_a_bucket, is_now(b"", "cloud"), "cloud/located", r"it is empty \(0 bytes\)",
        _JOB,
    ),
    Row(
        2, "size collapse", with_sizes_compared, stored(half), "nas/located", "more than 50 % smaller",
        "baseline accept",
    ),
    Row(
        1, "newest is a link that leads out", on_disk,
        in_place_of_the_newest(lambda path: path.symlink_to("/etc/hostname")), "nas/located",
        "the name of the newest snapshot, and it is a symbolic link that leads out", "store's url",
    ),
    Row(
        1, "newest is a link to nothing", on_disk, in_place_of_the_newest(lambda path: path.symlink_to("gone")),
        "nas/located", "a symbolic link to nothing", "what put it",
    ),
    Row(
        1, "newest is a fifo", on_disk, in_place_of_the_newest(os.mkfifo), "nas/located", "it is a FIFO",
        "what put it",
    ),
    Row(
        1, "newest is a directory", on_disk, in_place_of_the_newest(Path.mkdir), "nas/located", "it is a directory",
        "what put it",
    ),
    Row(
        1, "newest became a fifo just now", on_disk, in_place_of_the_newest(os.mkfifo, 2),
        note="stepped over .*: it is a FIFO, which is never read",
    ),
    Row(1, "newest is a link inside the store", on_disk, linked_inside),
    Row(
        3, "error page stored as a dump", on_disk, is_now(_PAGE), "nas/fetched", "begins like an HTML page",
        "error message", blocked=("nas/checksum", "nas/restores"),
    ),
    Row(
        3, "error of S3 stored as a dump", in_a_bucket, is_now(_ERROR, "cloud"), "cloud/fetched",
        "an? (XML|error) document", "error message",
    ),
    Row(
        3, "text stored as a dump", on_disk, is_now(b"mysqldump: Got error: 1045: Access denied\n"), "nas/fetched",
        "begins like plain text", "error message",
    ),
    Row(
        3, "error page inside gzip", compressed, is_now(gz(_PAGE)), "nas/unpacks",
        "inside gzip it begins like an HTML page", "error message",
    ),
    Row(
        3, "zeroes stored as a dump", on_disk, is_now(bytes(45056)), "nas/fetched", "begins like zero bytes",
        "error message",
    ),
    Row(
        4, "partial multipart", compressed, stored(cut(2000)), "nas/unpacks", "gzip stream is", "take the backup again",
    ),
    Row(4, "partial database", on_disk, stored(cut(8192)), "nas/restores", "cut|bytes|pages", "."),
    Row(
        4, "shrinks while it is read", on_disk, nothing, "nas/fetched", "it changed while it was read",
        "rename when done",
    ),
    Row(
        5, "multipart ETag taken for MD5", in_a_bucket, sidecar_of_etag, "cloud/checksum",
        "a multipart ETag of S3, which is not a digest", "sha256sum",
    ),
    Row(
        6, "temporary upload of now", on_disk, newer(".part", 2),
        note="stepped over .*part: it has the name of an upload under way",
    ),
    Row(6, "upload of rsync of now", on_disk, newer(".Ab12Cd", 2, prefix="."), note="stepped over .*under way"),
    Row(
        6, "temporary upload that never ended", on_disk, newer(".part", 18), "nas/located",
        "was begun .* ago and never finished", _JOB,
    ),
    Row(
        6, "temporary upload under a name that fits", by_any_name, newer("_shop.db.tmp", 2),
        note="stepped over .*under way",
    ),
    Row(
        6, "upload without its digest yet", on_disk, newer("", 2, b"SQLite format 3\0"),
        note="stepped over .*its digest is not there yet",
    ),
    Row(
        6, "marker of completion is missing", with_markers, beside_the_newest(".done"), "nas/located",
        r"its marker .*\.done is missing", _JOB,
    ),
    Row(
        6, "marker inside a prefix is missing", in_prefixes, beside_the_newest("_SUCCESS", "cloud"), "cloud/located",
        "its marker .*/_SUCCESS is missing", _JOB,
    ),
    Row(
        6, "latest still names the one before", with_pointer, pointed(1), "nas/located", "LATEST still names .*db",
        _JOB,
    ),
    Row(
        4, "middle part of a split backup is missing", in_parts, without_the_middle, "nas/fetched",
        r"the part \S+part-ab of the snapshot is missing", "every part",
    ),
    Row(
        1, "not in the folder of the newest run", in_folders, out_of_its_folder, "nas/located",
        r"the newest folder \S+ holds 2 other objects, but no orders\.db\.gz", "left this target out",
    ),
    Row(
        7, "rotations in the wrong order", in_rotation, rotated_wrongly, "nas/located",
        r"shop\.db\.1\.gz is newer than shop\.db\.gz by", "rotation",
    ),
    Row(7, "rotated since it was pinned", pinned_rotation, rotated_again, history=True),
    Row(
        101, "object key of a prefix as a path", in_prefixes, with_a_key_that_climbs, "cloud/unpacks",
        "leads to no place below its snapshot", "find out what wrote it",
    ),
    Row(7, "newest by mtime is wrong (touched)", on_disk, touched),
    Row(
        7, "older than the time it claims", on_disk, older_than_its_claim, "nas/located",
        "older than the time it claims|was written .* before", ".",
    ),
    Row(8, "changes between hash and restore", on_disk, nothing),
    Row(
        8, "grows while it is read", on_disk, nothing, "nas/fetched", "it changed while it was read",
        "rename when done",
    ),
    Row(
        8, "overwritten while it is read", on_disk, nothing, "nas/fetched", "it changed while it was read",
        "rename when done",
    ),
]  # fmt: skip
#: Rows in which something newer than the newest of the twin is not what is drilled.
_STEPPED_OVER = [row for row in ROWS if row.number in (6, 7, 8) and not row.case and not row.history]
IN_CLOUD = True
CONFTEST = _MEDDLING


class TestFaults(FaultMatrix):
    """The rows of this module."""


@pytest.mark.parametrize("row", _STEPPED_OVER, ids=str)
def test_the_newest_by_its_own_time_is_drilled(matrix: Matrix, row: Row) -> None:
    run = matrix.runs[HEALTHY]
    assert run.snapshot(row.target) == run.snapshot(twin(row.make)) == f"{matrix.project.now - AGES[-1]:%Y%m%dT%H%M%SZ}"


def test_an_etag_is_refused_as_a_digest_in_the_catalogue(tmp_path: Path) -> None:
    """Row 5."""
    project = Project(tmp_path / "project")
    on_disk(Site(project, "shop", "critical"))
    project.write()
    project.targets["shop"]["checksum"] = "etag"
    run = project.drill()
    assert run.status == 4
    assert "targets.yaml:" in run.screen and "ETag" in run.screen
    assert not run.cases


@pytest.fixture(scope="module")
def unreachable(tmp_path_factory: pytest.TempPathFactory, cloud: S3Server) -> Outcome:
    """One run over stores that cannot be reached, each in its own way, and one that can."""
    project = Project(tmp_path_factory.mktemp("unreachable") / "project")
    proxy = FaultProxy(cloud.address)
    server = (cloud.client(), cloud.endpoint)
    fast = {"read_deadline": "5s", "connect_deadline": "5s", "retries": 0}
    project.cloud("stalls", proxy.endpoint, **fast)
    project.cloud("refuses", f"http://127.0.0.1:{free_ports(1)[0]}", **fast)
    project.cloud("no-bucket", cloud.endpoint, bucket="nowhere", **fast)
    project.store("unmounted")
    for name in ("cloud", "stalls", "refuses", "no-bucket"):
        site = Site(project, name, "critical", server)
        site.copy(f"{_TIME}.db", name)
        if name != "no-bucket":
            site.put(AGES[-1], shop(site.now - AGES[-1]), name)
    site = Site(project, "unmounted", "critical")
    site.copy(f"{_TIME}.db", "unmounted")
    (project.root / "stores" / "unmounted").rmdir()
    proxy.only, proxy.otherwise = ".db HTTP", Fault("stall", after=100)
    try:
        return project.drill()
    finally:
        proxy.close()


@pytest.mark.parametrize(
    ("target", "case", "says"),
    [
        ("stalls", "fetched", "does not answer in time"),
        ("refuses", "located", "refused|reached|connect"),
        ("no-bucket", "located", "bucket"),
        ("unmounted", "located", "directory is not there"),
    ],
)
def test_a_store_that_cannot_be_reached_says_nothing_of_the_backup(
    unreachable: Outcome, target: str, case: str, says: str
) -> None:
    """Row 77 for the store: a deadline ends what would hang; the verdict is an error and never a pass."""
    assert unreachable.causes(target) == {f"{target}/{case}": "error"}
    found = unreachable.of(target)[f"{target}/{case}"]
    assert re.search(says, found.message), found.message
    assert found.told.partition(found.message.removesuffix("."))[2].strip(" .\n")
    assert {each.blocked_by for each in unreachable.of(target).values() if each.blocked_by} == {case}


def test_the_store_beside_them_is_green_and_the_run_is_not(unreachable: Outcome) -> None:
    assert {case.verdict for case in unreachable.of("cloud").values()} == {"passed"}
    assert unreachable.status == 75
