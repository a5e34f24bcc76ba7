r"""What the ``git`` engine proves itself with: packs and mirrors that are made here, byte by byte, without git.

Formats: gitformat-pack(5), gitformat-bundle(5), git-hash-object's ``<type> <size>\0<content>``.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.base import Sample
from restore_drill.engines.tables_samples import packed

#: Seconds since the epoch at which a snapshot of the good sample would have been taken.
TAKEN: Final = 1_700_000_000
_COMMITS: Final = 20
#: What the catalogue would say of these samples under ``expect:``.
EXPECT: Final[Mapping[str, Any]] = {
    "rows": {"commits": _COMMITS, "tags": 1},
    "newest_record": {"sql": "SELECT max(committed_at) FROM commits", "within": "2h"},
}
#: When the first commit was made, whatever became of the later ones.
_BEGUN: Final = TAKEN - 50 * 3600
_COMMITTER: Final = "Grace <grace@example.org>"
_TYPES: Final = {"commit": 1, "tree": 2, "blob": 3, "tag": 4}
Object = tuple[str, bytes]


class History:
    """A line of commits on ``main``, the first of them tagged.

    Args:
        commits: How many.
        age: Hours between the newest and the snapshot.
        author: Who wrote them; git may find that malformed.
    """

    def __init__(self, commits: int = _COMMITS, age: int = 1, author: str = "Ada <ada@example.org>") -> None:
        self.objects: dict[str, Object] = {}
        self.commits: list[str] = []
        newest = TAKEN - age * 3600
        for number in range(commits):
            self._commit(number, author, newest - 60 * (commits - 1 - number) if number else _BEGUN)
        tag = f"object {self.commits[0]}\ntype commit\ntag v1\ntagger {_COMMITTER} {_BEGUN} +0000\n\nfirst\n"
        self.tag = self.add("tag", tag.encode())
        self.refs = {"refs/heads/main": self.commits[-1], "refs/heads/topic": self.commits[0], "refs/tags/v1": self.tag}

    def add(self, kind: str, content: bytes) -> str:
        """One more object; returns its id."""
        identity = hashlib.sha1(_framed((kind, content)), usedforsecurity=False).hexdigest()
        self.objects[identity] = (kind, content)
        return identity

    def _commit(self, number: int, author: str, when: int) -> None:
        blob = self.add("blob", f"line {number}\n".encode() * 50)
        tree = self.add("tree", b"100644 file\0" + bytes.fromhex(blob))
        parent = f"parent {self.commits[-1]}\n" if self.commits else ""
        people = f"author {author} {when} +0000\ncommitter {_COMMITTER} {when} +0000\n"
        text = f"tree {tree}\n{parent}{people}\ncommit {number}\n"
        self.commits.append(self.add("commit", text.encode()))

    def bundle(self, first: int = 0, last: int | None = None, *, needs: str = "") -> bytes:
        """These commits as a bundle, which builds on the one before them, or on another that it ``needs``."""
        commits = self.commits[first:last]
        earlier = self._reach(self.commits[first - 1]) if first else set[str]()
        wanted = self._reach(commits[-1]) | {self.tag} - earlier
        needs = needs or (self.commits[first - 1] if first else "")
        refs = {**self.refs, "refs/heads/main": commits[-1]}
        lines = [f"-{needs} earlier\n"] if needs else []
        lines += [f"{identity} {name}\n" for name, identity in refs.items()]
        kept = [one for identity, one in self.objects.items() if identity in wanted - earlier]
        return b"# v2 git bundle\n" + "".join(lines).encode() + b"\n" + pack(kept)

    def _reach(self, commit: str) -> set[str]:
        """Ids of all objects up to a commit, which were added in that order."""
        ids = list(self.objects)
        return set(ids[: ids.index(commit) + 1])

    def mirror(self, **more: bytes) -> dict[str, bytes]:
        """All of it as the files of a bare repository, with loose objects."""
        files = {"HEAD": b"ref: refs/heads/main\n", "config": b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n"}
        files |= {name: f"{identity}\n".encode() for name, identity in self.refs.items()}
        for identity, one in self.objects.items():
            files[f"objects/{identity[:2]}/{identity[2:]}"] = zlib.compress(_framed(one))
        return {f"app.git/{name}": data for name, data in {**files, **more}.items()}


def pack(objects: list[Object]) -> bytes:
    """A pack of whole objects."""
    parts = [b"PACK" + (2).to_bytes(4, "big") + len(objects).to_bytes(4, "big")]
    for kind, content in objects:
        size = len(content)
        head = [(_TYPES[kind] << 4) | (size & 15)]
        size >>= 4
        while size:
            head[-1] |= 0x80
            head.append(size & 0x7F)
            size >>= 7
        parts += [bytes(head), zlib.compress(content)]
    data = b"".join(parts)
    return data + hashlib.sha1(data, usedforsecurity=False).digest()


def _framed(one: Object) -> bytes:
    return f"{one[0]} {len(one[1])}\0".encode() + one[1]


def samples() -> Iterator[Sample]:
    """The good ones first."""
    good = History()
    data, files = good.bundle(), good.mirror()
    blob = next(identity for identity, (kind, _) in good.objects.items() if kind == "blob")
    loose = f"app.git/objects/{blob[:2]}/{blob[2:]}"
    yield Sample("good", "", _bundle(data))
    yield Sample("good-mirror", "", packed(files))
    yield Sample("no-commit", "restores", packed(_empty(files)))
    yield Sample("cut", "unpacks", _bundle(data[: len(data) * 2 // 3]))
    yield Sample("bit-flipped", "unpacks", _bundle(data[:-400] + bytes([data[-400] ^ 1]) + data[-399:]))
    yield Sample("no-full-bundle", "restores", _bundle(good.bundle(needs="1" * 40)))
    yield Sample("object-missing", "restores", packed({name: data for name, data in files.items() if name != loose}))
    yield Sample("no-repository", "restores", packed({"README": b"moved\n"}))
    yield Sample(
        "borrowed-objects", "restores", packed({**files, "app.git/objects/info/alternates": b"/srv/objects\n"})
    )
    yield Sample("object-damaged", "integrity", packed({**files, loose: zlib.compress(b"blob 4\0nope")}))
    yield Sample("author-malformed", "integrity", _bundle(History(author="Ada ada@example.org").bundle()))
    yield Sample("shallow", "integrity", packed({**files, "app.git/shallow": f"{good.commits[5]}\n".encode()}))
    yield Sample("branch-lost", "structure", _bundle(_renamed(good)))
    yield Sample("commits-lost", "rows", _bundle(History(commits=_COMMITS - 3).bundle()))
    yield Sample("stale", "newest", _bundle(History(age=30).bundle()))
    yield Sample("another-repository", "query", _bundle(History(author="Eve <eve@example.org>").bundle()))


def first_commit() -> str:
    """The id of the good history's first commit, by which a repository is known."""
    return History().commits[0]


def _renamed(history: History) -> bytes:
    return history.bundle().replace(b" refs/heads/main\n", b" refs/heads/other\n")


def _empty(files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {
        **{name: data for name, data in files.items() if name.rpartition("/")[2] in ("HEAD", "config")},
        "app.git/objects/info/": b"",
        "app.git/refs/heads/": b"",
    }


def _bundle(data: bytes) -> Callable[[Path], Path]:
    def build(directory: Path) -> Path:
        path = directory / "all.bundle"
        path.write_bytes(data)
        return path

    return build
