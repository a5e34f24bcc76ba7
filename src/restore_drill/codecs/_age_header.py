"""The textual header of an age file, and its ASCII armor (https://c2sp.org/age, sections Header and ASCII armor)."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from restore_drill.codecs._source import CHUNK, Source, trailing, truncated
from restore_drill.codecs.base import damaged
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage

VERSION_PREFIX = b"age-encryption.org/"
_VERSION_LINE = VERSION_PREFIX + b"v1\n"
ARMOR_BEGIN = b"-----BEGIN AGE ENCRYPTED FILE-----"
_ARMOR_END = b"-----END AGE ENCRYPTED FILE-----"
_WHITESPACE = b" \t\r\n"
_COLUMNS = 64
_KINDS = frozenset(
    ("X25519", "scrypt", "ssh-ed25519", "ssh-rsa", "piv-p256", "mlkem768x25519", "p256tag", "mlkem768p256tag")
)
#: More than ten thousand recipients. Every stanza costs a key agreement for every identity before anything in the
#: header is authenticated, so that its size must be limited.
HEADER_LIMIT = 1 << 20
_OTHER_VERSION = re.compile(rb"age-encryption\.org/(v[0-9]{1,3})\n")
_ARGUMENTS = re.compile(rb"-> ([\x21-\x7e]+(?: [\x21-\x7e]+)*)\n")
_MAC_LINE = re.compile(rb"--- ([A-Za-z0-9+/]{43})\n")


@dataclass(frozen=True, slots=True)
class Stanza:
    """One recipient's part of the header: its kind, its further arguments, and the wrapped file key."""

    kind: str
    arguments: tuple[str, ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Header:
    """A header that keeps the rules of the format; nothing in it is authenticated yet.

    Attributes:
        raw: All of its bytes.
        mac: The authentication code, which covers ``authenticated``.
    """

    raw: bytes
    stanzas: tuple[Stanza, ...]
    mac: bytes

    @property
    def authenticated(self) -> bytes:
        """The bytes that the code covers: up to and including the three dashes."""
        return self.raw.rpartition(b"--- ")[0] + b"---"

    @property
    def kinds(self) -> dict[str, int]:
        """How many recipients it has of each kind, without the stanzas that implementations add at random ("grease").

        A kind is text out of an unauthenticated header: what is not known is called ``other``.
        """
        kinds = [stanza.kind for stanza in self.stanzas if not stanza.kind.endswith("-grease")]
        return dict(sorted(Counter(kind if kind in _KINDS else "other" for kind in kinds).items()))


def decode_base64(text: bytes | str) -> bytes | None:
    """Read canonical base64 without padding (RFC 4648, sections 3.5 and 4), ``None`` for anything else."""
    raw = text.encode("ascii", "replace") if isinstance(text, str) else text
    try:
        data = b64decode(raw + b"=" * (-len(raw) % 4), validate=True)
    except binascii.Error:
        return None
    return data if b64encode(data).rstrip(b"=") == raw else None


def read_header(source: Source) -> Header:
    """Take the header, and leave the source at the first byte of the payload.

    Raises:
        BackupFailed: It is cut short or breaks a rule of the format.
        CouldNotVerify: It belongs to a later version of the format.
    """
    lines = _Lines(source)
    _check_version(lines.next())
    stanzas: list[Stanza] = []
    while (line := lines.next()).startswith(b"-> "):
        stanzas.append(_stanza(line, lines))
    mac_line = _MAC_LINE.fullmatch(line)
    mac = decode_base64(mac_line[1]) if mac_line else None
    if mac is None or not stanzas:
        raise damaged("age", f"damaged: line {lines.count} of its header is no recipient and no authentication code")
    return Header(bytes(lines.raw), tuple(stanzas), mac)


class _Lines:
    """The lines of a header, with their line feeds, and all of them together."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.raw = bytearray()
        self.count = 0

    def next(self) -> bytes:
        """One line; whether a header that ends without one is truncated is known here and nowhere else."""
        self.count += 1
        line = b""
        while b"\n" not in line:
            piece = bytes(self._source.take(256))
            if not piece:
                raise truncated("age", "inside its header", self._source.position)
            line += piece
            if len(self.raw) + len(line) > HEADER_LIMIT:
                raise damaged("age", f"damaged: its header does not end within {HEADER_LIMIT} bytes")
        line, feed, rest = line.partition(b"\n")
        self._source.push_back(rest)
        self.raw += line + feed
        return line + feed


def _check_version(line: bytes) -> None:
    if line == _VERSION_LINE:
        return
    if line.endswith(b"\r\n"):
        raise damaged("age", "damaged: its line ends were changed, as a transfer in text mode does")
    if version := _OTHER_VERSION.fullmatch(line):
        raise CouldNotVerify(
            f"the age stream is of version {version[1].decode()} of the format, and only v1 is known here",
            remedy="Look for a newer release of this package.",
            stage=Stage.UNPACK,
        )
    raise damaged("age", "damaged: it does not begin as this format does")


def _stanza(line: bytes, lines: _Lines) -> Stanza:
    arguments = _ARGUMENTS.fullmatch(line)
    if arguments is None:
        raise damaged("age", f"damaged: line {lines.count} of its header is malformed")
    encoded = b""
    while True:
        part = lines.next().removesuffix(b"\n")
        encoded += part
        if len(part) < _COLUMNS:
            break
        if len(part) > _COLUMNS:
            raise damaged("age", f"damaged: line {lines.count} of its header is too long")
    body = decode_base64(encoded)
    if body is None:
        raise damaged("age", f"damaged: line {lines.count} of its header is malformed")
    kind, *others = arguments[1].decode("ascii").split(" ")
    return Stanza(kind, tuple(others), body)


def is_armored(head: bytes) -> bool:
    """Whether a stream that begins so is in ASCII armor; white space before it is allowed."""
    return head.lstrip(_WHITESPACE).startswith(ARMOR_BEGIN)


def remove_armor(source: Source) -> Iterator[bytes]:
    """The binary form of an armored stream: strict PEM (RFC 7468, figure 3) with LF or CRLF line ends.

    Raises:
        BackupFailed: It is cut short, breaks a rule, or is followed by anything but white space.
    """
    while not (start := bytes(source.take(1024)).lstrip(_WHITESPACE)):
        pass
    source.push_back(start)
    _expect(ARMOR_BEGIN, source)
    end = b"\r\n" if source.peek(1) == b"\r" else b"\n"
    _expect(end, source)
    yield from _armored_lines(source, end)
    _expect(_ARMOR_END, source)
    while piece := bytes(source.take(CHUNK)):
        if other := piece.lstrip(_WHITESPACE):
            raise trailing("age", "line", source.position - len(other))


def _expect(text: bytes, source: Source) -> None:
    found = bytes(source.read(len(text)))
    if found == text:
        return
    if text.startswith(found):
        raise truncated("age", "inside its armor", source.position)
    raise damaged("age", f"damaged: its armor is malformed (near byte {source.position})")


def _armored_lines(source: Source, end: bytes) -> Iterator[bytes]:
    """Decode up to the first dash, which no line of base64 holds."""
    block_size = CHUNK // (_COLUMNS + len(end)) * (_COLUMNS + len(end))
    dash = b""
    while not dash:
        block = bytes(source.read(block_size))
        lines, dash, rest = block.partition(b"-")
        if not dash and len(block) < block_size:
            raise truncated("age", "inside its armor", source.position)
        source.push_back(dash + rest)
        if lines:
            yield _decode_lines(lines, end, bool(dash), f"(near byte {source.position})")


def _decode_lines(lines: bytes, end: bytes, last: bool, where: str) -> bytes:
    """Decode a block of whole lines, which are all full but for the very last one."""
    *full, tail = lines.split(end)
    if last and full and not tail and full[-1]:
        tail = full.pop()
    elif last or tail:
        raise damaged("age", f"damaged: a line of its armor is malformed {where}")
    if set(map(len, full)) - {_COLUMNS} or len(tail) > _COLUMNS:
        raise damaged("age", f"damaged: a line of its armor is not {_COLUMNS} columns long {where}")
    encoded = b"".join(full) + tail
    try:
        data = b64decode(encoded, validate=True)
    except binascii.Error as problem:
        raise damaged("age", f"damaged: its armor is not base64 {where}") from problem
    # Canonical: the bits that a last, incomplete group does not use are zero, and only the very last one is padded.
    if b64encode(data[len(data) - 1 - (len(data) - 1) % 3 :]) != encoded[-4:] or (not last and encoded.endswith(b"=")):
        raise damaged("age", f"damaged: its armor is not canonical base64 {where}")
    return data
