"""A directory on an SSH server, read by SFTP version 3 (draft-ietf-secsh-filexfer-02).

Decided here:

* What is an object, and what a symbolic link stands for, is as in a :mod:`restore_drill.stores.local` directory.
* The path of the url is taken literally (no percent encoding), and is absolute; ``/~/`` at its beginning is the
  directory in which the server puts the user.
* Version 3 tells modification times in whole seconds: the marker of a version (``etag``) is size and that time. What is
  replaced within one second by something of the same size cannot be told from it by anybody; a digest can.
* An answer that comes short is an error, never the end of the file, unless the file itself became shorter.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Artifact, Stage
from restore_drill.registry import library
from restore_drill.stores.base import Address, Credential, Oddity, Option, Store, StoreSettings, Trouble
from restore_drill.stores.beneath import kind_of
from restore_drill.stores.sftp_errors import CUT_SHORT, diagnose
from restore_drill.stores.sftp_file import OpenedFile, Status, status_of
from restore_drill.stores.trying import Diagnosis, Nature, Patience, could_not_verify

if TYPE_CHECKING:
    from restore_drill.stores.sftp_session import Reader, Session

#: Names that are asked for at a time.
_PAGE = 1000
_URL = re.compile(
    r"//(?P<user>[^/]+)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^/:@\[\]\s]+)(?::(?P<port>\d{1,5}))?(?P<path>/.*)?", re.DOTALL
)
_JUMP = re.compile(r"(?P<user>[^/:]+)@(?P<host>\[[0-9A-Fa-f:.]+\]|[^/:@\[\]\s]+)(?::(?P<port>\d{1,5}))?")
_Result = TypeVar("_Result")
if TYPE_CHECKING:
    _Question = Callable[[Reader], Coroutine[Any, Any, _Result]]
    _Ask = Callable[[str, _Question[tuple[bytes, Any]]], tuple[bytes, Any] | None]


class SftpStore(Store):
    """``sftp://user@host:port/path``."""

    schemes = ("sftp",)
    options: ClassVar[Mapping[str, Option]] = {
        "known_hosts": Option(Path, "File with the host keys that are trusted; left out, ~/.ssh/known_hosts.",
                              "ssh/known_hosts"),
        "host_key": Option(tuple, "The server's public host keys themselves, instead of known_hosts.",
                           ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…"]),
        "agent": Option(bool, "Log in with the keys of the SSH agent (SSH_AUTH_SOCK).", True),
        "jump": Option(str, "A host to go through, with the same credentials and known_hosts.", "me@bastion:22"),
    }  # fmt: skip
    credentials: ClassVar[Mapping[str, Credential]] = {
        "private_key": Credential("The text of an OpenSSH or PEM private key."),
        "passphrase": Credential("What opens the private key."),
        "password": Credential("The password of the user."),
    }

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings)
        found = _URL.fullmatch(settings.url.partition(":")[2])
        if found is None or any(self.check(Address(settings.url, settings.options, frozenset(settings.secrets)))):
            raise CouldNotVerify(
                "the store's url is no sftp: url", looked_at=self.where(), remedy="Write sftp://user@host:port/path."
            )
        self._host = _end_of(found)
        path = (found["path"] or "/").rstrip("/")
        self._path = _encoded(f".{path[2:]}" if path == "/~" or path.startswith("/~/") else path or "/")
        self._root: bytes | None = None
        self._session: Session | None = None

    @classmethod
    def check(cls, address: Address) -> Iterator[Trouble]:
        """User, host, perhaps a port, and a path as it stands."""
        found = _URL.fullmatch(address.rest)
        if found is None:
            yield Trouble("an sftp: url needs a user and a host", "write sftp://user@host:port/path")
        elif not 0 < int(found["port"] or 22) < 1 << 16:
            yield Trouble("the port is none", "write sftp://user@host:port/path")
        elif "\0" in address.url or {"", ".", ".."} & set((found["path"] or "").removesuffix("/").split("/")[1:]):
            yield Trouble("the path has empty parts, '.' or '..'", "a path is taken literally: write it plainly")
        if "known_hosts" in address.options and "host_key" in address.options:
            yield Trouble("known_hosts and host_key both say whom to trust", "keep one of them", at="host_key")
        jump = address.options.get("jump")
        if jump is not None and not _JUMP.fullmatch(jump):
            yield Trouble("jump names no user and host", "write user@host or user@host:port", at="jump")
        if jump is not None and "host_key" in address.options:
            yield Trouble("host_key is of one host, and a jump needs two", "name a known_hosts", at="host_key")
        for line in address.options.get("host_key", ()):
            if not re.fullmatch(r"[a-z][\w@.-]+ [A-Za-z0-9+/=]+( .*)?", line) and "…" not in line:
                hint = "write it as the server's ssh_host_ed25519_key.pub has it: ssh-ed25519 AAAA…"
                yield Trouble("host_key is no public key", hint, at="host_key")
        if "passphrase" in address.credentials and "private_key" not in address.credentials:
            yield Trouble("passphrase without private_key opens nothing", "add private_key", at="passphrase")

    @classmethod
    def hosts(cls, address: Address) -> Iterator[tuple[str, str]]:
        """The server, and the host on the way to it."""
        yield from super().hosts(address)
        if "jump" in address.options:
            yield "jump", f"//{address.options['jump']}"

    def list(self, prefix: str) -> Iterator[Artifact]:
        """Every file whose key begins with ``prefix``; of directories only those that can hold one are read.

        Raises:
            CouldNotVerify: The server cannot be reached or is not trusted, the root is missing, or something denies
                access.
        """
        return self.scan(prefix, lambda oddity: None)  # noqa: ARG005 - what is no object is not listed

    def scan(
        self,
        prefix: str,
        odd: Callable[[Oddity], None],
        closed: Callable[[str, str], None] | None = None,  # noqa: ARG002 - what is denied is an error
    ) -> Iterator[Artifact]:
        """The same, telling of directories, devices, FIFOs, sockets, and links that lead to no file of this store."""
        folder, slash, start = prefix.rpartition("/")
        self._check_root()
        if slash and not _is_key(folder):
            return
        levels = [iter([folder])]
        while levels:
            here = next(levels[-1], None)
            if here is None:
                levels.pop()
                continue
            below: list[str] = []
            for key, status in self._entries(here, start if here == folder else ""):
                what = self._what(key, status)
                if isinstance(what, Artifact):
                    yield what
                    continue
                is_directory = stat.S_ISDIR(status.mode)
                odd(Oddity(key, float(status.modified), what, is_directory=is_directory))
                if is_directory:
                    below.append(key)
            levels.append(iter(below))

    def stat(self, key: str) -> Artifact | None:
        """One file, or ``None`` when there is none of that name.

        Raises:
            CouldNotVerify: As for :meth:`list`, or the name is a link that leads outside.
        """
        if self._root is None:
            self._check_root()
        if not _is_key(key):
            return None
        status = self._status(key)
        if status is None:
            self._check_root()
        return _artifact(key, status) if status is not None and stat.S_ISREG(status.mode) else None

    def open(self, artifact: Artifact) -> Generator[bytes, None, None]:
        """The bytes of a file, several requests ahead; resumed where the connection broke.

        Raises:
            BackupFailed: It vanished, changed since it was listed or while it was read, or is no regular file.
            CouldNotVerify: It could not be read to its end.
        """
        position, patience = 0, Patience(self.settings.retries)
        while True:
            diagnosis: Diagnosis | None = None
            try:
                path = self._fetched(artifact)
                with OpenedFile(self._connected(), path, artifact.size) as opened:
                    self._compare(artifact, opened.status(), "after it was listed")
                    for block in opened.blocks(position):
                        position += len(block)
                        patience.progressed()
                        yield block
                    self._compare(artifact, opened.status(), "while it was read")
                    if position == artifact.size:
                        return
                    diagnosis, problem = CUT_SHORT, None
            except RestoreDrillError:
                raise
            except Exception as raised:
                problem, diagnosis = raised, diagnose(raised)
                if diagnosis is None:
                    raise
            if diagnosis.nature is Nature.ABSENT:
                raise self._changed(artifact, "after it was listed: it is gone") from problem
            if not patience.bears(diagnosis):
                so_far = f"; {position} of {artifact.size} bytes had arrived" if position else ""
                raise could_not_verify(diagnosis, self.where(artifact.key), Stage.FETCH, so_far) from problem

    def where(self, key: str = "") -> str:
        """The address without the user."""
        return re.sub(r"^sftp://[^/]*@", "sftp://", super().where(key), flags=re.IGNORECASE)

    def close(self) -> None:
        """End the connection."""
        if self._session is not None:
            self._session.close()
        self._session = None

    def _connected(self) -> Session:
        if self._session is None:
            module = library("restore_drill.stores.sftp_session", "an sftp: store", "sftp")
            jump = _JUMP.fullmatch(self.settings.options.get("jump", ""))
            self._session = module.Session(self.settings, self._host, _end_of(jump) if jump else None, self.where())
        return self._session

    def _ask(self, key: str, make: _Question[_Result]) -> _Result | None:
        """What the server answers, ``None`` when there is nothing of that name; asked again where that may help."""
        patience = Patience(self.settings.retries)
        while True:
            try:
                return self._ask_once(key, make)
            except RestoreDrillError:
                raise
            except Exception as problem:
                diagnosis = diagnose(problem)
                if diagnosis is None:
                    raise
                if not patience.bears(diagnosis):
                    raise could_not_verify(diagnosis, self.where(key)) from problem

    def _ask_once(self, key: str, make: _Question[_Result]) -> _Result | None:  # noqa: ARG002 - as _ask
        """The same, once; errors come as they are."""
        try:
            return self._connected().run(make)
        except RestoreDrillError:
            raise
        except Exception as problem:
            diagnosis = diagnose(problem)
            if diagnosis is None or diagnosis.nature is not Nature.ABSENT:
                raise
            return None

    def _check_root(self, ask: _Ask | None = None) -> None:
        """Make sure that the root is there: a disk that is not mounted must not pass for an empty store."""

        async def look(reader: Reader) -> tuple[bytes, Any]:
            root = await reader.realpath(self._path)
            return root, await reader.stat(root)

        found = (ask or self._ask)("", look)
        if found is None or not stat.S_ISDIR(status_of(found[1]).mode):
            raise CouldNotVerify(
                "the store's directory is not there" if found is None else "the store's url is not a directory",
                looked_at=self.where(),
                remedy="Is the disk mounted on the server? Mount it, or correct the store's url.",
            )
        self._root = found[0]

    def _at(self, key: str) -> bytes:
        root = (self._root or self._path).rstrip(b"/")
        return root + b"/" + _encoded(key) if key else root or b"/"

    def _resolved(self, key: str, ask: _Ask) -> tuple[bytes, Status] | None:
        """Where a name leads and what stands there, following links; ``None`` when there is nothing."""

        async def look(reader: Reader) -> tuple[bytes, Any]:
            real = await reader.realpath(self._at(key))
            return real, await reader.stat(real)

        found = ask(key, look)
        return None if found is None else (found[0], status_of(found[1]))

    def _status(self, key: str, ask: _Ask | None = None) -> Status | None:
        found = self._resolved(key, ask or self._ask)
        if found is None:
            return None
        if not self._is_inside(found[0]):
            raise CouldNotVerify(
                "a symbolic link leads out of the store, and is not followed",
                looked_at=self.where(key),
                remedy="Let the store's url name the directory that the link leads to, or move the files below it.",
            )
        return found[1]

    def _is_inside(self, real: bytes) -> bool:
        root = (self._root or b"").rstrip(b"/")
        return real == root or real.startswith(root + b"/")

    def _what(self, key: str, status: Status) -> Artifact | str:
        """The object that a name stands for, or in words what stands there."""
        if stat.S_ISREG(status.mode):
            return _artifact(key, status)
        if not stat.S_ISLNK(status.mode):
            return kind_of(status.mode)
        found = self._resolved(key, self._ask)
        if found is None:
            return "a symbolic link to nothing"
        if not self._is_inside(found[0]):
            return "a symbolic link that leads out of the store"
        return (
            _artifact(key, found[1]) if stat.S_ISREG(found[1].mode) else f"a symbolic link to {kind_of(found[1].mode)}"
        )

    def _entries(self, folder: str, start: str) -> Iterator[tuple[str, Status]]:
        """The names in a folder that begin so, page by page; a folder that disappeared is empty."""
        begun: list[Any] = []

        async def more(reader: Reader) -> list[Any]:
            if not begun:
                begun.append(reader.scandir(self._at(folder)))
            page: list[Any] = []
            async for name in begun[0]:
                page.append(name)
                if len(page) == _PAGE:
                    break
            return page

        async def first(reader: Reader) -> list[Any]:
            begun.clear()  # a connection that broke before anything was handed on is made anew
            return await more(reader)

        if folder and self._status(folder) is None:  # a link that leads outside is refused by name
            return
        page = self._ask(folder, first)
        if page is None:
            self._check_root()
        try:
            while page:
                for name in page:
                    entry = self._entry(folder, name)
                    if entry is not None and entry[0].rpartition("/")[2].startswith(start):
                        yield entry
                page = self._page(folder, more) if len(page) == _PAGE else None
        finally:
            if begun:
                self._connected().later(begun[0].aclose)  # a listing that was given up keeps a handle open

    def _page(self, folder: str, more: _Question[Any]) -> Any:
        try:
            return self._connected().run(more)
        except RestoreDrillError:
            raise
        except Exception as problem:
            diagnosis = diagnose(problem)
            if diagnosis is None:
                raise
            raise could_not_verify(diagnosis, self.where(folder)) from problem

    def _entry(self, folder: str, name: Any) -> tuple[str, Status] | None:
        written = name.filename
        plain = written.decode("utf-8", "surrogateescape") if isinstance(written, bytes) else str(written)
        if plain in (".", "..") or (not folder and plain == "lost+found"):
            return None
        if not plain or "/" in plain or "\0" in plain:
            raise CouldNotVerify(
                "the SFTP server lists a name that no file can have",
                looked_at=self.where(folder),
                remedy="Is it an SFTP server that can be trusted? Try `sftp` by hand.",
            )
        key = f"{folder}/{plain}" if folder else plain
        status = status_of(name.attrs)
        if not stat.S_IFMT(status.mode):
            found = self._ask(key, lambda reader: reader.lstat(self._at(key)))
            return (key, status_of(found)) if found is not None else None
        return key, status

    def _fetched(self, artifact: Artifact) -> bytes:
        """Where an object lies now, and that it is a regular file: opening a FIFO would wait for its writer."""
        if not _is_key(artifact.key):
            raise CouldNotVerify(
                "this is not a name inside the store",
                looked_at=self.where(artifact.key),
                remedy="Names are relative to the store's url, without '..' and empty parts.",
            )
        if self._root is None:
            self._check_root(self._ask_once)
        status = self._status(artifact.key, self._ask_once)
        if status is None:
            self._check_root(self._ask_once)
            raise self._changed(artifact, "after it was listed: it is gone")
        if not stat.S_ISREG(status.mode):
            raise BackupFailed(
                f"it is {kind_of(status.mode)} and not a regular file",
                looked_at=self.where(artifact.key),
                remedy="Find out what put it among the backups.",
                stage=Stage.FETCH,
            )
        return self._at(artifact.key)

    def _compare(self, artifact: Artifact, status: Status, when: str) -> None:
        if (artifact.etag or _marker(status)) != _marker(status) or artifact.size != status.size:
            raise self._changed(artifact, f"{when}: {artifact.size} bytes then, {status.size} now, or another time")

    def _changed(self, artifact: Artifact, how: str) -> BackupFailed:
        return BackupFailed(
            f"it changed {how}",
            looked_at=self.where(artifact.key),
            remedy="If the backup job was still writing it, let it write under another name and rename when done.",
            stage=Stage.FETCH,
        )


def _end_of(found: re.Match[str]) -> tuple[str, int, str]:
    return found["host"].strip("[]"), int(found["port"] or 22), found["user"]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _is_key(key: str) -> bool:
    """Whether a name can be one of this store's: longer parts than any file system has are none."""
    return "\0" not in key and all(
        part not in ("", ".", "..") and len(_encoded(part)) <= 255 for part in key.split("/")
    )


def _artifact(key: str, status: Status) -> Artifact:
    return Artifact(key, status.size, float(status.modified), etag=_marker(status))


def _marker(status: Status) -> str:
    return f"{status.size:x}-{status.modified:x}"
