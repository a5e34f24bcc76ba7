"""Age files that a passphrase opens (https://c2sp.org/age, sections Payload and scrypt recipient type).

pyrage decrypts these only as a whole in memory; here it is done in pieces, with OpenSSL's primitives.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from restore_drill.codecs._age_header import Header, Stanza, decode_base64
from restore_drill.codecs._source import CHUNK, Source, truncated
from restore_drill.codecs.base import damaged
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

#: The work factor (base-2 logarithm) that is still tried: 4 GiB of memory, as age's own limit. It writes 18.
WORK_FACTOR_MAX = 22
_TAG = 16
_NONCE = 16
_PIECE = (1 << 16) + _TAG
_PIECES_AT_ONCE = CHUNK >> 16


def work_factor(header: Header) -> int:
    """The base-2 logarithm of the scrypt cost that a header's only stanza asks for.

    Raises:
        BackupFailed: The stanza breaks a rule of the format, or is not the only one.
        CouldNotVerify: The cost is above :data:`WORK_FACTOR_MAX`.
    """
    stanza = header.stanzas[0]
    if len(header.stanzas) > 1:
        raise damaged("age", "damaged: its header has a passphrase beside other recipients, which the format forbids")
    if len(stanza.arguments) != 2 or not re.fullmatch("[1-9][0-9]*", stanza.arguments[1]):
        raise damaged("age", "damaged: its passphrase stanza is malformed")
    factor = int(stanza.arguments[1][:4])
    if factor > WORK_FACTOR_MAX:
        raise CouldNotVerify(
            f"the age stream asks for an scrypt work factor of {factor}, and more than {WORK_FACTOR_MAX} "
            f"({_memory(WORK_FACTOR_MAX) >> 30} GiB of memory) is not tried",
            remedy="Encrypt with age's default (18) or to a recipient; if that was done, the header is damaged.",
            stage=Stage.UNPACK,
        )
    return factor


def _memory(factor: int) -> int:
    """Bytes that scrypt with r = 8 needs (RFC 7914, section 2: N blocks of 128 r)."""
    return 128 * 8 << factor


def unwrap(stanza: Stanza, factor: int, passphrase: str) -> bytes | None:
    """The file key, or ``None`` when the passphrase does not open the stanza.

    Raises:
        BackupFailed: The stanza breaks a rule of the format.
        CouldNotVerify: There is not enough memory to try.
    """
    salt = decode_base64(stanza.arguments[0])
    if salt is None or len(salt) != 16 or len(stanza.body) != 16 + _TAG:
        raise damaged("age", "damaged: its passphrase stanza is malformed")
    try:
        key = hashlib.scrypt(
            passphrase.encode(),
            salt=b"age-encryption.org/v1/scrypt" + salt,
            n=1 << factor,
            r=8,
            p=1,
            maxmem=_memory(factor) + (1 << 20),
            dklen=32,
        )
    except (MemoryError, ValueError) as problem:
        raise CouldNotVerify(
            f"scrypt with a work factor of {factor} needs {_memory(factor) >> 20} MiB of memory; there is less",
            remedy="Drill on a machine with more memory, or encrypt with age's default work factor (18).",
            stage=Stage.UNPACK,
        ) from problem
    try:
        return ChaCha20Poly1305(key).decrypt(bytes(12), stanza.body, None)
    except InvalidTag:
        return None


def verify(header: Header, file_key: bytes) -> bool:
    """Whether the header's authentication code fits the file key."""
    code = hmac.digest(_derive(file_key, b"", b"header"), header.authenticated, "sha256")
    return hmac.compare_digest(code, header.mac)


def decrypt(source: Source, file_key: bytes) -> Iterator[bytes]:
    """Decrypt the payload, which the source must stand at.

    Raises:
        BackupFailed: It is cut short, damaged, or followed by something else.
    """
    nonce = bytes(source.read(_NONCE))
    if len(nonce) < _NONCE:
        raise truncated("age", "behind its header", source.position)
    stream = _Stream(source, ChaCha20Poly1305(_derive(file_key, nonce, b"payload")))
    while content := stream.next():
        yield content


def _derive(file_key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(file_key)


class _Stream:
    """The payload in its pieces of 64 KiB, each sealed with its number and with whether it is the last."""

    def __init__(self, source: Source, cipher: ChaCha20Poly1305) -> None:
        self._source = source
        self._cipher = cipher
        self._number = 0
        self._ended = False

    def next(self) -> bytes:
        """About a chunk of content; none behind the last piece."""
        content: list[bytes] = []
        while not self._ended and len(content) < _PIECES_AT_ONCE:
            content.append(self._piece())
        return b"".join(content)

    def _piece(self) -> bytes:
        sealed = self._source.read(_PIECE)
        self._ended = not self._source.peek(1)
        content = self._open(sealed, last=self._ended)
        if content is None:
            raise self._refusal(sealed)
        if self._ended and not content and self._number:
            raise damaged("age", "damaged: its last piece is empty, which the format forbids")
        self._number += 1
        return content

    def _open(self, sealed: bytes | memoryview, *, last: bool) -> bytes | None:
        try:
            return self._cipher.decrypt(self._number.to_bytes(11, "big") + bytes([last]), sealed, None)
        except InvalidTag:
            return None

    def _refusal(self, sealed: bytes | memoryview) -> BackupFailed:
        position = self._source.position
        if self._ended and (len(sealed) < _TAG or self._open(sealed, last=False) is not None):
            return truncated("age", "before its last piece", position)
        if not self._ended and self._open(sealed, last=True) is not None:
            return followed(position)
        return unauthentic(position, at_end=self._ended)


def followed(position: int) -> BackupFailed:
    """The error for bytes behind the last piece."""
    return damaged(
        "age",
        f"followed by trailing bytes: from byte {position} on, behind its last piece, stands something else",
        "Find out what was appended to it; age itself would refuse the whole.",
    )


def unauthentic(position: int, *, at_end: bool) -> BackupFailed:
    """The error for a piece that does not authenticate, which has several causes that look the same."""
    if at_end:
        how = f"truncated, damaged or followed by trailing bytes: its end, at byte {position}, is not authentic"
    else:
        how = f"damaged or followed by trailing bytes: what stands shortly before byte {position} is not authentic"
    return damaged("age", how)
