"""What ``openssl enc`` writes (openssl-enc(1)): ``Salted__``, a salt, and bytes that nothing authenticates.

The stream says neither which cipher it is nor how its key is derived, so the catalogue has to. And it has no integrity
tag: a flipped bit gives other content and no error, and one wrong password in about 256 a last block that looks right.
So a digest of the content is required, and a wrong password is told by what came out: see :class:`UnprovenKey`.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes

from restore_drill.codecs._source import CHUNK, Source, empty, foreign, truncated
from restore_drill.codecs.base import HEAD, Codec, Given, Option, UnprovenKey, damaged, library
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage

_MAGIC = b"Salted__"
_SALT = 8
#: The same as base64 writes it: ten digits, whatever the salt.
_MAGIC_BASE64 = b"U2FsdGVkX1"
_WHITESPACE = b" \t\r\n"
#: What is decrypted at once: larger buffers than this come from the system anew each time, at a fifth of the speed.
_PORTION = 1 << 18


@dataclass(frozen=True, slots=True)
class _Form:
    """A cipher: bytes of its key, of its initialisation vector, and of a block (0: it has none)."""

    key: int
    vector: int
    block: int


_CIPHERS = {
    "aes-128-cbc": _Form(16, 16, 16), "aes-192-cbc": _Form(24, 16, 16), "aes-256-cbc": _Form(32, 16, 16),
    "aes-128-ctr": _Form(16, 16, 0), "aes-192-ctr": _Form(24, 16, 0), "aes-256-ctr": _Form(32, 16, 0),
    "des-ede3-cbc": _Form(24, 8, 8), "chacha20": _Form(32, 16, 0),
}  # fmt: skip
_DIGESTS = ("sha256", "sha512", "sha384", "sha224", "sha1", "md5")


class OpensslCodec(Codec):
    """``openssl enc`` with a password, binary or base64 (``-a``)."""

    name = "openssl"
    suffixes = (".enc", ".aes", ".openssl")
    encrypts = True
    self_checking = False
    needs_content_digest = True
    keys = ("password",)
    options = {  # noqa: RUF012 - a class variable of the contract
        "cipher": Option(
            "The cipher it was encrypted with, as openssl enc is called with it.", "aes-256-cbc", (*_CIPHERS,)
        ),
        "kdf": Option(
            "How the key is made of the password: pbkdf2 (openssl enc -pbkdf2 or -iter), or legacy (without them).",
            "pbkdf2",
            ("pbkdf2", "legacy"),
        ),
        "iterations": Option(
            "The number that -iter gave.", 600000, most=100_000_000, default=10000, only_with=("kdf", "pbkdf2")
        ),
        "digest": Option("The digest that -md gave; md5 before OpenSSL 1.1.", "sha256", _DIGESTS, default="sha256"),
    }

    def __init__(self, given: Given | None = None) -> None:
        super().__init__(given)
        self._facts: dict[str, Any] = {}

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By ``Salted__``, as it is or in base64."""
        return head.startswith((_MAGIC, _MAGIC_BASE64))

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Decrypt; see :meth:`Codec.decode`. What comes out is proven by a digest of it alone."""
        source, self._facts = Source(chunks), {}
        head = source.peek(HEAD)
        encoded = head.startswith(_MAGIC_BASE64)
        if encoded:
            source = Source(_decode_base64(source))
        elif not head:
            raise empty(self.name)
        elif not head.startswith(_MAGIC):
            raise foreign(self.name, head, _MAGIC, _MAGIC_BASE64)
        start = bytes(source.read(len(_MAGIC) + _SALT))
        if len(start) < len(_MAGIC) + _SALT:
            raise truncated(self.name, "inside its salt", source.position)
        if not start.startswith(_MAGIC):
            raise foreign(self.name, start, _MAGIC)
        self._require_options()
        self._facts = {"base64": encoded, "library": library("cryptography"), **self._method()}
        yield from self._decrypt(source, start[len(_MAGIC) :])

    def facts(self) -> dict[str, Any]:
        """How it was decrypted; nothing here says that it was not altered."""
        return dict(self._facts)

    def _method(self) -> dict[str, Any]:
        wanted = ("cipher", "kdf", "digest") + (("iterations",) if self.settings["kdf"] == "pbkdf2" else ())
        return {name: self.settings[name] for name in wanted}

    def _require_options(self) -> None:
        missing = [name for name in ("password",) if name not in self.secrets]
        missing += [name for name in self.options if name not in self.settings]
        if missing:
            raise CouldNotVerify(
                f"the openssl stream is encrypted, and its {' and '.join(missing)} {_be(missing)} not given",
                remedy="Say how it was encrypted: decrypt: {openssl: {password: env:NAME, cipher: aes-256-cbc, kdf: "
                "pbkdf2, iterations: 10000, digest: sha256}}.",
                stage=Stage.UNPACK,
            )

    def _decrypt(self, source: Source, salt: bytes) -> Iterator[bytes]:
        form = _CIPHERS[str(self.settings["cipher"])]
        decryptor = self._decryptor(form, salt)
        into = memoryview(bytearray(_PORTION + 64))
        held = b""  # what may be the last block, and padding
        while piece := source.take(_PORTION):
            into[: len(held)] = held
            end = len(held) + decryptor.update_into(piece, into[len(held) :])
            ready = max(0, end - form.block)
            if ready:
                yield bytes(into[:ready])
            held = bytes(into[ready:end])
        try:
            held += decryptor.finalize()
        except ValueError as problem:
            raise damaged(
                self.name,
                f"truncated, or followed by trailing bytes: it is not made of whole blocks ({source.position} bytes)",
            ) from problem
        if rest := self._end(held, form.block, source.position) if form.block else held:
            yield rest

    def _end(self, end: bytes, size: int, position: int) -> bytes:
        """The last bytes without their padding (PKCS 7: as many bytes as are missing, each of them that number)."""
        if not end:
            raise truncated(self.name, "behind its salt", position)
        count = end[-1]
        if not 1 <= count <= size or end[-count:] != bytes([count]) * count:
            raise UnprovenKey(
                "the password does not open the openssl stream: its end decrypts to nothing that can be right",
                damage=damaged(self.name, "truncated or damaged: its last block has no padding"),
                looked_at=f"decrypt: openssl: password: {self.secrets['password']}, {self._words()}",
                remedy="Give the password and the options it was encrypted with; if they are right, it is cut short or "
                "its last bytes are damaged: record a digest of what is stored, too, to tell.",
            )
        return end[:-count]

    def _words(self) -> str:
        return ", ".join(f"{name}: {value}" for name, value in self._method().items())

    def _decryptor(self, form: _Form, salt: bytes) -> CipherContext:
        password = self.secrets["password"].resolve().partition("\n")[0].encode()  # openssl reads one line
        material = self._derive(password, salt, form.key + form.vector)
        key, vector = material[: form.key], material[form.key :]
        cipher = str(self.settings["cipher"])
        if cipher == "chacha20":
            return Cipher(algorithms.ChaCha20(key, vector), None).decryptor()
        if cipher == "des-ede3-cbc":
            return Cipher(TripleDES(key), modes.CBC(vector)).decryptor()
        mode = modes.CTR(vector) if cipher.endswith("-ctr") else modes.CBC(vector)
        return Cipher(algorithms.AES(key), mode).decryptor()

    def _derive(self, password: bytes, salt: bytes, size: int) -> bytes:
        digest = str(self.settings["digest"])
        if self.settings["kdf"] == "pbkdf2":
            return hashlib.pbkdf2_hmac(digest, password, salt, int(self.settings["iterations"]), size)
        material = block = b""  # EVP_BytesToKey(3), with a count of one
        while len(material) < size:
            block = hashlib.new(digest, block + password + salt, usedforsecurity=False).digest()
            material += block
        return material[:size]


def _be(words: list[str]) -> str:
    return "is" if len(words) == 1 else "are"


def _decode_base64(source: Source) -> Iterator[bytes]:
    """Lines of base64 (``-a``), or one long one (``-A``); padded at the very end only."""
    carried = b""
    while piece := bytes(source.take(CHUNK)):
        packed = carried + piece.translate(None, _WHITESPACE)
        whole = len(packed) // 4 * 4
        if b"=" in packed[: max(0, len(packed) - 4)]:
            raise damaged(
                "openssl", f"damaged or followed by trailing bytes: its base64 ends before byte {source.position}"
            )
        if b"=" in packed:
            whole = 0  # the end, or there is more behind it
        try:
            data = b64decode(packed[:whole], validate=True)
        except binascii.Error as problem:
            raise damaged("openssl", f"damaged: it is not base64 shortly before byte {source.position}") from problem
        carried = packed[whole:]
        if data:
            yield data
    try:
        data = b64decode(carried, validate=True)
    except binascii.Error as problem:
        raise truncated("openssl", "inside its base64", source.position) from problem
    if data:
        yield data
