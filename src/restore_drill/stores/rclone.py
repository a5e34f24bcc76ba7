"""Whatever rclone reads: a remote of its configuration, by the program itself.

Decided here:

* Only ``lsjson`` and ``cat`` are ever run. The url names a remote; one that is made up in the url (``:sftp,host=…:``)
  is refused, because it could hold secrets and commands.
* The marker of a version (``etag``) is size and time as rclone tells them; both are compared before and after reading.
* ``cat`` writes all files of a directory one after another: what is read is first looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Stage
from restore_drill.stores.base import Address, Credential, Option, Store, StoreSettings, Trouble
from restore_drill.stores.pieces import Held
from restore_drill.stores.rclone_program import RcloneEnded, output
from restore_drill.stores.trying import Diagnosis, Nature, Patience, could_not_verify

_URL = re.compile(r"rclone:(?P<remote>\w(?:[\w .+@-]*[\w.+@])?):(?P<path>.*)", re.DOTALL | re.IGNORECASE)
#: The longest line of a listing: one object.
_LINE = 1 << 20
_BROKEN = Diagnosis(Nature.AGAIN, "rclone's output broke off", "Run it again.")
_NO_LISTING = Diagnosis(Nature.FINAL, "rclone lists what cannot be read", "Update rclone.")


class RcloneStore(Store):
    """``rclone:remote:path``."""

    schemes = ("rclone",)
    options: ClassVar[Mapping[str, Option]] = {
        "config": Option(Path, "rclone's configuration file; left out, the user's own.", "rclone.conf"),
    }
    credentials: ClassVar[Mapping[str, Credential]] = {
        "config_text": Credential("The text of a configuration file, where it must not lie on a disk."),
        "config_password": Credential("What opens an encrypted configuration."),
    }

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings)
        found = _URL.fullmatch(settings.url)
        if found is None:
            raise CouldNotVerify(
                "the store's url is no rclone: url", looked_at=self.where(), remedy="Write rclone:remote:path."
            )
        path = found["path"]
        self._root = f"{found['remote']}:{path.rstrip('/') or path[:1]}"
        self._rooted = False

    @classmethod
    def check(cls, address: Address) -> Iterator[Trouble]:
        """A remote of the configuration, and a path as it stands."""
        found = _URL.fullmatch(address.url)
        if found is None:
            hint = "write rclone:remote:path, with a remote of rclone's configuration"
            yield Trouble("an rclone: url needs the name of a remote", hint, secret=True)
        elif "\0" in address.url or {"", ".", ".."} & set(_parts(found["path"])):
            yield Trouble("the path has empty parts, '.' or '..'", "a path is taken literally: write it plainly")
        if "config" in address.options and "config_text" in address.credentials:
            yield Trouble("config and config_text say the same thing twice", "keep one of them", at="config_text")

    def list(self, prefix: str) -> Iterator[Artifact]:
        """Every file whose key begins with ``prefix``; only the directory that can hold them is read.

        Raises:
            CouldNotVerify: The remote cannot be reached or denies it, or the store's directory is not there.
        """
        folder, slash, _ = prefix.rpartition("/")
        if not self._rooted:
            self._check_root(prefix)
        if slash:
            if not _is_key(folder):
                return
            there = self._look(folder)
            if there is None or not there.get("IsDir"):
                return
        try:
            for entry in self._entries(self._at(folder)):
                key = f"{folder}{slash}{entry['Path']}"
                if key.startswith(prefix) and not entry.get("IsDir"):
                    yield self._artifact(key, entry)
        except RcloneEnded as problem:
            if problem.diagnosis.nature is not Nature.ABSENT:
                raise could_not_verify(problem.diagnosis, self.where(prefix)) from problem
            self._check_root(prefix)

    def stat(self, key: str) -> Artifact | None:
        """One file, or ``None`` when there is none of that name.

        Raises:
            CouldNotVerify: As for :meth:`list`.
        """
        if not _is_key(key):
            return None
        entry = self._look(key)
        if entry is None:
            self._check_root(key)
        return None if entry is None or entry.get("IsDir") else self._artifact(key, entry)

    def open(self, artifact: Artifact) -> Generator[bytes, None, None]:
        """The bytes of a file; resumed where rclone ended.

        Raises:
            BackupFailed: It vanished or changed since it was listed, or while it was read.
            CouldNotVerify: It could not be read to its end.
        """
        position, patience = 0, Patience(self.settings.retries)
        self._compare(artifact, "after it was listed")
        while position < artifact.size:
            held, diagnosis = Held(), _BROKEN
            try:
                wanted = str(artifact.size - position)
                for piece in output(
                    self.settings, "cat", "--offset", str(position), "--count", wanted, "--", self._at(artifact.key)
                ):
                    position += len(piece)
                    patience.progressed()
                    if held.add(piece):
                        yield held.take()
            except RcloneEnded as problem:
                diagnosis = problem.diagnosis
            if held:
                yield held.take()
            self._compare(artifact, "while it was read")
            if position < artifact.size and not patience.bears(diagnosis):
                so_far = f"; {position} of {artifact.size} bytes had arrived" if position else ""
                raise could_not_verify(diagnosis, self.where(artifact.key), Stage.FETCH, so_far)

    def _at(self, key: str) -> str:
        if not key:
            return self._root
        return f"{self._root}{key}" if self._root.endswith((":", "/")) else f"{self._root}/{key}"

    def _check_root(self, key: str) -> None:
        """Make sure that the store is there: what is not mounted must not pass for an empty one."""
        root = self._look("")
        if root is None or not root.get("IsDir"):
            raise CouldNotVerify(
                "the store's directory is not there" if root is None else "the store's url is not a directory",
                looked_at=self.where(key),
                remedy="Is the disk mounted on the remote? Mount it, or correct the store's url.",
            )
        self._rooted = True

    def _look(self, key: str) -> Mapping[str, Any] | None:
        """What stands under a name, ``None`` when there is nothing; asked again where that may help."""
        patience = Patience(self.settings.retries)
        while True:
            try:
                text = b"".join(output(self.settings, "lsjson", "--stat", "--no-mimetype", "--", self._at(key)))
                entry = json.loads(text)
                if entry is None or (isinstance(entry, dict) and "IsDir" in entry):
                    return entry
                diagnosis = _NO_LISTING
            except ValueError:
                diagnosis = _NO_LISTING
            except RcloneEnded as problem:
                diagnosis = problem.diagnosis
            if diagnosis.nature is Nature.ABSENT:
                return None
            if not patience.bears(diagnosis):
                raise could_not_verify(diagnosis, self.where(key))

    def _entries(self, at: str) -> Iterator[Mapping[str, Any]]:
        """What is listed, one object a line."""
        arguments = ("-R", "--files-only", "--no-mimetype", "--", at)
        rest, ended = b"", False
        for piece in output(self.settings, "lsjson", *arguments, retries=self.settings.retries):
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > _LINE:
                raise RcloneEnded(0, _NO_LISTING)
            for line in lines:
                ended |= line == b"]"
                if line not in (b"[", b"]", b""):
                    yield _entry(line.rstrip(b","))
        if not ended:
            raise RcloneEnded(0, _BROKEN)

    def _artifact(self, key: str, entry: Mapping[str, Any]) -> Artifact:
        size, when = entry.get("Size"), str(entry.get("ModTime", ""))
        modified = _seconds(when)
        if not isinstance(size, int) or size < 0 or modified is None:
            raise CouldNotVerify(
                "the remote does not say how large the object is, or when it was written",
                looked_at=self.where(key),
                remedy="Objects without a size (documents that are made when they are read) cannot be drilled.",
            )
        return Artifact(key, size, modified, etag=f"{size:x}-{when}")

    def _compare(self, artifact: Artifact, when: str) -> None:
        found = self._look(artifact.key)
        now = None if found is None or found.get("IsDir") else self._artifact(artifact.key, found)
        if now is not None and now.size == artifact.size and artifact.etag in ("", now.etag):
            return
        if now is None:
            self._check_root(artifact.key)
        raise BackupFailed(
            f"it vanished {when}" if now is None else f"it changed {when}",
            looked_at=self.where(artifact.key),
            remedy="If the backup job was still writing it, let it write under another name and rename when done.",
            stage=Stage.FETCH,
        )


def _parts(path: str) -> list[str]:
    plain = path.removeprefix("/").removesuffix("/")
    return plain.split("/") if plain else []


def _entry(line: bytes) -> Mapping[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError as problem:
        raise RcloneEnded(0, _NO_LISTING) from problem
    if not isinstance(entry, dict) or not isinstance(entry.get("Path"), str):
        raise RcloneEnded(0, _NO_LISTING)
    return entry


def _is_key(key: str) -> bool:
    """Whether a name can be one of this store's; rclone would tidy the others up."""
    return "\0" not in key and not {"", ".", ".."} & set(key.split("/"))


def _seconds(when: str) -> float | None:
    """The time of an entry, RFC 3339 with up to nine digits; ``None`` for what is none."""
    try:
        return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", when)).timestamp()
    except ValueError:
        return None
