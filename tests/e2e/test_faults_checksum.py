"""Faults of recorded digests: absent, of other bytes, of another file, malformed, forged, taken too late."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.support.contents import altered, files, gz, manifest, page_of, sha256, shop, sql, tar
from tests.support.matrix import AGES, FaultMatrix, Make, Row, Site, flip, nothing, stored, unsigned

from restore_drill import digests

IN_CLOUD = True
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


def hashdeep_generations(site: Site) -> None:
    _other_generations(site, "hashdeep.txt", lambda tree: {"hashdeep.txt": _hashdeep(tree)}, "")


def mtree_generations(site: Site) -> None:
    _other_generations(site, ".mtree", lambda tree: {".mtree": _mtree(tree)}, "")


def bags(site: Site) -> None:
    _other_generations(site, "bagit.txt", _bag, "data/")


def _other_generations(site: Site, name: str, listed: Any, below: str) -> None:
    """Their manifests have another format, and are found by their usual names."""
    site.copy(f"{_TIME}/")
    site.options |= {"engine": "files", "settle": "0.001s"}
    for age in AGES:
        tree = {f"{below}{path}": data for path, data in files(stamp=str(age)).items()}
        site.grow(age, {**tree, **listed(tree)})


def _hashdeep(tree: dict[str, bytes]) -> bytes:
    head = "%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n## Invoked from: /srv\n## $ hashdeep -r -l .\n## \n"
    lines = [f"{len(data)},{hashlib.md5(data).hexdigest()},{sha256(data)},./{path}\n" for path, data in tree.items()]
    return (head + "".join(lines)).encode()


def _mtree(tree: dict[str, bytes]) -> bytes:
    directories = sorted({path.rpartition("/")[0] for path in tree})
    lines = ["#mtree", ". type=dir", *(f"./{path} type=dir" for path in directories)]
    lines += [f"./{path} type=file size={len(data)} sha256digest={sha256(data)}" for path, data in tree.items()]
    return ("\n".join(lines) + "\n").encode()


def _bag(tree: dict[str, bytes]) -> dict[str, bytes]:
    info = f"Payload-Oxum: {sum(map(len, tree.values()))}.{len(tree)}\n".encode()
    tags = {"bagit.txt": b"BagIt-Version: 0.97\nTag-File-Character-Encoding: UTF-8\n", "bag-info.txt": info}
    tags["manifest-sha256.txt"] = manifest(tree).replace(b"  ./", b"  ")
    return {**tags, "tagmanifest-sha256.txt": manifest(tags).replace(b"  ./", b"  ")}


def counted_generations(site: Site) -> None:
    generations_by_default(site)
    site.options["expect"] = {"files": {"recorded": "{name}.counts.json"}}
    for age in AGES:
        counts = {"files": len(files()) + 1, "letters/": len(files()) - 2}
        key = f"{site.key(site.now - age).rstrip('/')}.counts.json"
        site.places["nas"].write(key, json.dumps(counts).encode(), site.now - age)


def counted_otherwise(site: Site) -> None:
    key = f"{site.newest().rstrip('/')}.counts.json"
    site.places["nas"].write(key, b'{"files": 15, "letters/": 13}', site.now)


def in_a_list(name: str, change: Any) -> Make:
    """The manifest of the newest generation is another one."""

    def harm(site: Site) -> None:
        key = f"{site.newest()}{name}"
        site.places["nas"].write(key, change(site.places["nas"].read(key)), site.now)

    return harm


def twice(data: bytes) -> bytes:
    """Its last line again, with other digests."""
    last = data.splitlines()[-1]
    return data + last.replace(sha256(files()["letters/011.txt"]).encode(), b"ab" * 32) + b"\n"


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
        digest = digests.new(algorithm, site.bytes()).hexdigest()
        site.beside(f"{digest}  {site.newest().rpartition('/')[2]}\n".encode(), f".{name}")

    return harm


def lost(suffix: str = ".sha256") -> Make:
    return lambda site: site.places["nas"].remove(f"{site.newest()}{suffix}")


def accepted_as_weak(site: Site) -> None:
    only("md5", "md5")(site)
    site.options["checksum"] = {"weak": "accept"}


@cache
def _key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _signature(data: bytes, key: str = "pinned") -> bytes:
    """What ``cosign sign-blob --key`` writes."""
    return base64.b64encode(_key(key).sign(data, ec.ECDSA(SHA256())))


def _pinned(**more: Any) -> dict[str, Any]:
    public = _key("pinned").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return {"signature": {"kind": "cosign", "keys": [public.decode()], **more}}


def signed_databases(site: Site) -> None:
    site.copy(f"{_TIME}.db", checksum=_pinned())
    for age in AGES:
        key = site.put(age, content := shop(site.now - age))
        site.beside(_signature(content), ".sig", key=key)


def a_signed_manifest_of_all(site: Site) -> None:
    """One ``SHA256SUMS`` beside all snapshots, and its signature."""
    a_manifest_of_all(site)
    site.options["copies"]["nas"]["checksum"] = _pinned(of="digest")
    listing = f"{site.name}/SHA256SUMS"
    site.places["nas"].write(f"{listing}.sig", _signature(site.places["nas"].read(listing)), site.now)


def signed_generations(site: Site) -> None:
    site.copy(f"{_TIME}/", checksum={"manifest": "SHA256SUMS", **_pinned()})
    site.options |= {"engine": "files", "settle": "0.001s"}
    for age in AGES:
        tree = files(stamp=str(age))
        site.grow(age, {**tree, "SHA256SUMS": manifest(tree), "SHA256SUMS.sig": _signature(manifest(tree))})


def digests_in_metadata(site: Site) -> None:
    """The job writes ``x-amz-meta-sha256``."""
    site.copy(f"{_TIME}.db", "cloud", checksum={"provider": "metadata"})
    # The server dates an object itself: one without a digest would still be on its way.
    site.options |= {"settle": "0.001s"}
    for age in AGES:
        content = shop(site.now - age)
        site.places["cloud"].metadata = {"sha256": sha256(content)}  # type: ignore[attr-defined]
        site.put(age, content, "cloud", digest=False)


def without_metadata(site: Site) -> None:
    site.places["cloud"].metadata = {}  # type: ignore[attr-defined]
    site.rewrite(site.bytes("cloud"), "cloud")


def with_other_tree(site: Site) -> None:
    """Somebody changed a file and the manifest, and has no key."""
    tree = {**files(stamp=str(AGES[-1])), "letters/005.txt": b"other\n"}
    inside("letters/005.txt", tree["letters/005.txt"])(site)
    inside("SHA256SUMS", manifest(tree))(site)


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
        lambda site: site.beside(f"{sha256(site.bytes())}  {site.newest()}\n".encode("utf-16")),
    ),
    Row(
        12, "UTF-16 without its mark", a_database,
        lambda site: site.beside(f"{sha256(site.bytes())}  {site.newest()}\n".encode("utf-16-le")), "nas/checksum",
        "cannot be used", _SHA,
    ),
    Row(12, "BLAKE3", a_database, only("b3", "blake3")),
    Row(12, "BLAKE2b", a_database, only("b2", "blake2b")),
    Row(
        12, "BLAKE3 and a flipped bit", a_database,
        lambda site: (only("b3", "blake3")(site), unsigned(flip(0.5))(site)), "nas/checksum",
        "blake3 of the stored bytes is", "use another copy",
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
        14, "unknown algorithm", a_database, sidecar("SM3 ({name}) = {digest}\n"), "nas/checksum",
        "sm3, an algorithm that is not known", _SHA,
    ),
    Row(
        14, "xxHash alone", a_database, only("xxh128", "xxh128"), "nas/checksum",
        "only an XXH128 digest is recorded, which proves nothing against a forger", "Record SHA-256",
    ),
    Row(
        15, "tampered manifest that is signed", a_signed_manifest_of_all,
        lambda site: (unsigned(flip(0.5))(site), of_the_list(
            lambda text, name: text.replace(text[text.index(name) - 66 : text.index(name) - 2], sha256(site.bytes()))
        )(site)), "nas/checksum", "not one of these bytes by a pinned key", "find out who",
    ),
    Row(
        15, "tampered manifest of a generation that is signed", signed_generations, with_other_tree, "nas/checksum",
        "not one of these bytes by a pinned key", "find out who",
    ),
    Row(
        15, "signature missing", signed_databases, lost(".sig"), "nas/checksum", "no signature is there for",
        "Sign it when",
    ),
    Row(
        15, "signed by another key", signed_databases,
        lambda site: site.beside(_signature(site.bytes(), "another"), ".sig"), "nas/checksum",
        "not one of these bytes by a pinned key", "find out who",
    ),
    Row(
        15, "other bytes and digest under an old signature", signed_databases,
        stored(lambda data: altered(data, sql("delete from orders where id > 100"))), "nas/checksum",
        "not one of these bytes by a pinned key", "find out who",
    ),
    Row(
        13, "digest in metadata and a flipped bit", digests_in_metadata,
        unsigned(flip(0.5), "cloud"), "cloud/checksum", "sha256 of the stored bytes", "use another copy",
    ),
    Row(
        11, "digest in metadata missing", digests_in_metadata, without_metadata, "cloud/checksum",
        "no digest is recorded for .*looked for a digest in its metadata", _SHA,
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
    Row(12, "hashdeep", hashdeep_generations, nothing),
    Row(
        15, "tampered file, hashdeep", hashdeep_generations, inside("letters/005.txt", b"other\n"), "nas/checksum",
        "1 of 14 files differ from hashdeep.txt", "another copy",
    ),
    Row(
        15, "cut manifest, hashdeep", hashdeep_generations, in_a_list("hashdeep.txt", lambda data: data[:-9]),
        "nas/checksum", "it was cut", "hashdeep -r -l",
    ),
    Row(
        16, "missing file, hashdeep", hashdeep_generations, inside("letters/005.txt", None), "nas/files",
        "1 files of the manifest are missing", "live tree",
    ),
    Row(
        17, "duplicate paths, hashdeep", hashdeep_generations, in_a_list("hashdeep.txt", twice), "nas/checksum",
        "lists a name again", "hashdeep -r -l",
    ),
    Row(12, "mtree", mtree_generations, nothing),
    Row(
        15, "tampered file, mtree", mtree_generations, inside("letters/005.txt", b"other\n"), "nas/checksum",
        r"1 of 16 files differ from \.mtree", "another copy",
    ),
    Row(
        15, "cut manifest, mtree", mtree_generations, in_a_list(".mtree", lambda data: data[:-9]), "nas/checksum",
        "it was cut", "mtree:sha256",
    ),
    Row(
        16, "extra file, mtree", mtree_generations, inside("letters/other.txt", b"other\n"), "nas/files",
        "1 files are not in the manifest", "live tree",
    ),
    Row(
        17, "duplicate paths, mtree", mtree_generations, in_a_list(".mtree", twice), "nas/checksum",
        "lists a name again", "mtree:sha256",
    ),
    Row(12, "BagIt", bags, nothing),
    Row(
        15, "tampered file, BagIt", bags, inside("data/letters/005.txt", b"other\n"), "nas/checksum",
        "1 of 17 files differ from bagit.txt", "another copy",
    ),
    Row(
        15, "tampered manifest, BagIt", bags,
        in_a_list("manifest-sha256.txt", lambda data: data.replace(data[:64], b"ab" * 32)), "nas/checksum",
        "2 of 17 files differ from bagit.txt", "another copy",
    ),
    Row(
        16, "missing file, BagIt", bags, inside("data/letters/005.txt", None), "nas/files",
        "1 files of the manifest are missing", "live tree",
    ),
    Row(
        16, "extra file, BagIt", bags, inside("data/letters/other.txt", b"other\n"), "nas/files",
        "1 files are not in the manifest", "live tree",
    ),
    Row(
        17, "duplicate paths, BagIt", bags, in_a_list("manifest-sha256.txt", twice), "nas/checksum",
        "lists a name again", "validates it",
    ),
    Row(16, "counts of a tree", counted_generations, nothing),
    Row(
        16, "other counts of a tree", counted_generations, counted_otherwise, "nas/files",
        "1 of 1 directories have another number", "live tree",
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
