from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

from restore_drill.manifests.bagit import BagitManifest
from restore_drill.manifests.hashdeep import HashdeepManifest
from restore_drill.manifests.mtree import MtreeManifest
from restore_drill.manifests.rclone import RcloneManifest
from restore_drill.manifests.sums import SumsManifest
from restore_drill.testing.manifest import Line, ManifestConformance, sha256

_ONE_LINE = ("\n", "\r")
#: What a format whose names end with the line can hold.
LINES = tuple(name for name in ManifestConformance.awkward if not any(char in name for char in _ONE_LINE))


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class TestSums(ManifestConformance):
    manifest = SumsManifest

    def write(self, root: Path, lines: Iterable[Line]) -> str:
        """As GNU coreutils write them."""
        out = b""
        for name, data in lines:
            plain = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
            mark = "\\" if plain != name else ""
            out += raw(f"{mark}{sha256(data)}  {plain}\n")
        (root / "SHA256SUMS").write_bytes(out)
        return "SHA256SUMS"


class TestHashdeep(ManifestConformance):
    manifest = HashdeepManifest
    awkward = LINES

    def write(self, root: Path, lines: Iterable[Line]) -> str:
        out = "%%%% HASHDEEP-1.0\n%%%% size,md5,sha256,filename\n## Invoked from: /srv\n## $ hashdeep -r -l .\n## \n"
        for name, data in lines:
            out += (
                f"{len(data)},{hashlib.md5(data).hexdigest()},{sha256(data)},{'' if name[0] == '/' else './'}{name}\n"
            )
        (root / "hashdeep.txt").write_bytes(raw(out))
        return "hashdeep.txt"


class TestRclone(ManifestConformance):
    manifest = RcloneManifest
    awkward = (*LINES, "picture \u240a", "quote \u201b")

    def write(self, root: Path, lines: Iterable[Line]) -> str:
        out = ""
        for name, data in lines:
            digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode()
            shown = "".join(
                f"\u201b{char}" if char == "\u201b" or "\u2400" <= char <= "\u2421" else
                chr(ord(char) + 0x2400) if char < " " else char
                for char in name
            )  # fmt: skip
            out += f"{digest}  {shown}\n"
        (root / "rclone.sums").write_bytes(raw(out))
        return "rclone.sums"


class TestMtree(ManifestConformance):
    manifest = MtreeManifest

    def write(self, root: Path, lines: Iterable[Line]) -> str:
        """As bsdtar writes them: whole paths, octal escapes."""
        (root / "app.mtree").write_bytes(b"")
        every = list(lines)
        directories = {str(path) for name, _ in every for path in Path(name).parents if str(path) not in (".", "/")}
        out = "#mtree\n. type=dir\n" + "".join(f"./{_vis(name)} type=dir\n" for name in directories if ".." not in name)
        for name, data in every:
            at = name if name.startswith(("/", "..")) else f"./{name}"
            out += f"{_vis(at)} mode=644 gid=0 uid=0 type=file size={len(data)} sha256digest={sha256(data)}\n"
        (root / "app.mtree").write_bytes(raw(out))
        return "app.mtree"


def _vis(name: str) -> str:
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789./-_,%*"
    return "".join(chr(byte) if byte in plain else f"\\{byte:03o}" for byte in raw(name))


class TestBagit(ManifestConformance):
    manifest = BagitManifest
    below = "data"

    def write(self, root: Path, lines: Iterable[Line]) -> str:
        out = ""
        for name, data in lines:
            shown = name.replace("%", "%25").replace("\n", "%0A").replace("\r", "%0D")
            out += f"{sha256(data)}  {shown}\n"
        (root / "manifest-sha256.txt").write_bytes(raw(out))
        (root / "bagit.txt").write_text("BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n")
        return "bagit.txt"

    def list_of(self, root: Path, name: str) -> Path:
        return root / "manifest-sha256.txt"
