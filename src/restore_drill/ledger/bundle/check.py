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

HERE = pathlib.Path(__file__).resolve().parent


def signed(message: bytes, signature: bytes, keys: "list[str]") -> bool:
    """Whether one of the keys signed the message."""
    with tempfile.TemporaryDirectory() as work:
        said, proof = pathlib.Path(work, "message"), pathlib.Path(work, "signature")
        said.write_bytes(message)
        proof.write_bytes(signature)
        command = ["openssl", "pkeyutl", "-verify", "-pubin", "-rawin", "-in", str(said), "-sigfile", str(proof)]
        for key in keys:
            if subprocess.run([*command, "-inkey", key], capture_output=True, check=False).returncode == 0:
                return True
    return False


def check(keys: "list[str]", wanted: str) -> str:
    """Check every entry in order; raises ``ValueError`` at the first that is wrong."""
    period = json.loads((HERE / "period.json").read_text())
    expected, previous, heads, runs, count = period["first"], period["previous"], [], {}, 0
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
        if not envelope["signatures"]:
            if count:
                raise ValueError(f"entry {expected}: unsigned: nobody signed it, among entries that are signed")
        elif not keys:
            raise OSError("entries are signed, and no public key was given")
        elif signed(message, base64.b64decode(envelope["signatures"][0]["sig"]), keys):
            count += 1
        else:
            raise ValueError(f"entry {expected}: edited, or signed by another key")
        if part["ledger"] != period["ledger"]:
            raise ValueError(f"entry {expected}: replayed: it belongs to another ledger")
        if part["sequence"] != expected:
            raise ValueError(
                f"entry {expected}: deleted, reordered or replayed: {part['sequence']} stands in its place"
            )
        if part["previous"] != previous:
            raise ValueError(f"entry {expected}: the entry before it is not the one that it was chained to")
        subjects = {each["name"]: each["digest"]["sha256"] for each in statement["subject"]}
        if part["kind"] == "run":
            text = json.dumps(part["evidence"], separators=(",", ":")) + "\n"
            if hashlib.sha256(text.encode()).hexdigest() != subjects["evidence.json"]:
                raise ValueError(f"entry {expected}: digest: its evidence is not what its subject names")
            if part["run"] in runs:
                raise ValueError(f"entry {expected}: replayed: its run was recorded before")
            operator = part["evidence"]["run"].get("operator", {}).get("user")
            if part["evidence"]["run"].get("ended") != "crashed":  # else it may record itself later
                runs[part["run"]] = (subjects["evidence.json"], operator)
        elif part["run"] in runs and (subjects["evidence.json"] != runs[part["run"]][0]
                                      or part["review"]["reviewer"] == runs[part["run"]][1]):  # fmt: skip
            raise ValueError(f"entry {expected}: review: of other evidence, or by the operator")
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
