"""The outside of an OpenPGP message (RFC 9580, sections 4.2 and 6): packets and ASCII armor, nothing decrypted.

gpg passes over what stands behind a message, and says little about where one was cut. So the packets are followed here
as they pass: which keys it is encrypted to, where it ends, and whether anything stands behind that.
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass

from restore_drill.codecs._source import CHUNK, Source, trailing, truncated
from restore_drill.codecs.base import damaged
from restore_drill.errors import BackupFailed
from restore_drill.model import Stage

ARMOR_BEGIN = b"-----BEGIN PGP MESSAGE-----"
_ARMOR_END = b"-----END PGP MESSAGE-----"
_WHITESPACE = b" \t\r\n"
#: Lines before the first empty one of an armor, and their bytes, that are still read.
_ARMOR_HEADERS = 64 * 1024
#: How much of an armor is held back, so that its end is never looked for in two halves.
_TAIL = 256

_PUBLIC_KEY, _SYMMETRIC, _UNPROTECTED, _MARKER, _PROTECTED, _OCB, _PADDING = 1, 3, 9, 10, 18, 20, 21
_BODIES = (_UNPROTECTED, _PROTECTED, _OCB)
#: Bytes of all session key packets of one message: thousands of recipients fit in.
_HEADER_MAX = 1 << 20
#: Public key algorithms that can encrypt (RFC 9580, section 9.1; 8 is gpg's Kyber).
_ALGORITHMS = (1, 2, 8, 16, 18, 25, 26)
_UNKNOWN_LENGTH = -1
#: What is handed on at once.
_PORTION = 1 << 18


class Unreadable(BackupFailed):
    """A fault of the message's own framing, told apart from the same error of what it is read from."""


@dataclass(frozen=True, slots=True)
class PacketHead:
    """The first bytes of a packet.

    Attributes:
        raw: As they stand there.
        length: Of the body, or of its first part; :data:`_UNKNOWN_LENGTH` when it ends with the stream.
        partial: More parts follow.
    """

    tag: int
    raw: bytes
    length: int
    partial: bool = False


def looks_encrypted(head: bytes) -> bool:
    """Whether bytes begin like a packet that holds a session key, or armor."""
    if is_armored(head):
        return True
    packet = _head_of(head)
    if packet is None or packet.partial or packet.length < 4:
        return False
    body = head[len(packet.raw) :][:12]
    if len(body) < 4:
        return False
    if packet.tag == _PUBLIC_KEY:
        return body[0] == 3 and len(body) > 9 and body[9] in _ALGORITHMS and 10 < packet.length < 8192
    if packet.tag == _SYMMETRIC:
        specifier = body[2] if body[0] == 4 else body[3]
        return body[0] in (4, 5) and 1 <= body[1] <= 13 and specifier in (0, 1, 3, 4) and packet.length < 256
    return False


def is_armored(head: bytes) -> bool:
    """Whether a stream that begins so is an armored message; white space before it is allowed."""
    return head.lstrip(_WHITESPACE).startswith(ARMOR_BEGIN)


def _head_of(data: bytes) -> PacketHead | None:
    """The head of the packet that begins here, or ``None`` when these bytes are none, or not all of it."""
    if len(data) < 2 or not data[0] & 0x80:
        return None
    if data[0] & 0x40:
        return _new_head(data)
    size = (1, 2, 4, 0)[data[0] & 3]
    length = int.from_bytes(data[1 : 1 + size], "big") if size else _UNKNOWN_LENGTH
    return PacketHead(data[0] >> 2 & 0xF, data[: 1 + size], length) if len(data) > size else None


def _new_head(data: bytes) -> PacketHead | None:
    found = _length(data[1:])
    return PacketHead(data[0] & 0x3F, data[: 1 + found[0]], *found[1:]) if found else None


def _length(data: bytes) -> tuple[int, int, bool] | None:
    """How many bytes say it, the length, whether more parts follow; ``None`` when not all of these bytes are here."""
    if not data:
        return None
    first = data[0]
    if first < 192:
        return 1, first, False
    if first < 224:
        return (2, (first - 192 << 8) + data[1] + 192, False) if len(data) > 1 else None
    if first < 255:
        return 1, 1 << (first & 0x1F), True
    return (5, int.from_bytes(data[1:5], "big"), False) if len(data) > 4 else None


class Message:
    """One encrypted message: iterate :meth:`frames` for its packets as they stand, then read what they were.

    Args:
        source: Stands at the first byte; binary.

    Attributes:
        keys: Key ids that it is encrypted to, ``0…0`` for a hidden one.
        passphrases: To how many passphrases.
        protection: What guards its content against change: ``MDC`` or ``AEAD``.
        tells: Bytes of the encrypted packet without which nobody can know whether a key fits.
        body_size: Bytes of the encrypted packet that were handed on.
        problem: What is wrong with the framing, known when :meth:`frames` has ended.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self.keys: list[str] = []
        self.passphrases = 0
        self.body_size = 0
        self.problem: BackupFailed | None = None
        self._header, self._body = self._read_header()
        start = source.peek(4)
        self.protection = "AEAD" if self._body.tag == _OCB or start[:1] == b"\2" else "MDC"
        self.tells = _tells(start, self.protection)

    def frames(self) -> Iterator[bytes]:
        """The message as it stands; ends early where the framing is bad, and :attr:`problem` says how."""
        yield self._header
        try:
            yield from self._parts(self._body)
            if self._source.peek(1):
                self.problem = trailing("openpgp", "packet", self._source.position)
        except Unreadable as problem:
            self.problem = problem

    def _read_header(self) -> tuple[bytes, PacketHead]:
        header = bytearray()
        while True:
            packet = self._head()
            header += packet.raw
            if packet.tag in _BODIES:
                self._require_protection(packet)
                return bytes(header), packet
            if packet.tag not in (_PUBLIC_KEY, _SYMMETRIC, _MARKER, _PADDING):
                raise self._malformed("it holds no encrypted data where it should begin")
            if packet.partial or packet.length < 0 or len(header) + packet.length > _HEADER_MAX:
                raise self._malformed("a session key packet has no length that can be right")
            body = bytes(self._source.read(packet.length))
            if len(body) < packet.length:
                raise self._cut("inside its session keys")
            header += body
            self._note(packet, body)

    def _head(self) -> PacketHead:
        raw = self._source.peek(6)
        packet = _head_of(raw)
        if packet is None:
            if len(raw) < 6 and (not raw or raw[0] & 0x80):
                raise self._cut("inside its session keys")
            raise self._malformed("where a packet should begin stands something else")
        self._source.read(len(packet.raw))
        return packet

    def _note(self, packet: PacketHead, body: bytes) -> None:
        if packet.tag == _PUBLIC_KEY:
            # Version 6 names the key by its fingerprint, which begins with the id (RFC 9580, section 5.1.2).
            known = body[1:9] if body[:1] == b"\3" else body[3:11]
            self.keys.append(known.hex().upper())
        elif packet.tag == _SYMMETRIC:
            self.passphrases += 1

    def _require_protection(self, packet: PacketHead) -> None:
        if packet.tag == _UNPROTECTED:
            raise Unreadable(
                "the openpgp stream is without integrity protection (MDC): whether it was altered cannot be told",
                remedy="Encrypt with a gpg of this century, without --disable-mdc and --rfc2440.",
                stage=Stage.UNPACK,
            )
        if not self.keys and not self.passphrases:
            raise self._malformed("no session key stands before its encrypted data")

    def _parts(self, packet: PacketHead) -> Iterator[bytes]:
        """The encrypted packet's body, with the lengths of its parts."""
        length, partial = packet.length, packet.partial
        while True:
            yield from self._take(length)
            if not partial:
                return
            raw = self._source.peek(5)
            found = _length(raw)
            if found is None:
                raise self._cut("between two parts of its encrypted data")
            size, length, partial = found
            self._source.read(size)
            yield raw[:size]

    def _take(self, length: int) -> Iterator[bytes]:
        left = length
        while left:
            piece = bytes(self._source.take(min(left, _PORTION) if left > 0 else _PORTION))
            if not piece and length < 0:
                return
            if not piece:
                raise self._cut("inside its encrypted data")
            self.body_size += len(piece)
            left -= len(piece) if length > 0 else 0
            yield piece

    def _cut(self, where: str) -> Unreadable:
        return _ours(truncated("openpgp", where, self._source.position))

    def _malformed(self, how: str) -> Unreadable:
        return _ours(damaged("openpgp", f"damaged: {how} (near byte {self._source.position})"))


def _tells(start: bytes, protection: str) -> int:
    """Version, first block and its repeated end; or all of the first chunk, whose size the fourth byte says."""
    if protection == "MDC" or len(start) < 4:
        return 1 + 16 + 2
    return 4 + 32 + (1 << min(start[3], 32) + 6) + 16


def remove_armor(source: Source) -> Iterator[bytes]:
    """The binary form of an armored message. Its CRC-24 is passed over: RFC 9580 (6.1) has it decide nothing.

    Raises:
        Unreadable: It is cut short, breaks a rule, or is followed by anything but white space.
    """
    _begin(source)
    held = b""
    while True:
        piece = bytes(source.take(CHUNK))
        held += piece
        end = _end_of_base64(held)
        if end < 0 and not piece:
            raise _ours(truncated("openpgp", "inside its armor", source.position))
        if end >= 0 and len(held) - end < _TAIL and piece:
            continue  # its last lines may not be whole yet
        ready = end if end >= 0 else max(0, len(held) - _TAIL)
        data, left = _decode(held[:ready], last=end >= 0, position=source.position)
        if data:
            yield data
        held = left + held[ready:]
        if end >= 0:
            source.push_back(held)
            _finish(source)
            return


def _begin(source: Source) -> None:
    while not (start := bytes(source.take(1024)).lstrip(_WHITESPACE)):
        pass
    source.push_back(start)
    text = source.peek(_ARMOR_HEADERS)
    for line in text.splitlines(keepends=True):
        if not line.endswith((b"\n", b"\r")):
            break
        source.read(len(line))
        if not line.strip(_WHITESPACE):
            return
        if not line.startswith(ARMOR_BEGIN) and b": " not in line:
            raise _ours(damaged("openpgp", "damaged: its armor has a malformed header line"))
    if len(text) == _ARMOR_HEADERS:
        raise _ours(damaged("openpgp", "damaged: its armor has no empty line before the data"))
    raise _ours(truncated("openpgp", "inside its armor", source.position))


def _end_of_base64(text: bytes) -> int:
    """Where the checksum line or the last line begins, or a negative number."""
    found = [at for at in (text.find(b"\n="), text.find(b"-")) if at >= 0]
    return min(found) if found else -1


def _decode(text: bytes, *, last: bool, position: int) -> tuple[bytes, bytes]:
    """Decoded whole groups of four, and what is left over."""
    packed = text.translate(None, _WHITESPACE)
    whole = len(packed) if last else len(packed) // 4 * 4
    try:
        data = b64decode(packed[:whole], validate=True)
    except binascii.Error as problem:
        raise _ours(damaged("openpgp", f"damaged: its armor is not base64 (near byte {position})")) from problem
    if not last and b"=" in packed:
        raise _ours(damaged("openpgp", f"damaged: its armor is not base64 (near byte {position})"))
    return data, packed[whole:]


def _finish(source: Source) -> None:
    """Behind the data: an optional checksum, the last line, and nothing but white space."""
    while source.peek(1) in (b"\n", b"\r", b" ", b"\t"):
        source.take(1)
    if source.peek(1) == b"=":
        line = source.peek(64).split(b"\n")[0]
        if len(line) == 64:
            raise _ours(damaged("openpgp", "damaged: its armor is not base64 at its end"))
        source.read(len(line))
        while source.peek(1) in (b"\n", b"\r", b" ", b"\t"):
            source.take(1)
    found = bytes(source.read(len(_ARMOR_END)))
    if found != _ARMOR_END:
        if _ARMOR_END.startswith(found):
            raise _ours(truncated("openpgp", "inside its armor", source.position))
        raise _ours(damaged("openpgp", f"damaged: its armor is malformed (near byte {source.position})"))
    while piece := bytes(source.take(CHUNK)):
        if other := piece.lstrip(_WHITESPACE):
            raise _ours(trailing("openpgp", "line", source.position - len(other)))


def _ours(problem: BackupFailed) -> Unreadable:
    return Unreadable(problem.cause, looked_at=problem.looked_at, remedy=problem.remedy, stage=problem.stage)
