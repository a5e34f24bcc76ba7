"""OpenPGP (RFC 9580): ``gpg --detach-sign``, verified by gpgv, whose status lines decide and not its exit status.

gpgv exits 0 for a signature by a revoked key, and for one by a key that expired before it signed. Here a revoked key
proves nothing; an expired one does where it signed before it expired (backups outlive keys). A signature over text,
which leaves line ends out, is not one of the bytes; one by SHA-1 or MD5 can be forged.

gpgv trusts every key of the ring it is given: a private one, made of the pinned keys alone. The signature is looked at
here first: it must hold signature packets and nothing else, so that nothing in it is ever decompressed. GnuPG's
doc/DETAILS describes the status lines.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.model import Stage
from restore_drill.process import BARE_ENVIRONMENT, ProgramMissing, find
from restore_drill.signatures.base import Signature, Signer, malformed, unusable_key, wrong

_ARMOR = re.compile(rb"-----BEGIN PGP ([A-Z ]+)-----\r?\n(?:[^\r\n]+\r?\n)*\r?\n(.*?)-----END PGP \1-----", re.DOTALL)
_SIGNATURE, _PUBLIC_KEY, _PUBLIC_SUBKEY, _SECRET = 2, 6, 14, (5, 7)
#: Signatures by which a key or a subkey is taken back (RFC 9580, section 5.2.1).
_REVOCATIONS = (0x20, 0x28)
#: A signature over the bytes as they are (RFC 9580, section 5.2.1.1).
_BINARY = "00"
_MOST_STATUS = 256 << 10
#: gpgv's ERRSIG codes: an algorithm it refuses, a key it does not have.
_WEAK_DIGEST, _NO_KEY = "5", "9"


class GpgSignature(Signature):
    """``.asc`` or ``.sig`` beside the file."""

    name: ClassVar[str] = "gpg"
    suffixes: ClassVar[tuple[str, ...]] = (".asc", ".sig")
    programs: ClassVar[tuple[str, ...]] = ("gpgv",)

    @classmethod
    def check_key(cls, text: str) -> None:
        """An armored public key block."""
        if "-----BEGIN PGP PUBLIC KEY BLOCK-----" not in text:
            raise ValueError("needs a public key as gpg --armor --export KEY writes it, or file:PATH of one")

    def __init__(self, signature: bytes, keys: Sequence[bytes], until: float) -> None:
        self._until = until
        self._late = False
        ring = [_ring(key) for key in keys]
        found = [each for key in ring for each in _keys(key)]
        self._pinned = frozenset(fingerprint for tag, fingerprint, _ in found if tag == _PUBLIC_KEY)
        # Of a key that is revoked and has expired gpgv says only that it has expired.
        self._revoked = frozenset(fingerprint for _, fingerprint, is_revoked in found if is_revoked)
        packets = _bare(signature, "SIGNATURE")
        if not packets or {tag for tag, _ in _packets(packets)} != {_SIGNATURE}:
            raise malformed("gpg", "it holds something else than detached signatures")
        program = find("gpgv")
        if program is None:
            raise ProgramMissing("the program gpgv is not installed", remedy="Install gpgv.", stage=Stage.VERIFY)
        self._home = Path(tempfile.mkdtemp(prefix="restore-drill-gpgv-"))
        try:
            self._child = self._start(program, b"".join(ring), packets)
        except BaseException:
            self._remove()
            raise

    def _start(self, program: str, ring: bytes, packets: bytes) -> subprocess.Popen[bytes]:
        (self._home / "ring").write_bytes(ring)
        (self._home / "signature").write_bytes(packets)
        argv = [program, "--homedir", str(self._home), "--keyring", str(self._home / "ring"), "--status-fd", "1"]
        argv += ["--weak-digest", "SHA1", str(self._home / "signature"), "-"]
        with (self._home / "status").open("wb") as status:
            child = subprocess.Popen(  # noqa: S603 - the arguments are all ours
                argv,
                stdin=subprocess.PIPE,
                stdout=status,
                stderr=subprocess.DEVNULL,
                env=dict(BARE_ENVIRONMENT),
                cwd=self._home,
                start_new_session=True,
            )
        assert child.stdin  # noqa: S101 - a pipe
        os.set_blocking(child.stdin.fileno(), False)
        return child

    def update(self, chunk: bytes) -> None:
        """Hand it to gpgv, which may end early: its status lines say why."""
        left, pipe = memoryview(chunk), self._child.stdin
        while len(left) and pipe and not pipe.closed:
            try:
                left = left[os.write(pipe.fileno(), left) :]
            except BlockingIOError:
                ready = select.select([], [pipe], [], max(0.0, self._until - time.monotonic()))[1]
                self._late = self._late or not ready
                if self._late:
                    return
            except OSError:
                self._hang_up()

    def _hang_up(self) -> None:
        if self._child.stdin:
            with contextlib.suppress(OSError):
                self._child.stdin.close()

    def conclude(self) -> Signer:
        """The primary key's fingerprint."""
        self._hang_up()
        try:
            self._child.wait(max(0.0 if self._late else 1.0, self._until - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._late = True
        if self._late:
            raise DeadlineExceeded("gpgv did not take the bytes in time", stage=Stage.VERIFY)
        with (self._home / "status").open("rb") as file:
            text = file.read(_MOST_STATUS).decode("utf-8", "replace")
        return self._judge(text)

    def _judge(self, status: str) -> Signer:
        """One valid signature is enough, unless another one is plainly wrong."""
        blocks = [_lines(block) for block in re.split(r"(?m)^\[GNUPG:\] NEWSIG.*$", status)[1:]]
        for block in blocks:
            if key := block.get("BADSIG"):
                raise wrong(f"the signature by {key[0]} is not one of these bytes")
        reasons = []
        for block in blocks:
            reason = self._objection(block)
            if not reason:
                valid = block["VALIDSIG"]
                return Signer(valid[-1], datetime.fromtimestamp(int(valid[2]), UTC))
            reasons.append(reason)
        if not reasons:
            raise CouldNotVerify(
                "gpgv says nothing about the signature",
                remedy="Run gpgv on it by hand: it may be of a version that this gpgv does not know.",
                stage=Stage.VERIFY,
            )
        raise wrong(reasons[0])

    def _objection(self, block: dict[str, list[str]]) -> str:
        """Why one signature proves nothing, ``""`` where it does."""
        if error := block.get("ERRSIG"):
            return _refused(error)
        valid = block.get("VALIDSIG")
        if valid is None or len(valid) < 10 or valid[-1] not in self._pinned:
            return f"it is signed by another key than the pinned: {valid[-1] if valid else 'gpgv names none'}"
        if "REVKEYSIG" in block or self._revoked & {valid[0], valid[-1]}:
            return f"the key {valid[-1]} that signed it is revoked"
        if "EXPSIG" in block:
            return f"the signature by {valid[-1]} has expired"
        expired = block.get("KEYEXPIRED", [""])[-1]
        if "EXPKEYSIG" in block and not (expired.isdigit() and int(valid[2]) <= int(expired)):
            return f"the key {valid[-1]} had expired when it signed"
        if not {"GOODSIG", "EXPKEYSIG"} & block.keys():
            return f"gpgv does not call the signature by {valid[-1]} good"
        if valid[8] != _BINARY:
            return f"the signature by {valid[-1]} is over text without its line ends, not over the bytes"
        return ""

    def close(self) -> None:
        """End gpgv, and remove the ring."""
        self._hang_up()
        if self._child.returncode is None:  # or somebody else may have its number by now
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        self._remove()

    def _remove(self) -> None:
        shutil.rmtree(self._home, ignore_errors=True)


def _lines(block: str) -> dict[str, list[str]]:
    """Keyword → arguments; user ids, which are whatever somebody likes, come behind what is read."""
    found: dict[str, list[str]] = {}
    for line in block.splitlines():
        if line.startswith("[GNUPG:] "):
            keyword, _, rest = line.removeprefix("[GNUPG:] ").partition(" ")
            found.setdefault(keyword, rest.split())
    return found


def _refused(error: list[str]) -> str:
    key = error[6] if len(error) > 6 and error[6] != "-" else error[0]
    code = error[5] if len(error) > 5 else ""
    if code == _NO_KEY:
        return f"it is signed by another key than the pinned: {key}"
    if code == _WEAK_DIGEST:
        return f"the signature by {key} is by a digest that can be forged (MD5, SHA-1 or RIPEMD-160)"
    return f"the signature by {key} cannot be verified by this gpgv (code {code or 'unknown'})"


def _bare(raw: bytes, what: str) -> bytes:
    """Packets, without the armor around them if there is some; ``b""`` where the armor is of something else."""
    if raw[:1] and raw[0] & 0x80:
        return raw
    blocks = _ARMOR.findall(raw)
    try:
        parts = [base64.b64decode(_without_checksum(body)) for label, body in blocks if label.decode() == what]
    except (binascii.Error, ValueError):
        return b""
    return b"".join(parts) if len(parts) == len(blocks) else b""


def _without_checksum(body: bytes) -> bytes:
    return b"".join(line for line in body.split() if not line.startswith(b"="))


def _ring(key: bytes) -> bytes:
    packets = _bare(key.strip() if key.lstrip().startswith(b"-----") else key, "PUBLIC KEY BLOCK")
    tags = {tag for tag, _ in _packets(packets)}
    if tags & set(_SECRET) or b"-----BEGIN PGP PRIVATE KEY BLOCK-----" in key:
        raise unusable_key("gpg", "it is a secret key")
    if _PUBLIC_KEY not in tags:
        raise unusable_key("gpg", "it is no OpenPGP public key")
    return packets


def _keys(ring: bytes) -> list[tuple[int, str, bool]]:
    """Tag, fingerprint, and whether it is revoked, of each key and subkey."""
    found: list[tuple[int, str, bool]] = []
    for tag, body in _packets(ring):
        if tag in (_PUBLIC_KEY, _PUBLIC_SUBKEY):
            found.append((tag, _fingerprint(body), False))
        elif tag == _SIGNATURE and found and body[1:3] and body[2 if body[0] == 3 else 1] in _REVOCATIONS:
            found[-1] = (*found[-1][:2], True)
    return found


def _fingerprint(body: bytes) -> str:
    """Of a key (RFC 9580, section 5.5.4)."""
    if body[:1] == b"\4":
        hashed = b"\x99" + len(body).to_bytes(2, "big") + body
        return hashlib.sha1(hashed, usedforsecurity=False).hexdigest().upper()
    mark = b"\x9a" if body[:1] == b"\5" else b"\x9b"
    return hashlib.sha256(mark + len(body).to_bytes(4, "big") + body).hexdigest().upper()


def _packets(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and body of each packet (RFC 9580, section 4.2); ends with tag 0 at what is none."""
    while data:
        tag, header, length = _header(data)
        if not tag or header + length > len(data):
            yield 0, b""
            return
        yield tag, data[header : header + length]
        data = data[header + length :]


def _header(data: bytes) -> tuple[int, int, int]:
    """Tag, and lengths of header and body of the first packet; of a body in pieces or without end, tag 0."""
    first, second = data[0], data[1] if len(data) > 1 else 0
    if not first & 0x80:
        return 0, 0, 0
    if not first & 0x40:  # the old format
        size = (1, 2, 4, 0)[first & 3]
        return (first >> 2) & 0xF if size else 0, 1 + size, int.from_bytes(data[1 : 1 + size], "big")
    tag = first & 0x3F
    if second < 192:
        return tag, 2, second
    if second < 224:
        return tag, 3, ((second - 192) << 8) + (data[2] if len(data) > 2 else 0) + 192
    return (tag if second == 255 else 0), 6, int.from_bytes(data[2:6], "big")
