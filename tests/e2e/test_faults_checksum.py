"""Faults of recorded digests: absent, of other bytes, of another file, malformed, forged, taken too late."""

from __future__ import annotations

import hashlib
import os
from typing import Any

from tests.support.contents import altered, files, gz, manifest, page_of, sha256, shop, sql, tar
from tests.support.matrix import AGES, FaultMatrix, Make, Row, Site, flip, nothing, stored, unsigned

_TIME = "{time:%Y%m%d_%H%M%S}"


def a_database(site: Site) -> None:
    site.copy(f"{_TIME}.db")
    site.options["expect"] = {"rows": {"customers": 40, "orders": {"min": 250}}}
    for age in AGES:
        site.put(age, shop(site.now - age))


def a_shell_job(site: Site) -> None:
    """``sha256sum`` of the uncompressed file, then ``gzip``."""
    site.copy(f"{_TIME}.db.gz")
    for age in AGES:
        content = shop(site.now - age)
        key = site.put(age, gz(content), digest=False)
        name = key.rpartition("/")[2].removesuffix(".gz")
        site.places["nas"].write(
            f"{key.removesuffix('.gz')}.sha256", f"{sha256(content)}  /var/backups/{name}\n".encode(), site.now - age
        )


def a_manifest_of_all(site: Site) -> None:
    """One ``SHA256SUMS`` beside all snapshots."""
    site.copy(f"{_TIME}.db")
    lines = {}
    for age in AGES:
        key = site.put(age, shop(site.now - age), digest=False)
        lines[key.rpartition("/")[2]] = sha256(site.places["nas"].read(key))
    text = "".join(f"{digest}  {name}\n" for name, digest in lines.items())
    site.places["nas"].write(f"{site.name}/SHA256SUMS", text.encode(), site.now)


def a_name_that_is_escaped(site: Site) -> None:
    """``sha256sum`` doubles the backslash of such a name, and says so at the beginning of the line."""
    site.copy(f"shop\\db_{_TIME}.db")
    for age in AGES:
        key = site.put(age, shop(site.now - age), digest=False)
        site.sign(key=key, text="\\{digest}  " + key.rpartition("/")[2].replace("\\", "\\\\") + "\n")


def generations(site: Site) -> None:
    site.copy(f"{_TIME}/", checksum={"manifest": "SHA256SUMS"})
    # A directory's inode cannot be dated: whatever is missing in one would still be on its way.
    site.options |= {"engine": "files", "settle": "0.001s"}
    for age in AGES:
        tree = files(stamp=str(age))
        site.grow(age, {**tree, "SHA256SUMS": manifest(tree)})


def generations_by_default(site: Site) -> None:
    """Nothing in the catalogue names the manifest."""
    site.copy(f"{_TIME}/")
    site.options |= {"engine": "files", "settle": "0.001s"}
    for age in AGES:
        tree = files(stamp=str(age))
        site.grow(age, {**tree, "SHA256SUMS": manifest(tree)})


def databases_in_generations(site: Site) -> None:
    """An engine that is asked nothing about files."""
    site.copy(f"{_TIME}/", checksum={"manifest": "SHA256SUMS"})
    site.options |= {"settle": "0.001s", "engine_options": {"database": "shop.db"}}
    for age in AGES:
        tree = {"shop.db": shop(site.now - age), "notes.txt": b"lorem ipsum\n"}
        site.grow(age, {**tree, "SHA256SUMS": manifest(tree)})


def a_volume(site: Site) -> None:
    site.copy(f"{_TIME}.tar.gz")
    site.options |= {"engine": "files", "expect": {"files": {"manifest": "SHA256SUMS", "min": 10}}}
    for age in AGES:
        site.put(age, gz(tar(_volume(str(age)), site.now - age)))


def _volume(stamp: str = "") -> dict[str, bytes]:
    tree = files(stamp=stamp)
    return {**tree, "SHA256SUMS": manifest(tree)}


def sidecar(text: str, suffix: str = ".sha256") -> Make:
    """The line beside the newest snapshot is another one."""
    return lambda site: site.sign(text=text, suffix=suffix)


def only(name: str, algorithm: str) -> Make:
    """The digest beside the newest snapshot is by another algorithm."""

    def harm(site: Site) -> None:
        site.places["nas"].remove(f"{site.newest()}.sha256")
        digest = hashlib.new(algorithm, site.bytes()).hexdigest()
        site.beside(f"{digest}  {site.newest().rpartition('/')[2]}\n".encode(), f".{name}")

    return harm


def lost(suffix: str = ".sha256") -> Make:
    return lambda site: site.places["nas"].remove(f"{site.newest()}{suffix}")


def accepted_as_weak(site: Site) -> None:
    only("md5", "md5")(site)
    site.options["checksum"] = {"weak": "accept"}


def of_the_list(change: Any) -> Make:
    """The list of all snapshots is another one."""

    def harm(site: Site) -> None:
        key = f"{site.name}/SHA256SUMS"
        text = change(site.places["nas"].read(key).decode(), site.newest().rpartition("/")[2])
        site.places["nas"].write(key, text.encode(), site.now)

    return harm


def inside(name: str, data: bytes | None) -> Make:
    """A file of the newest generation is written or removed."""

    def harm(site: Site) -> None:
        key = f"{site.newest()}{name}"
        if data is None:
            site.places["nas"].remove(key)
        else:
            site.places["nas"].write(key, data, site.now)

    return harm


def emptied(site: Site) -> None:
    """Of the newest generation only the manifest is left."""
    for name in files():
        site.places["nas"].remove(f"{site.newest()}{name}")
    inside("letters/other.txt", b"other\n")(site)


def with_a_fifo(site: Site) -> None:
    os.mkfifo(site.places["nas"].root / site.newest() / "letters" / "fifo")  # type: ignore[attr-defined]


def shell_job_with_other_content(site: Site) -> None:
    site.rewrite(gz(altered(shop(site.when(site.newest())), sql("delete from audit where id = 9"))))


def volume_without(site: Site) -> None:
    tree = _volume()
    del tree["letters/003.txt"]
    site.rewrite(gz(tar(tree, site.when(site.newest()))))
    site.sign()


def volume_with_other_bytes(site: Site) -> None:
    site.rewrite(gz(tar({**_volume(), "letters/003.txt": b"other\n"}, site.when(site.newest()))))
    site.sign()


def volume_with_a_member_twice(site: Site) -> None:
    archive = tar(_volume(), site.when(site.newest())).rstrip(b"\0")
    archive += bytes(-len(archive) % 512)
    site.rewrite(gz(archive + tar({"letters/003.txt": b"other\n"}, site.when(site.newest()))))
    site.sign()


def a_name_again(text: str, name: str) -> str:
    return f"{text}{'ab' * 32}  {name}\n"


def with_an_index_page_of_zeroes(data: bytes) -> bytes:
    place = page_of(data, "orders_by_customer")
    return data[: place.start] + bytes(place.stop - place.start) + data[place.stop :]


_GONE = "Find out why its rows are not what they should be"
_SHA = "sha256sum"

ROWS = [
    Row(
        9, "digest of the uncompressed file, then gzip", a_shell_job, nothing,
        note="sha256sum -c cannot succeed beside it",
    ),
    Row(
        9, "digest of the uncompressed file, other content", a_shell_job, shell_job_with_other_content, "nas/checksum",
        "sha256 of the content bytes", "find out what damaged it",
    ),
    Row(
        10, "sidecar names another file", a_database, sidecar("{digest}  other.db\n"), "nas/checksum",
        "speaks of other.db", "this very artifact",
    ),
    Row(
        10, "sidecar names what is not inside", a_shell_job, sidecar("{digest}  20200101_000000.db\n"), "nas/checksum",
        "speaks of 20200101_000000.db", "this very artifact",
    ),
    Row(11, "sidecar missing", a_database, lost(), "nas/checksum", "no digest is recorded", _SHA),
    Row(11, "sidecar empty", a_database, sidecar(""), "nas/checksum", "holds no digest line", _SHA),
    Row(
        11, "sidecar without a valid line", a_database, sidecar("sha256sum: no such file or directory\n"),
        "nas/checksum", "line 1 is not a digest line", _SHA,
    ),
    Row(12, "CRLF", a_database, sidecar("{digest}  {name}\r\n")),
    Row(12, "BSD", a_database, sidecar("SHA256 ({name}) = {digest}\n")),
    Row(12, "binary mark", a_database, sidecar("{digest} *{name}\n")),
    Row(12, "bare digest", a_database, sidecar("{digest}\n")),
    Row(12, "byte order mark", a_database, sidecar("\ufeff{digest}  {name}\r\n")),
    Row(12, "escaped name", a_name_that_is_escaped, nothing),
    Row(
        12, "CRLF and a flipped bit", a_database,
        lambda site: (sidecar("{digest}  {name}\r\n")(site), unsigned(flip(0.5))(site)), "nas/checksum", "recorded is",
        "use another copy",
    ),
    Row(
        12, "BSD and a flipped bit", a_database,
        lambda site: (sidecar("SHA256 ({name}) = {digest}\n")(site), unsigned(flip(0.5))(site)), "nas/checksum",
        "recorded is", "use another copy",
    ),
    Row(
        12, "binary mark and a flipped bit", a_database,
        lambda site: (sidecar("{digest} *{name}\n")(site), unsigned(flip(0.5))(site)), "nas/checksum", "recorded is",
        "use another copy",
    ),
    Row(
        12, "escaped name and a flipped bit", a_name_that_is_escaped, unsigned(flip(0.5)), "nas/checksum",
        "recorded is", "use another copy",
    ),
    Row(
        12, "UTF-16", a_database,
        lambda site: site.beside(f"{sha256(site.bytes())}  {site.newest()}\n".encode("utf-16")), "nas/checksum",
        "cannot be used", _SHA,
    ),
    Row(
        13, "digest taken after the corruption: rows", a_database,
        stored(lambda data: altered(data, sql("delete from orders where id > 100"))), "nas/rows/orders",
        "orders has 100 rows", _GONE,
    ),
    Row(
        13, "digest taken after the corruption: integrity", a_database, stored(with_an_index_page_of_zeroes),
        "nas/integrity", "b_tree", "earlier snapshot",
    ),
    Row(
        13, "digest taken after the corruption: files", a_volume, volume_with_other_bytes, "nas/files",
        "1 files? differs? from the manifest", "live tree",
    ),
    Row(14, "MD5 alone", a_database, only("md5", "md5"), "nas/checksum", "only an MD5 digest", "Record SHA-256"),
    Row(14, "SHA-1 alone", a_database, only("sha1", "sha1"), "nas/checksum", "only an SHA1 digest", "Record SHA-256"),
    Row(14, "MD5 where the catalogue accepts it", a_database, accepted_as_weak),
    Row(
        14, "unknown algorithm", a_database, sidecar("BLAKE3 ({name}) = {digest}\n"), "nas/checksum",
        "blake3, an algorithm that is not known", _SHA,
    ),
    Row(14, "SHA-512", a_database, only("sha512", "sha512")),
    Row(
        15, "malformed manifest", a_manifest_of_all, of_the_list(lambda text, name: f"{text}<<<<<<< HEAD\n"),
        "nas/checksum", "line 5 is not a digest line", _SHA,
    ),
    Row(
        15, "cut manifest", a_manifest_of_all, of_the_list(lambda text, name: text[: text.index(name) - 20]),
        "nas/checksum", "cannot be used", _SHA,
    ),
    Row(
        15, "tampered manifest", a_manifest_of_all,
        of_the_list(lambda text, name: text.replace(text[text.index(name) - 66 : text.index(name) - 2], "ab" * 32)),
        "nas/checksum", "recorded is abab", "use another copy",
    ),
    Row(
        15, "tampered file in a generation", generations, inside("letters/005.txt", b"other\n"), "nas/checksum",
        "1 of 14 files differ from SHA256SUMS", "use another copy",
    ),
    Row(
        15, "malformed manifest of a generation", generations, inside("SHA256SUMS", b"lorem ipsum\n"), "nas/checksum",
        "line 1 is not a digest line", _SHA,
    ),
    Row(
        15, "manifest of a generation missing", generations, inside("SHA256SUMS", None), "nas/checksum",
        "no digest is recorded", _SHA,
    ),
    Row(
        16, "missing file", generations, inside("letters/005.txt", None), "nas/files",
        "1 files of the manifest are missing", "live tree",
    ),
    Row(
        16, "extra file", generations, inside("letters/other.txt", b"other\n"), "nas/files",
        "1 files are not in the manifest", "live tree",
    ),
    Row(
        16, "missing file, manifest found", generations_by_default, inside("letters/005.txt", None), "nas/files",
        "1 files of the manifest are missing", "live tree",
    ),
    Row(
        16, "extra file, manifest found", generations_by_default, inside("letters/other.txt", b"other\n"), "nas/files",
        "1 files are not in the manifest", "live tree",
    ),
    Row(
        16, "every file missing", generations_by_default, emptied, "nas/checksum",
        "none of the 14 files of SHA256SUMS is there", "another copy", blocked=("nas/files",),
    ),
    Row(
        16, "missing file beside a database", databases_in_generations, inside("notes.txt", None), "nas/fetched",
        "1 of 2 files of SHA256SUMS are missing", "another copy", blocked=("nas/restores",),
    ),
    Row(
        16, "extra file beside a database", databases_in_generations, inside("shop.db-wal", b"x"), "nas/checksum",
        "1 files are not in SHA256SUMS", "list every file",
    ),
    Row(
        84, "fifo in a generation", generations_by_default, with_a_fifo, "nas/unpacks",
        "a device or a FIFO", "special-files", blocked=("nas/checksum",),
    ),
    Row(
        16, "missing file in an archive", a_volume, volume_without, "nas/files", "1 files of the manifest are missing",
        "live tree",
    ),
    Row(
        17, "duplicate paths (manifest)", a_manifest_of_all, of_the_list(a_name_again), "nas/checksum",
        "lists a name again, with another digest", _SHA,
    ),
    Row(
        17, "duplicate paths (archive)", a_volume, volume_with_a_member_twice, "nas/unpacks",
        "two members have the same path", ".",
    ),
]  # fmt: skip


class TestFaults(FaultMatrix):
    """The rows of this module."""
