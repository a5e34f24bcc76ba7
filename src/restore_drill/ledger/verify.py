"""Verifying a ledger: with nothing but its entries and the public keys, in one pass, an entry in memory at a time.

What is wrong has a name: ``edited``, ``deleted``, ``reordered``, ``truncated``, ``replayed``, ``wrong key``,
``unsigned``, ``clock``, ``digest``, ``review``. After something that is wrong the chain is taken up again where it goes
on, so that one damage is one problem.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from restore_drill.ledger import statement
from restore_drill.ledger.base import Head, Ledger
from restore_drill.ledger.envelope import Envelope, NotAnEntry, Stated, open_line, own_part
from restore_drill.ledger.reviews import Reviewed, wrong_with_review
from restore_drill.ledger.signing import PublicKey
from restore_drill.ledger.verification import Problem, Verification

__all__ = ["Problem", "Verification", "verify"]
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
#: Problems that are told; of a ledger with more, the count.
_TOLD = 100


def verify(
    ledger: Ledger,
    public_keys: Sequence[PublicKey] = (),
    *,
    head: Head | Sequence[Head] | None = None,
    known_runs: Mapping[str, str] | None = None,
    required: bool = False,
    begins: Head | None = None,
) -> Verification:
    """Verify a ledger.

    Args:
        ledger: Of which nothing but its entries and its head is read.
        public_keys: Those whose signatures count.
        head: What is remembered of it from elsewhere (reports print it): those entries must be there, unchanged.
        known_runs: Ids of runs that something else knows, and when they ended (UTC, ISO 8601): of those that ended
            after the first entry there must be one each.
        required: Whether an unsigned entry is a problem.
        begins: The entry before its first one, of an export of a period (:attr:`~.reading.StoredLedger.begins`).

    Raises:
        CouldNotVerify: It cannot be read.
    """
    heads = [head] if isinstance(head, Head) else list(head or ())
    hint = ledger.hint()  # before the entries: it may lag behind them, and never knows more
    pass_ = _Pass(ledger.where(), public_keys, required=required, begins=begins)
    wanted = [*((each, "the head that was given") for each in heads), *([(hint, "head.json")] if hint else [])]
    pass_.remember = {each.sequence for each, _ in wanted}
    for line in ledger.lines():
        pass_.take(line)
    for each, source in wanted:
        pass_.compare(each, source)
    pass_.miss(known_runs or {})
    found = pass_.found
    found.remarks += ledger.remarks()
    if hint is None and found.entries:
        found.remarks.append("there is no head.json: that its end was cut off could not be noticed by it")
    found.problems.sort(key=lambda problem: problem.sequence)
    found.more = max(len(found.problems) - _TOLD, 0)
    del found.problems[_TOLD:]
    return found


class _Pass:
    """One pass over the entries: what must be remembered of those before.

    Args:
        where: The ledger.
        public_keys: Those whose signatures count.
        required: Whether an unsigned entry is a problem.
        begins: The entry before the first one, where that is not the ledger's first.
    """

    def __init__(self, where: str, public_keys: Sequence[PublicKey], *, required: bool, begins: Head | None) -> None:
        self.found = Verification(where)
        self.remember: set[int] = set()
        self._keys = {key.key_id: key for key in public_keys}
        self._required = required
        self._previous = ""
        self._expected = 1
        if begins is not None and begins.sequence > 0:
            self._previous, self._expected = begins.digest, begins.sequence + 1
            self.found.first = self._expected
            self.found.remarks.append(f"it begins after entry {begins}: a part of a longer ledger")
        self._recorded_at = self._first_at = ""
        self._missing: dict[int, int] = {}
        self._bad: set[int] = set()
        self._remembered: dict[int, str] = {}
        self._runs: dict[str, Reviewed] = {}
        self._distrusted: set[str] = set()

    def take(self, line: bytes) -> None:
        """The next line."""
        found = self.found
        found.entries += 1
        try:
            envelope = open_line(line)
            stated = own_part(envelope.payload)
            part = stated.part
        except NotAnEntry as problem:
            self._wrong(self._expected, "edited", str(problem))
            self._go_on(self._expected, "")
            return
        trusted, key = self._signature(envelope)
        if not trusted:  # nothing that it says counts, its number neither: it stands where the next one was expected
            self._distrusted.add(str(part.get("run", "")))
            self._go_on(self._expected, envelope.digest)
            return
        if not self._stands_right(part):
            return
        try:
            self._time(part)
            self._content(stated, envelope.digest, key)
        except (TypeError, ValueError, LookupError, AttributeError, RecursionError):  # a list for a name, say
            self._wrong(part["sequence"], "edited", "what it says is not put as an entry puts it")
        self._go_on(part["sequence"], envelope.digest)

    def _go_on(self, sequence: int, digest: str) -> None:
        self._expected = sequence + 1
        self._previous = digest
        if digest:
            self.found.head = Head(sequence, digest)
        if sequence in self.remember:
            self._remembered[sequence] = digest

    def _wrong(self, sequence: int, what: str, text: str) -> None:
        self._bad.add(sequence)
        self.found.problems.append(Problem(sequence, what, text))

    # --- who signed it ------------------------------------------------------------------------------------------------

    def _signature(self, envelope: Envelope) -> tuple[bool, str]:
        """Note who signed it: whether what it says counts, and the key, ``""`` when nobody signed."""
        found = self.found
        if not envelope.signatures:
            found.unsigned += 1
            if self._required or found.signed or found.unverified:
                among = "" if self._required else " among signed ones"
                text = f"nobody signed this entry{among}: whoever can write there could have made it"
                self._wrong(self._expected, "unsigned", text)
            return True, ""
        named = envelope.key_id
        if not self._keys:
            found.unverified += 1
            return True, named
        key = self._signer(envelope)
        if key and key == named:
            found.signed += 1
            found.keys[key] = found.keys.get(key, 0) + 1
            return True, key
        if key:
            self._wrong(self._expected, "edited", "the key that it names is not the one that signed it")
        elif named in self._keys:
            self._wrong(self._expected, "edited", f"it is not what the key {named[:16]}... signed")
        else:
            text = f"it is signed by the key {named[:16]}..., which is none of the public keys"
            self._wrong(self._expected, "wrong key", text)
        return False, ""

    def _signer(self, envelope: Envelope) -> str:
        """The key that signed it: the one that it names, or (a name proves nothing) any other."""
        message = envelope.message
        for named, signature in envelope.signatures:
            for key in sorted(self._keys.values(), key=lambda each: each.key_id != named):
                if key.verifies(message, signature):
                    return key.key_id
        return ""

    # --- where it stands ----------------------------------------------------------------------------------------------

    def _stands_right(self, part: Mapping[str, Any]) -> bool:
        """Whether the chain goes on with it."""
        found, sequence, ledger = self.found, part["sequence"], str(part.get("ledger", ""))
        if not found.ledger:
            self._begins(sequence, ledger, part)
        if ledger != found.ledger:
            self._wrong(
                self._expected, "replayed", f"it belongs to another ledger ({ledger[:16]}), as its entry {sequence}"
            )
            return False
        if sequence < self._expected:
            self._out_of_order(sequence)
            return False
        if sequence > self._expected:
            self._gap(sequence)
        elif str(part.get("previous") or "") != self._previous and self._previous and sequence - 1 not in self._bad:
            if sequence == found.first:
                self._wrong(sequence, "edited", "it does not follow the entry that this part says it begins after")
                return True
            text = f"it is not the entry that entry {sequence} was chained to: it was changed or replaced"
            self._wrong(sequence - 1, "edited", text)
        return True

    def _begins(self, sequence: int, ledger: str, part: Mapping[str, Any]) -> None:
        """The first entry that can be read says which ledger it is."""
        self.found.ledger = ledger
        self._first_at = str(part.get("recorded_at", ""))
        if sequence == 1 and part.get("previous"):
            self._wrong(1, "edited", "the first entry follows another one")

    def _out_of_order(self, sequence: int) -> None:
        """An entry with a number that has been passed: it was taken from its place, or stands here a second time."""
        place = self._missing.pop(sequence, None)
        if place is None:
            text = f"entry {sequence} stands here again, or another one under its number"
            self._wrong(self._expected, "replayed", text)
            return
        problems = self.found.problems
        for index, problem in enumerate(problems):
            if problem.what == "deleted" and problem.sequence == place:
                text = f"entry {sequence} stands after entry {self._expected - 1}"
                problems[index] = Problem(place, "reordered", text)
                return
        problems.append(Problem(sequence, "reordered", f"entry {sequence} stands after entry {self._expected - 1}"))

    def _gap(self, sequence: int) -> None:
        first, last = self._expected, sequence - 1
        which = f"entry {first} is" if first == last else f"entries {first} to {last} are"
        self._wrong(first, "deleted", f"{which} missing: entry {sequence} stands in that place")
        if len(self._missing) < _TOLD:
            self._missing |= dict.fromkeys(range(first, min(last + 1, first + _TOLD)), first)

    # --- what it says -------------------------------------------------------------------------------------------------

    def _time(self, part: Mapping[str, Any]) -> None:
        recorded_at, sequence, before = str(part.get("recorded_at", "")), part["sequence"], self._recorded_at
        noticed = [each for each in part.get("noticed", ()) if isinstance(each, dict)]
        if not _TIME.fullmatch(recorded_at):
            self._wrong(sequence, "edited", "the time of its recording is not a time")
            recorded_at = before
        elif recorded_at < before:
            text = f"recorded at {recorded_at}, before the entry that it follows ({before})"
            if any(each.get("what") == "clock" for each in noticed):
                self.found.remarks.append(f"entry {sequence}: {text}; its writer noticed, and said so")
            else:
                self._wrong(sequence, "clock", f"{text}: a clock was set back")
        self._recorded_at = (
            recorded_at  # not the latest of all: a clock that was ahead once is no damage to what follows
        )
        for each in noticed:
            if each.get("what") == "head":
                text = f"the entry that followed was written when the end was gone: {each.get('text')}"
                self._wrong(max(sequence - 1, 1), "truncated", text)

    def _content(self, stated: Stated, own: str, key: str) -> None:
        part, subjects = stated.part, _subjects(stated.statement)
        if part["kind"] == "run":
            self.found.runs += 1
            self._run(stated, subjects.get("evidence.json", ""), Head(part["sequence"], own), key)
            return
        self.found.reviews += 1
        if part["review"].get("run") in self._distrusted:
            return  # of an entry that was told of already
        text = wrong_with_review(part["review"], subjects, self._runs, key)
        if text and self.found.first > 1 and part["review"].get("run") not in self._runs:
            self.found.remarks.append(
                f"entry {part['sequence']}: reviews a run that was recorded before this part begins"
            )
        elif text:
            self._wrong(part["sequence"], "review", text)

    def _run(self, stated: Stated, subject: str, own: Head, key: str) -> None:
        part, sequence = stated.part, own.sequence
        evidence = part["evidence"]
        digest = hashlib.sha256(stated.evidence + b"\n").hexdigest()
        if not stated.evidence or digest != subject:  # laid out in another way, perhaps
            digest = statement.evidence_digest(evidence)
        if digest != subject:
            self._wrong(sequence, "digest", "the evidence in it is not what its subject names by digest")
        elif not statement.is_consistent(stated.statement, part):
            self._wrong(sequence, "digest", "what it says of the run is not what the evidence in it says")
        run = str(part.get("run", ""))
        reviewed = Reviewed.of(evidence, own, digest, key)
        known = self._runs.setdefault(run, reviewed)
        if known is reviewed:
            return
        if known.crashed and not reviewed.crashed:
            text = f"the run {run} was taken for crashed (entry {known.head.sequence}), and recorded itself later"
            self.found.remarks.append(f"entry {sequence}: {text}")
            self._runs[run] = reviewed
        else:
            text = f"the run {run} was recorded before, by entry {known.head.sequence}"
            self._wrong(sequence, "replayed", text)

    # --- what others know of it ---------------------------------------------------------------------------------------

    def compare(self, head: Head, source: str) -> None:
        """Whether an entry that is known from elsewhere is there, and is the same."""
        last = self._expected - 1
        if head.sequence > last:
            self._wrong(last + 1, "truncated", f"{source} knows entry {head.sequence}, the last one here is {last}")
        elif head.sequence < self.found.first:
            self.found.remarks.append(f"{source} names entry {head.sequence}, from before this part begins")
        elif self._remembered.get(head.sequence) != head.digest and head.sequence not in self._bad:
            self._wrong(head.sequence, "edited", f"it is not the entry that {source} names")

    def miss(self, known_runs: Mapping[str, str]) -> None:
        """Runs that something else remembers, and the ledger does not."""
        if self.found.first > 1 or not self._first_at:
            return
        lost = sorted(run for run, ended in known_runs.items() if ended > self._first_at and run not in self._runs)
        if lost:
            some = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
            text = f"{len(lost)} run(s) that the state remembers have no entry: {some}; cut off, or never recorded"
            self._wrong(self._expected, "truncated", text)


def _subjects(stated: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 of the subjects, by name."""
    subjects: Iterable[Any] = stated.get("subject") or ()
    found: dict[str, str] = {}
    for each in subjects:
        if isinstance(each, dict) and isinstance(each.get("digest"), dict):
            found.setdefault(str(each.get("name", "")), str(each["digest"].get("sha256", "")))
    return found
