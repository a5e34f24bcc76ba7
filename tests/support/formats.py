"""The formats that backups come in, as their own programs write them, and which kinds of damage can hit each.

A format builds a target whose snapshots are in it; :mod:`tests.support.injection` damages them.
"""

from __future__ import annotations

import atexit
import bz2
import hashlib
import io
import shutil
import subprocess
import tarfile
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from tests.support.contents import AgeKey, files, gz, manifest, sha256, shop, xz, zst
from tests.support.matrix import AGES, Site

from restore_drill import digests
from restore_drill.engines import etcd_samples, git_samples, ldif_samples, parquet_samples, tables_samples

TIME = "{time:%Y%m%d_%H%M%S}"
#: What shrinks on purpose is not to be stopped by its size.
ANY_SIZE = {"predecessors": 60}
_AGE = AgeKey()
_OTHER_AGE = AgeKey()

Pack = Callable[[bytes], bytes]


@dataclass(frozen=True)
class Format:
    """One way of storing a snapshot.

    Attributes:
        name: As the documents call it.
        suffix: What follows the time in the names of its snapshots.
        pack: Content → what is stored.
        word: What messages call it.
    """

    name: str
    suffix: str
    pack: Pack
    word: str = ""

    @property
    def slug(self) -> str:
        return f"{type(self).__name__}-{self.name}".lower().replace(" ", "-").replace(",", "")

    def make(self, site: Site) -> None:
        """Build a target of four snapshots, with a digest beside each."""
        raise NotImplementedError

    def rewrite(self, site: Site, content: Any, *, sign: bool = True) -> None:
        """Store something else as the newest snapshot, packed as ever."""
        raise NotImplementedError


@dataclass(frozen=True)
class Stream(Format):
    """One object that holds one database.

    Attributes:
        checks: The format itself notices a changed bit.
        joins: Streams written one after the other are one.
        codec: The key of ``decrypt`` in the catalogue; empty where nothing is encrypted.
        keys: Option → secret that opens it.
        wrong: Option → a secret of the same kind that does not.
        options: Further options of ``decrypt``.
        content_digest: The digest that counts is that of the content; one of the ciphertext proves nothing.
    """

    checks: bool = True
    joins: bool = False
    codec: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    content_digest: bool = False

    __hash__ = Format.__hash__

    @property
    def is_plain(self) -> bool:
        return self.suffix == ""

    def make(self, site: Site) -> None:
        site.copy(f"{TIME}.db{self.suffix}")
        site.options |= {"size": ANY_SIZE, "expect": {"rows": {"customers": 40, "orders": {"min": 250}}}}
        if self.codec:
            site.options |= {"sensitive": True, "decrypt": {self.codec: self.secrets(site, self.keys)}}
        for age in AGES:
            content = shop(site.now - age)
            key = site.put(age, self.pack(content), digest=not self.content_digest)
            if self.content_digest:
                self.sign(site, content, key)

    def sign(self, site: Site, content: bytes, key: str = "") -> None:
        """Record the digest of the content under its own name."""
        from tests.support.contents import sha256

        key = (key or site.newest()).removesuffix(self.suffix)
        line = f"{sha256(content)}  {key.rpartition('/')[2]}\n"
        site.places["nas"].write(f"{key}.sha256", line.encode(), site.now)

    def secrets(self, site: Site, keys: Mapping[str, str]) -> dict[str, Any]:
        """The part of ``decrypt`` that names these secrets."""
        named = {name: site.project.secret(f"{site.name}-{name}", text) for name, text in keys.items()}
        return {**named, **self.options}

    def rewrite(self, site: Site, content: Any, *, sign: bool = True) -> None:
        site.rewrite(self.pack(content))
        if sign and self.content_digest:
            self.sign(site, content)
        elif sign:
            site.sign()


@dataclass(frozen=True)
class Archive(Format):
    """One object that holds a tree: ``pack`` takes ``(name, content)`` pairs of it in order, duplicates included.

    Attributes:
        blocks: It is a plain tar archive, in whose blocks damage can be placed.
        wraps: What a stream does to the tar archive inside; ``None`` for a format of its own.
    """

    pack: Callable[[list[tuple[str, bytes]]], bytes] = field(default=lambda tree: b"")  # type: ignore[assignment]
    blocks: bool = False
    wraps: Pack | None = None
    duplicates: bool = True
    empty: bool = True

    __hash__ = Format.__hash__

    def make(self, site: Site) -> None:
        site.copy(f"{TIME}{self.suffix}")
        rules = {"manifest": "SHA256SUMS", "min": 10}
        site.options |= {"engine": "files", "size": ANY_SIZE, "expect": {"files": rules}}
        for age in AGES:
            site.put(age, self.pack(tree(str(age))))

    def rewrite(self, site: Site, content: Any, *, sign: bool = True) -> None:
        site.rewrite(self.pack(content))
        if sign:
            site.sign()


@dataclass(frozen=True)
class Export(Format):
    """What an engine of one file restores from.

    Attributes:
        engine: Its name.
        content: One backup, of whatever time.
        options: Of the target.
        cut: The case that catches one whose last third is missing.
    """

    engine: str = ""
    content: Callable[[], bytes] = bytes
    options: Mapping[str, Any] = field(default_factory=dict)
    cut: str = "restores"

    __hash__ = Format.__hash__

    def make(self, site: Site) -> None:
        site.copy(f"{TIME}{self.suffix}")
        site.options |= {"engine": self.engine, "size": ANY_SIZE, **self.options}
        for age in AGES:
            site.put(age, self.content())


@dataclass(frozen=True)
class Layout(Format):
    """A way in which snapshots of a database lie in a store.

    Attributes:
        path: The pattern, below the target's directory.
        names: When it was taken, and the number of the rotation → the objects that hold its bytes, in equal pieces.
        beside: The same → what stands beside them: names and contents.
        options: Of the copy.
        has_marker: Something says that a snapshot is complete.
    """

    path: str = ""
    names: Callable[[datetime, int], list[str]] = field(default=lambda when, number: [])
    beside: Callable[[datetime, int], Mapping[str, bytes]] = field(default=lambda when, number: {})
    options: Mapping[str, Any] = field(default_factory=dict)
    expect: Mapping[str, Any] = field(default_factory=dict)
    has_marker: bool = False

    __hash__ = Format.__hash__

    def make(self, site: Site) -> None:
        known = {"latest": f"{site.name}/LATEST"} if "latest" in self.options else {}
        site.copy(self.path, **{**self.options, **known})
        rules = {"rows": {"customers": 40, "orders": {"min": 250}}, **self.expect}
        # A folder's inode cannot be dated.
        site.options |= {"size": ANY_SIZE, "expect": rules}
        for number, age in enumerate(reversed(AGES)):
            self.put(site, age, number)

    def put(self, site: Site, age: timedelta, number: int = 0, *, marked: bool = True) -> None:
        """Store a snapshot of so long ago, with its digests and what says that it is complete."""
        when = site.now - age
        names = [f"{site.name}/{name}" for name in self.names(when, number)]
        content = shop(when)
        size = -(-len(content) // len(names))
        for position, name in enumerate(names):
            site.put(age, content[position * size : (position + 1) * size], key=name)
        for name, data in self.beside(when, number).items() if marked else ():
            site.places["nas"].write(f"{site.name}/{name}", data, when)

    def newest(self, site: Site) -> list[str]:
        """The objects of the newest snapshot."""
        return [f"{site.name}/{name}" for name in self.names(site.now - AGES[-1], 0)]


def tree(stamp: str = "") -> list[tuple[str, bytes]]:
    """What archives hold: files, and a manifest of them."""
    content = files(stamp=stamp)
    return [*content.items(), ("SHA256SUMS", manifest(content))]


def run(*command: str) -> Pack:
    """What a program makes of its standard input."""

    def pack(data: bytes) -> bytes:
        done = subprocess.run(command, input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return cache(pack)


def gpg(*options: str) -> Pack:
    """What gpg writes, with a home of its own that holds the public key."""

    def pack(data: bytes) -> bytes:
        home = _gpg_home()
        command = ["gpg", "--homedir", home.directory, "--batch", "--quiet", "--no-tty", "--yes"]
        done = subprocess.run([*command, *options, "-o", "-"], input=data, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return cache(pack)


@dataclass(frozen=True)
class _GpgHome:
    """A key ring.

    Attributes:
        secret: The armoured private key of ``backup@example.org``, which is here.
        other: That of somebody else.
    """

    directory: str
    secret: str
    other: str


@cache
def _gpg_home() -> _GpgHome:
    directory = tempfile.mkdtemp(prefix="gpg-")
    atexit.register(_leave, directory)
    command = ["gpg", "--homedir", directory, "--batch", "--quiet", "--no-tty", "--passphrase", ""]
    keys = []
    for person in ("backup@example.org", "other@example.org"):
        generate = ["--quick-generate-key", person, "future-default", "default", "never"]
        subprocess.run([*command, *generate], check=True, capture_output=True)
        exported = subprocess.run(
            [*command, "--armor", "--export-secret-keys", person], check=True, capture_output=True, text=True
        )
        keys.append(exported.stdout)
    return _GpgHome(directory, *keys)


def _leave(directory: str) -> None:
    subprocess.run(["gpgconf", "--homedir", directory, "--kill", "all"], check=False, capture_output=True)
    shutil.rmtree(directory, ignore_errors=True)


def zipped(data: bytes) -> bytes:
    """What ``zip`` writes of one file."""
    return zip_of([("shop.db", data)])


def zip_of(entries: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")  # of a name that stands there twice
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


@cache
def sevenzipped(data: bytes) -> bytes:
    """What ``7zz a`` writes of one file."""
    return sevenzip_of([("shop.db", data)])


def sevenzip_of(entries: list[tuple[str, bytes]]) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory, "tree")
        for name, content in entries:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        archive = Path(directory, "archive.7z")
        command = ["7zz", "a", "-bd", "-mx1", "-mmt1", str(archive), "."]
        subprocess.run(command, cwd=root, check=True, capture_output=True)
        return archive.read_bytes()


def tarred(form: int) -> Callable[[list[tuple[str, bytes]]], bytes]:
    """A tar archive in one of its dialects."""

    def pack(entries: list[tuple[str, bytes]]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            for name, content in entries:
                one = tarfile.TarInfo(name)
                one.size, one.mtime = len(content), int(datetime(2026, 1, 1).timestamp())
                if form == tarfile.PAX_FORMAT:
                    one.pax_headers = {"comment": "pax"}
                archive.addfile(one, io.BytesIO(content))
        return buffer.getvalue()

    return pack


def v7(entries: list[tuple[str, bytes]]) -> bytes:
    """The tape archive of 1979: no magic, no owner's name."""
    from tests.support.tar_builder import V7, archive, member

    return archive(*(member(name.encode(), content, magic=V7) for name, content in entries))


_GNU = tarred(tarfile.GNU_FORMAT)


def wrapped(pack: Pack) -> Callable[[list[tuple[str, bytes]]], bytes]:
    return lambda entries: pack(_GNU(entries))


@dataclass(frozen=True)
class Sidecar(Format):
    """A form in which the digest of a database is written beside it.

    Attributes:
        algorithm: As :mod:`restore_drill.digests` calls it.
        text: The line; ``{digest}`` and ``{name}`` stand for what they say.
        weak: It is enough only where the catalogue says so.
    """

    algorithm: str = "sha256"
    text: str = "{digest}  {name}\n"
    weak: bool = False

    __hash__ = Format.__hash__

    def make(self, site: Site) -> None:
        site.copy(f"{TIME}.db")
        site.options |= {"size": ANY_SIZE, "expect": {"rows": {"customers": 40, "orders": {"min": 250}}}}
        if self.weak:
            site.options["checksum"] = {"weak": "accept"}
        for age in AGES:
            self.sign(site, site.put(age, shop(site.now - age), digest=False))

    def sign(self, site: Site, key: str = "", text: str = "") -> None:
        """Write the digest of a snapshot (the newest) beside it."""
        key = key or site.newest()
        digest = digests.new(self.algorithm, site.places["nas"].read(key)).hexdigest()
        line = (text or self.text).format(digest=digest, name=key.rpartition("/")[2])
        site.places["nas"].write(f"{key}{self.suffix}", line.encode(), site.when(key))


@dataclass(frozen=True)
class Listing(Format):
    """A manifest of a directory generation.

    Attributes:
        pack: The tree → what the generation holds in its place, the manifest included.
        manifest: The name of what lists the files.
        named: What the catalogue names as the manifest, where that is another file.
        below: The directory that holds the files themselves.
    """

    pack: Callable[[Mapping[str, bytes]], dict[str, bytes]] = field(default=dict)  # type: ignore[assignment]
    manifest: str = "SHA256SUMS"
    named: str = ""
    below: str = ""

    __hash__ = Format.__hash__

    def make(self, site: Site) -> None:
        site.copy(f"{TIME}/", checksum={"manifest": self.named or self.manifest})
        # A directory's inode cannot be dated: whatever is missing in one would still be on its way.
        site.options |= {"engine": "files", "settle": "0.001s"}
        for age in AGES:
            site.grow(age, self.pack(files(stamp=str(age))))


def hashdeep(tree: Mapping[str, bytes]) -> dict[str, bytes]:
    """What ``hashdeep -r -l .`` writes."""
    head = "%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n## Invoked from: /srv\n## $ hashdeep -r -l .\n##\n"
    lines = [f"{len(data)},{hashlib.md5(data).hexdigest()},{sha256(data)},./{name}\n" for name, data in tree.items()]
    return {**tree, "hashes.txt": (head + "".join(lines)).encode()}


def bagit(tree: Mapping[str, bytes]) -> dict[str, bytes]:
    """A bag (RFC 8493)."""
    payload = {f"data/{name}": data for name, data in tree.items()}
    tags = {
        "bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": f"Payload-Oxum: {sum(map(len, tree.values()))}.{len(tree)}\n".encode(),
        "manifest-sha256.txt": "".join(f"{sha256(data)}  {name}\n" for name, data in payload.items()).encode(),
    }
    tagged = "".join(f"{sha256(data)}  {name}\n" for name, data in tags.items())
    return {**payload, **tags, "tagmanifest-sha256.txt": tagged.encode()}


def mtree(tree: Mapping[str, bytes]) -> dict[str, bytes]:
    """What ``bsdtar --format=mtree`` writes."""
    lines = [f"./{name} type=dir\n" for name in sorted({name.rpartition("/")[0] for name in tree})]
    lines += [f"./{name} type=file size={len(data)} sha256digest={sha256(data)}\n" for name, data in tree.items()]
    return {**tree, "backup.mtree": ("#mtree\n" + "".join(lines)).encode()}


def rclone(tree: Mapping[str, bytes]) -> dict[str, bytes]:
    """What ``rclone hashsum sha256`` writes."""
    lines = [f"{sha256(data)}  {name}\n" for name, data in tree.items()]
    return {**tree, "hashes.sha256": "".join(lines).encode()}


def sums(tree: Mapping[str, bytes]) -> dict[str, bytes]:
    return {**tree, "SHA256SUMS": manifest(tree)}


def tagged(tree: Mapping[str, bytes]) -> dict[str, bytes]:
    """What ``sha256sum --tag`` writes."""
    lines = [f"SHA256 ({name}) = {sha256(data)}\n" for name, data in tree.items()]
    return {**tree, "SHA256SUMS": "".join(lines).encode()}


class _Late(Mapping[str, str]):
    """Secrets that are made when somebody asks for them."""

    def __init__(self, make: Callable[[], dict[str, str]]) -> None:
        self._make = make

    def __getitem__(self, name: str) -> str:
        return self._make()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._make())

    def __len__(self) -> int:
        return len(self._make())


_PASSPHRASE = "correct horse battery staple"
STREAMS: list[Stream] = [
    Stream("plain", "", bytes, "it", checks=False),
    Stream("gzip", ".gz", gz, joins=True),
    Stream("xz", ".xz", xz, joins=True),
    Stream("zstd", ".zst", zst, joins=True),
    Stream(
        "zstd without checksum", ".zst", lambda data: zst(data, checksum=False), "zstd", joins=True, checks=False
    ),
    Stream("bzip2", ".bz2", cache(bz2.compress), joins=True),
    Stream("lz4", ".lz4", run("lz4", "-q", "-z", "-c"), joins=True),
    Stream(
        "lz4 without checksum", ".lz4", run("lz4", "-q", "-z", "-c", "--no-frame-crc"), "lz4", joins=True, checks=False
    ),
    Stream("lzip", ".lz", run("lzip", "-c"), joins=True),
    Stream("zip", ".zip", zipped),
    Stream("7z", ".7z", sevenzipped),
    Stream(
        "age", ".age", cache(_AGE.encrypt), codec="age", keys={"identity": _AGE.secret},
        wrong={"identity": _OTHER_AGE.secret},
    ),
    Stream(
        "OpenPGP for a key", ".gpg", gpg("-e", "-r", "backup@example.org", "--trust-model", "always"), "openpgp",
        codec="openpgp", keys=_Late(lambda: {"key": _gpg_home().secret}),
        wrong=_Late(lambda: {"key": _gpg_home().other}),
    ),
    Stream(
        "OpenPGP by passphrase", ".gpg",
        gpg("-c", "--pinentry-mode", "loopback", "--passphrase", _PASSPHRASE, "--s2k-count", "1024"), "openpgp",
        codec="openpgp", keys={"passphrase": _PASSPHRASE}, wrong={"passphrase": "wrong"},
    ),
    Stream(
        "openssl enc", ".enc",
        run("openssl", "enc", "-aes-256-cbc", "-pbkdf2", "-iter", "1000", "-pass", f"pass:{_PASSPHRASE}"), "openssl",
        checks=False, codec="openssl", keys={"password": _PASSPHRASE}, wrong={"password": "wrong"},
        options={"cipher": "aes-256-cbc", "kdf": "pbkdf2", "iterations": 1000}, content_digest=True,
    ),
]  # fmt: skip
ARCHIVES: list[Archive] = [
    Archive("tar GNU", ".tar", pack=_GNU, blocks=True),
    Archive("tar pax", ".tar", pack=tarred(tarfile.PAX_FORMAT), blocks=True),
    Archive("tar ustar", ".tar", pack=tarred(tarfile.USTAR_FORMAT), blocks=True),
    Archive("tar v7", ".tar", pack=v7, blocks=True),
    Archive("tar in gzip", ".tar.gz", pack=wrapped(gz), wraps=gz),
    Archive("tar in bzip2", ".tar.bz2", pack=wrapped(bz2.compress), wraps=bz2.compress),
    Archive("tar in xz", ".tar.xz", pack=wrapped(xz), wraps=xz),
    Archive("tar in zstd", ".tar.zst", pack=wrapped(zst), wraps=zst),
    Archive("zip of a tree", ".zip", pack=zip_of),
    Archive("7z of a tree", ".7z", pack=sevenzip_of, duplicates=False, empty=False),
]
SIDECARS: list[Sidecar] = [
    Sidecar("sha256sum", ".sha256", bytes),
    Sidecar("sha256sum -b", ".sha256", bytes, text="{digest} *{name}\n"),
    Sidecar("sha256sum --tag", ".sha256", bytes, text="SHA256 ({name}) = {digest}\n"),
    Sidecar("sha256sum, CRLF", ".sha256", bytes, text="{digest}  {name}\r\n"),
    Sidecar("bare digest", ".sha256", bytes, text="{digest}\n"),
    Sidecar("openssl dgst", ".sha256", bytes, text="SHA2-256({name})= {digest}\n"),
    Sidecar("sha512sum", ".sha512", bytes, algorithm="sha512"),
    Sidecar("b2sum", ".b2", bytes, algorithm="blake2b"),
    Sidecar("b3sum", ".b3", bytes, algorithm="blake3"),
    Sidecar("md5sum", ".md5", bytes, algorithm="md5", weak=True),
    Sidecar("sha1sum", ".sha1", bytes, algorithm="sha1", weak=True),
    Sidecar("xxhsum", ".xxh128", bytes, algorithm="xxh128", weak=True),
]
LISTINGS: list[Listing] = [
    Listing("sha256sum", "", pack=sums, manifest="SHA256SUMS"),
    Listing("sha256sum --tag", "", pack=tagged, manifest="SHA256SUMS"),
    Listing("hashdeep", "", pack=hashdeep, manifest="hashes.txt"),
    Listing("BagIt", "", pack=bagit, manifest="manifest-sha256.txt", named="bagit.txt", below="data/"),
    Listing("mtree", "", pack=mtree, manifest="backup.mtree"),
    Listing("rclone hashsum", "", pack=rclone, manifest="hashes.sha256"),
]
_STAMP = "%Y%m%d_%H%M%S"
LAYOUTS: list[Layout] = [
    Layout(
        "dated directories", "", bytes, path="{time:%Y/%m/%d}/{time:%H%M%S}.db",
        names=lambda when, number: [f"{when:%Y/%m/%d/%H%M%S}.db"],
    ),
    Layout(
        "marker beside", "", bytes, path=f"{TIME}.db", options={"complete_when": "{name}.done"}, has_marker=True,
        names=lambda when, number: [f"{when:{_STAMP}}.db"],
        beside=lambda when, number: {f"{when:{_STAMP}}.db.done": b""},
    ),
    Layout(
        "latest", "", bytes, path=f"{TIME}.db", options={"latest": "{target}/LATEST"}, has_marker=True,
        names=lambda when, number: [f"{when:{_STAMP}}.db"],
        beside=lambda when, number: {} if number else {"LATEST": f"{when:{_STAMP}}.db\n".encode()},
    ),
    Layout(
        "shared folder", "", bytes, path="{time:%Y-%m-%d_%H%M%S}/shop.db",
        options={"shared_folder": True, "complete_when": "DONE"}, has_marker=True,
        names=lambda when, number: [f"{when:%Y-%m-%d_%H%M%S}/shop.db"],
        beside=lambda when, number: {f"{when:%Y-%m-%d_%H%M%S}/{name}": b"" for name in ("DONE", "other.db")},
    ),
    Layout(
        "split parts", "", bytes, path=f"{TIME}.db.part-{{part}}",
        names=lambda when, number: [f"{when:{_STAMP}}.db.part-a{letter}" for letter in "abc"],
    ),
    Layout(
        "rotation", "", bytes, path="shop.db{rotation:.}",
        names=lambda when, number: [f"shop.db.{number}" if number else "shop.db"],
        expect={"newest_record": {"sql": "select max(created_at) from orders", "within": "2h"}},
    ),
]  # fmt: skip
EXPORTS: list[Export] = [
    Export(
        "CSV", ".csv", bytes, engine="csv", content=lambda: tables_samples.as_csv(tables_samples.orders()),
        options={"engine_options": {"table": "orders"}, "expect": {"rows": {"orders": {"min": 100}}}},
    ),
    Export(
        "NDJSON", ".jsonl", bytes, engine="ndjson", content=lambda: tables_samples.as_ndjson(tables_samples.orders()),
        options={"expect": {"rows": {"data": {"min": 100}}}},
    ),
    Export(
        "Parquet", ".parquet", bytes, engine="parquet", content=parquet_samples.table,
        options={"expect": {"rows": {"data": 120}}},
    ),
    Export(
        "Git bundle", ".bundle", bytes, engine="git", content=lambda: git_samples.History().bundle(), cut="unpacks",
        options={"expect": {"rows": {"commits": 20}}},
    ),
    Export(
        "LDIF", ".ldif", bytes, engine="ldif", content=ldif_samples.directory,
        options={"expect": {"rows": {"entries": 16, "inetOrgPerson": 12}}},
    ),
    Export(
        "etcd", ".db", bytes, engine="etcd", content=lambda: etcd_samples.saved()["good"], cut="unpacks",
        options={"engine_options": dict(etcd_samples.SETTINGS), "expect": {"rows": {"/registry/pods/": 20}}},
    ),
]  # fmt: skip
