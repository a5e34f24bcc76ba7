"""Check an exported ledger without the program that wrote it: Python 3.9 or later, and openssl (3.0 or later).

    python3 check.py PUBLIC-KEY.pub [another.pub ...] [--head SEQUENCE:DIGEST]

Take the public key from whoever runs the drills, not from this directory: what is forged comes with a forged key.
"""

import argparse
import base64
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import unicodedata
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent


def signed(message: bytes, signature: bytes, keys: "list[str]") -> str:
    """Which of the keys signed the message, "" when none did."""
    with tempfile.TemporaryDirectory() as work:
        said, proof = pathlib.Path(work, "message"), pathlib.Path(work, "signature")
        said.write_bytes(message)
        proof.write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-rawin", "-in", str(said), "-sigfile", str(proof)]
        for key in keys:
            if subprocess.run([*command, "-inkey", key], capture_output=True, check=False).returncode == 0:
                return key
    return ""


def folded(name: str) -> str:
    """A name in letters and digits alone, in lower case and without its domain: J.Doe@example.org is jdoe."""
    text = unicodedata.normalize("NFKC", name).casefold().rpartition("\\")[2]
    return "".join(filter(str.isalnum, text.partition("@")[0])) or "".join(text.split())


def check_time(part: "dict[str, Any]", before: str, expected: int) -> None:
    """What an entry says of the clock, and of entries that were gone when it was written."""
    noticed = [each.get("what") for each in part.get("noticed", ())]
    if part["recorded_at"] < before and "clock" not in noticed:
        raise ValueError(f"entry {expected}: clock: it was recorded before the entry that it follows")
    if "head" in noticed:
        raise ValueError(
            f"entry {max(expected - 1, 1)}: truncated: the entry after it was written when the end was gone"
        )


def check_review(part: "dict[str, Any]", subjects: "dict[str, str]", run: "dict[str, Any]", key: str) -> str:
    """What is wrong with a review of a run, "" when nothing is."""
    review = part["review"]
    if {subjects["evidence.json"], review["evidence"]} != {run["evidence"]} or review["entry"] != run["entry"]:
        return "of other evidence, or of another entry"
    if review.get("report", "") != subjects.get("report.html", ""):
        return "of another report than it is bound to"
    if not review["reviewer"].strip() or folded(review["reviewer"]) == folded(run["operator"]):
        return "by the operator, or by nobody"
    return "signed by the key that signed the run" if key and key == run["key"] else ""


def check_content(
    part: "dict[str, Any]", statement: "dict[str, Any]", head: str, runs: "dict[str, Any]", key: str
) -> None:
    """What an entry says of a run, or of a review of one: by digests, and by what else it says."""
    number, _, own = head.partition(":")
    subjects = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
    known = runs.get(part["run"])
    if part["kind"] == "review":
        wrong = check_review(part, subjects, known, key) if known else ""  # else it was recorded before this period
        if wrong:
            raise ValueError(f"entry {number}: review: {wrong}")
        return
    evidence = part["evidence"]
    text = json.dumps(evidence, separators=(",", ":")) + "\n"
    if hashlib.sha256(text.encode()).hexdigest() != subjects["evidence.json"]:
        raise ValueError(f"entry {number}: digest: its evidence is not what its subject names")
    if [part["run"], part["verdict"]] != [evidence["run"]["id"], evidence["verdict"]]:
        raise ValueError(f"entry {number}: digest: what it says of the run is not what its evidence says")
    crashed = evidence["run"].get("ended") == "crashed"
    if known and (crashed or not known["crashed"]):  # a run that was taken for crashed may record itself later
        raise ValueError(f"entry {number}: replayed: its run was recorded before")
    operator = evidence["run"].get("operator", {}).get("user", "")
    runs[part["run"]] = {"evidence": subjects["evidence.json"], "operator": operator, "entry": own, "key": key,
                         "crashed": crashed}  # fmt: skip


def check(keys: "list[str]", wanted: str) -> str:
    """Check every entry in order; raises ``ValueError`` at the first that is wrong."""
    period = json.loads((HERE / "period.json").read_text())
    expected, previous, heads, count = period["first"], period["previous"], [], 0
    runs: dict[str, Any] = {}
    before = ""
    for line in (HERE / "entries.jsonl").open("rb"):
        line = line.rstrip(b"\n")  # noqa: PLW2901 - the digest is of what is before it
        try:
            envelope = json.loads(line)
            payload = base64.b64decode(envelope["payload"])
            statement = json.loads(payload)
            part = statement["predicate"]["restoreDrill"]
        except (ValueError, LookupError, TypeError) as problem:
            raise ValueError(f"entry {expected}: edited: it is no entry") from problem
        message = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
        key = ""
        if not envelope["signatures"]:
            if count:
                raise ValueError(f"entry {expected}: unsigned: nobody signed it, among entries that are signed")
        elif not keys:
            raise OSError("entries are signed, and no public key was given")
        else:
            key = signed(message, base64.b64decode(envelope["signatures"][0]["sig"]), keys)
            count += 1
        if envelope["signatures"] and not key:
            raise ValueError(f"entry {expected}: edited, or signed by another key")
        if part["ledger"] != period["ledger"]:
            raise ValueError(f"entry {expected}: replayed: it belongs to another ledger")
        if part["sequence"] != expected:
            raise ValueError(
                f"entry {expected}: deleted, reordered or replayed: {part['sequence']} stands in its place"
            )
        if part["previous"] != previous:
            raise ValueError(f"entry {expected}: the entry before it is not the one that it was chained to")
        check_time(part, before, expected)
        before = part["recorded_at"]
        check_content(part, statement, f"{expected}:{hashlib.sha256(line).hexdigest()}", runs, key)
        previous = hashlib.sha256(line).hexdigest()
        heads.append(f"{expected}:{previous}")
        expected += 1
    known = json.loads((HERE / "head.json").read_text())
    if not heads or heads[-1] != f"{known['sequence']}:{known['digest']}" or (wanted and wanted not in heads):
        raise ValueError(f"entry {expected}: truncated or replaced: an entry that is known from elsewhere is not here")
    if keys and not count:
        raise ValueError("none of these entries is signed")
    loud = f"{len(heads) - count} ENTRIES ARE NOT SIGNED: nobody answers for them\n" if count < len(heads) else ""
    return f"{loud}good: {len(heads)} entries, {count} signed; the last one is {heads[-1]}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Check an exported ledger.")
    parser.add_argument("keys", nargs="*", metavar="PUBLIC-KEY.pub")
    parser.add_argument("--head", default="", metavar="SEQUENCE:DIGEST")
    arguments = parser.parse_args()
    try:
        print(check(arguments.keys, arguments.head))
    except (ValueError, LookupError, TypeError, AttributeError) as problem:
        print(f"BROKEN: {problem}")
        sys.exit(1)
    except OSError as problem:
        print(f"cannot check: {problem}", file=sys.stderr)
        sys.exit(75)
