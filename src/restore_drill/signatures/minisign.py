"""minisign and its relatives (signify's format with prehashing): Ed25519 over the file's BLAKE2b-512.

Format: https://jedisct1.github.io/minisign/ (signature format, public key format). A signature of the old form, over
the whole file itself, needs the file in memory: it is verified up to 16 MiB and refused beyond.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from restore_drill import digests
from restore_drill.signatures.base import Signature, Signer, malformed, unusable_key, wrong

#: The two forms: of the file's BLAKE2b-512, and of the file.
_PREHASHED, _LEGACY = b"ED", b"Ed"
_UNTRUSTED, _TRUSTED = "untrusted comment:", "trusted comment: "
_MOST_LEGACY = 16 << 20
_TIMESTAMP = re.compile(r"(?:\A|\t)timestamp:(\d{1,11})(?:\t|\Z)")


@dataclass(frozen=True, slots=True)
class _Parsed:
    """The parts of a signature file."""

    algorithm: bytes
    key_id: bytes
    value: bytes
    comment: str
    over_comment: bytes


class MinisignSignature(Signature):
    """``minisign -S``: ``.minisig`` beside the file."""

    name: ClassVar[str] = "minisign"
    suffixes: ClassVar[tuple[str, ...]] = (".minisig",)

    @classmethod
    def check_key(cls, text: str) -> None:
        """One line of base64 that begins with ``RW``, or the two lines of ``minisign.pub``."""
        if _key(text) is None:
            raise ValueError("needs a minisign public key: the line of minisign.pub that begins with RW")

    def __init__(self, signature: bytes, keys: Sequence[bytes], until: float) -> None:  # noqa: ARG002 - nothing waits
        self._keys = dict(_usable(key) for key in keys)
        self._signature = _parse(signature)
        self._hash = digests.new("blake2b")
        self._whole = bytearray()
        self._size = 0

    def update(self, chunk: bytes) -> None:
        """Hash it, or (old form) keep it as far as that is bearable."""
        self._size += len(chunk)
        if self._signature.algorithm == _PREHASHED:
            self._hash.update(chunk)
        elif self._size <= _MOST_LEGACY:
            self._whole += chunk
        else:
            self._whole.clear()

    def conclude(self) -> Signer:
        """The key's id as ``minisign`` prints it."""
        signature = self._signature
        shown = _shown(signature.key_id)
        if signature.key_id not in self._keys:
            raise wrong(f"it is signed by another key than the pinned: {shown}")
        if signature.algorithm == _LEGACY and self._size > _MOST_LEGACY:
            raise malformed(self.name, "it is of the old form without prehashing, and the file is larger than 16 MiB")
        message = self._hash.digest() if signature.algorithm == _PREHASHED else bytes(self._whole)
        key = self._keys[signature.key_id]
        if not _verifies(key, signature.value, message):
            raise wrong(f"the signature by {shown} is not one of these bytes")
        if not _verifies(key, signature.over_comment, signature.value + signature.comment.encode()):
            raise wrong(f"the trusted comment of the signature by {shown} was changed")
        stamp = _TIMESTAMP.search(signature.comment)
        return Signer(shown, datetime.fromtimestamp(int(stamp[1]), UTC) if stamp else None)


def _shown(key_id: bytes) -> str:
    return f"{int.from_bytes(key_id, 'little'):X}"  # as minisign prints it: without leading zeros


def _verifies(key: bytes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _usable(raw: bytes) -> tuple[bytes, bytes]:
    found = _key(raw.decode("utf-8", "replace"))
    if found is None:
        raise unusable_key("minisign", "it is no minisign public key")
    return found


def _key(text: str) -> tuple[bytes, bytes] | None:
    """A public key's id and value."""
    lines = [line for line in text.strip().splitlines() if not line.startswith(_UNTRUSTED)]
    raw = _decoded(lines[0].strip(), 42) if len(lines) == 1 else None
    return (raw[2:10], raw[10:]) if raw and raw[:2] == _LEGACY else None


def _decoded(line: str, length: int) -> bytes | None:
    try:
        raw = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        return None
    return raw if len(raw) == length else None


def _parse(raw: bytes) -> _Parsed:
    try:
        lines = raw.decode("utf-8").splitlines()
    except UnicodeDecodeError as problem:
        raise malformed("minisign", "it is not text") from problem
    if len(lines) != 4 or not lines[0].startswith(_UNTRUSTED) or not lines[2].startswith(_TRUSTED):
        raise malformed("minisign", "it is not the four lines that minisign writes")
    value, over_comment = _decoded(lines[1], 74), _decoded(lines[3], 64)
    if value is None or over_comment is None or value[:2] not in (_PREHASHED, _LEGACY):
        raise malformed("minisign", "one of its lines is damaged")
    return _Parsed(value[:2], value[2:10], value[10:], lines[2].removeprefix(_TRUSTED), over_comment)
