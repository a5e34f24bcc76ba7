"""An entry's line: a DSSE envelope in one line of JSON, over a statement whose small parts come before its evidence.

DSSE v1.0.0: github.com/secure-systems-lab/dsse, protocol.md (what is signed) and envelope.md (how it is stored). The
digest of an entry is SHA-256 over its line without the newline: over the signature, too.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from restore_drill.errors import CouldNotVerify
from restore_drill.ledger.entry import Entry, Head, Kind, Signer

PAYLOAD_TYPE = "application/vnd.in-toto+json"
#: Where a statement's small parts end, and its evidence or review begins: no string of JSON can contain it.
_EVIDENCE = b',"evidence":'
_CONTENT = (_EVIDENCE, b',"review":')
#: Where a statement has what an entry holds.
CONTENT_KEY: Final[Mapping[Kind, str]] = {"run": "evidence", "review": "review"}
#: What follows the evidence.
_AFTER = b'},"configuration":'
#: As much of a payload (in base64) as certainly holds the small parts.
_SMALL = 16384


class NotAnEntry(ValueError):
    """A line that is no entry; its text says why."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """A line, taken apart.

    Attributes:
        payload: The statement's bytes, as they were signed.
        signatures: Key id and signature of each.
    """

    digest: str
    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @property
    def key_id(self) -> str:
        """The first signature's key, ``""`` when there is none."""
        return self.signatures[0][0] if self.signatures else ""

    @property
    def message(self) -> bytes:
        """What was signed."""
        return pre_authentication(self.payload)


@dataclass(frozen=True, slots=True)
class Link:
    """What the next entry must know of the last one."""

    ledger: str
    sequence: int
    digest: str
    recorded_at: str

    @property
    def head(self) -> Head:
        """The same as a head."""
        return Head(self.sequence, self.digest)


def pre_authentication(payload: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """What a signature is made over (DSSE's PAE): the type and the payload, each after its length."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def seal(payload: bytes, signer: Signer | None) -> bytes:
    """The line of an entry, without its newline."""
    signatures = []
    if signer is not None:
        signature = base64.b64encode(signer.sign(pre_authentication(payload))).decode()
        signatures.append({"keyid": signer.key_id, "sig": signature})
    envelope = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": signatures,
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


def digest_of(line: bytes) -> str:
    """The digest by which the next entry knows this one."""
    return hashlib.sha256(line).hexdigest()


def open_line(line: bytes) -> Envelope:
    """Take a line apart.

    Raises:
        NotAnEntry: It is no envelope.
    """
    try:
        found = json.loads(line)
        kind, payload = found["payloadType"], _decode(found["payload"])
        signatures = tuple((str(each.get("keyid", "")), _decode(each["sig"])) for each in found["signatures"])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as problem:
        raise NotAnEntry("it is not a DSSE envelope in one line of JSON") from problem
    if kind != PAYLOAD_TYPE:
        raise NotAnEntry("its payload is not a statement")
    return Envelope(digest_of(line), payload, signatures)


def _decode(text: str) -> bytes:
    """Base64, standard or for URLs, as DSSE asks of readers."""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return base64.b64decode(text, altchars=b"-_", validate=True)


class Stated(NamedTuple):
    """What an entry states.

    Attributes:
        statement: All of it.
        part: Its part ``restoreDrill``.
        evidence: The bytes of the evidence in the payload, ``b""`` where they were not told apart.
    """

    statement: dict[str, Any]
    part: dict[str, Any]
    evidence: bytes


def own_part(payload: bytes) -> Stated:
    """A statement, and its part ``restoreDrill``.

    Raises:
        NotAnEntry: It has none.
    """
    try:
        statement, text = _parse(payload)
        part = statement["predicate"]["restoreDrill"]
        number, kind = part["sequence"], part["kind"]
        content = part[_content_key(part)]
    except (ValueError, TypeError, LookupError, RecursionError) as problem:
        raise NotAnEntry("its payload is not a statement of restore-drill") from problem
    if not isinstance(part, dict) or not isinstance(number, int) or isinstance(number, bool):
        raise NotAnEntry("its statement has no number")
    if kind not in ("run", "review") or not isinstance(content, dict):
        raise NotAnEntry("its statement is of no known kind")
    return Stated(statement, part, text)


def _parse(payload: bytes) -> tuple[Any, bytes]:
    """A statement, and the bytes of its evidence, which need not be written again to be digested.

    The evidence is read apart from the rest, in which ``null`` stands for it: that is the same as reading the whole
    when both are JSON and nothing but that ``null`` stands in its place. Whatever was written otherwise is read whole.
    """
    begin, end = payload.find(_EVIDENCE) + len(_EVIDENCE), payload.rfind(_AFTER)
    if len(_EVIDENCE) <= begin < end:
        with contextlib.suppress(ValueError, TypeError, LookupError):
            statement = json.loads(payload[:begin] + b"null" + payload[end:])
            part = statement["predicate"]["restoreDrill"]
            if part["evidence"] is None:
                part["evidence"] = json.loads(payload[begin:end])
                return statement, payload[begin:end]
    return json.loads(payload), b""


def _content_key(part: dict[str, Any]) -> str:
    return CONTENT_KEY["run" if part["kind"] == "run" else "review"]


def read_entry(line: bytes, place: int, where: str) -> Entry:
    """An entry as others use it; neither its signature nor its place in the chain is looked at.

    Args:
        line: It, as it is stored.
        place: Where it stands, for the message; 0 when that is not known.
        where: The ledger, ditto.

    Raises:
        CouldNotVerify: It is no entry.
    """
    try:
        envelope = open_line(line)
        part = own_part(envelope.payload).part
    except NotAnEntry as problem:
        raise _unreadable(f"entry {place}" if place else "one of its last entries", problem, where) from problem
    return _entry(part, envelope.digest, envelope.key_id)


def written(line: bytes, content: dict[str, Any], signer: Signer | None) -> Entry:
    """The entry of a line that was sealed just now: what it holds need not be read out of it."""
    part = read_small(line)
    return _entry({**part, _content_key(part): content}, digest_of(line), signer.key_id if signer else "")


def _entry(part: Mapping[str, Any], digest: str, key_id: str) -> Entry:
    return Entry(
        sequence=part["sequence"],
        digest=digest,
        previous=str(part.get("previous") or ""),
        recorded_at=str(part.get("recorded_at", "")),
        kind=part["kind"],
        evidence=part.get("evidence", {}),
        review=part.get("review", {}),
        key_id=key_id,
        ledger=str(part.get("ledger", "")),
        run=str(part.get("run", "")),
    )


def read_small(line: bytes) -> dict[str, Any]:
    """The small parts of an entry (ledger, sequence, previous, recorded_at, kind, run, verdict), without its evidence.

    Raises:
        NotAnEntry: It is no entry.
    """
    _, _, rest = line.partition(b'"payload":"')
    beginning = rest[:_SMALL].partition(b'"')[0]
    try:
        payload = base64.b64decode(beginning[: len(beginning) // 4 * 4])
        for mark in _CONTENT:
            small, found, _ = payload.partition(mark)
            if found:
                part = json.loads(small + b"}}}")["predicate"]["restoreDrill"]
                if isinstance(part["sequence"], int) and part["kind"] in ("run", "review"):
                    return dict(part)
    except (ValueError, TypeError, LookupError):
        pass  # written by something else, in another order: read it whole
    return own_part(open_line(line).payload).part


def read_link(line: bytes, where: str) -> Link:
    """What the next entry must know of this one.

    Raises:
        CouldNotVerify: It is no entry.
    """
    try:
        part = read_small(line)
        return Link(str(part["ledger"]), part["sequence"], digest_of(line), str(part["recorded_at"]))
    except (NotAnEntry, LookupError) as problem:
        raise _unreadable("its last entry", problem, where) from problem


def _unreadable(which: str, problem: Exception, where: str) -> CouldNotVerify:
    return CouldNotVerify(
        f"the ledger cannot be used: {which} is damaged ({problem})",
        looked_at=where,
        remedy="See restore-drill ledger verify; restore the ledger from its own backup, or move it away (and keep it) "
        "to begin another one.",
    )
