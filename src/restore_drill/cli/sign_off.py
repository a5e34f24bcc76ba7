"""``restore-drill sign-off``."""

from __future__ import annotations

import argparse
import getpass
import hashlib
import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill.cli import add_catalogue
from restore_drill.cli.ledger import missing_key, of_catalogue
from restore_drill.errors import UsageProblem

if TYPE_CHECKING:
    from restore_drill.ledger.base import Ledger
    from restore_drill.ledger.finding import FoundRun
    from restore_drill.ledger.signing import KeySigner
    from restore_drill.plan import Plan

_CHUNK = 1 << 20


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("run", metavar="RUN", help="the id of the run, or latest")
    parser.add_argument("--reviewer", required=True, metavar="NAME", help="who reviewed it: not who ran it")
    parser.add_argument("--key", metavar="SECRET",
                        help="the reviewer's own private key: env:NAME, file:PATH or sops:FILE#KEY")  # fmt: skip
    parser.add_argument("--comment", default="", metavar="TEXT", help="what is to be said about it")
    parser.add_argument("--reports-dir", type=Path, metavar="DIR", help="where runs are written (default: reports/)")
    add_catalogue(parser)


def run(arguments: argparse.Namespace) -> int:
    """Append a review to the ledger."""
    from restore_drill.ledger.finding import find_run

    with of_catalogue(arguments) as (plan, ledger):
        found = find_run(ledger, arguments.run)
        signer = _signer(arguments, plan, found)
        _refuse_broken(ledger, plan, found)
        _refuse_dependent(arguments.reviewer, signer, found)
        review = _review(arguments, plan, ledger, found)
        entry = ledger.append("review", review, signer)
    print(f"{found.entry.run}: reviewed by {arguments.reviewer}, entry {entry.head}")
    print(f"  evidence {review['evidence']}")
    print(
        f"  report   {review.get('report', 'none: report.html is not in ' + str(_directory(arguments, plan, found)))}"
    )
    if "superseded_by" in review:
        print(f"  note: the run was superseded by {review['superseded_by']}; the review says so")
    if signer is None:
        print("  THE REVIEW IS NOT SIGNED: whoever could write there could have made it")
    return 0


def _signer(arguments: argparse.Namespace, plan: Plan, found: FoundRun) -> KeySigner | None:
    """The reviewer's key, or the catalogue's; one must be known to whoever verifies."""
    from restore_drill.ledger.signing import read_public_keys, read_signer
    from restore_drill.secrets import parse_reference

    if arguments.key is None and plan.ledger.key is None:
        if found.entry.key_id:
            raise missing_key()
        return None
    try:
        reference = parse_reference(arguments.key, Path.cwd()) if arguments.key else plan.ledger.key
    except ValueError as problem:
        raise UsageProblem(f"--key: {problem}") from problem
    assert reference is not None  # noqa: S101 - one of the two is
    signer = read_signer(reference)
    known = {key.key_id for key in read_public_keys(plan.ledger.public_keys)}
    if known and signer.key_id not in known:
        raise UsageProblem(
            f"the reviewer's key ({signer.key_id[:16]}...) is none of the ledger's public keys",
            looked_at=plan.catalogue,
            remedy="Add its public key to ledger.public_keys first: without it the ledger would not verify any more.",
        )
    return signer


def _refuse_broken(ledger: Ledger, plan: Plan, found: FoundRun) -> None:
    """Nobody signs off what was tampered with.

    Raises:
        UsageProblem: The run's own entry is not what it was.
    """
    from restore_drill.ledger.signing import read_public_keys
    from restore_drill.ledger.verify import verify

    verified = verify(ledger, read_public_keys(plan.ledger.public_keys), head=found.entry.head)
    for problem in verified.problems:
        if problem.sequence == found.entry.sequence:
            raise UsageProblem(
                f"the run's entry cannot be signed off: {problem}",
                looked_at=ledger.where(),
                remedy="See restore-drill ledger verify.",
            )


def _refuse_dependent(reviewer: str, signer: KeySigner | None, found: FoundRun) -> None:
    from restore_drill.ledger.reviews import Reviewed, not_independent

    reviewed = Reviewed.of(found.entry.evidence, found.entry.head, found.evidence_digest, found.entry.key_id)
    why = not_independent(reviewer, signer.key_id if signer else "", reviewed)
    if why:
        raise UsageProblem(why, remedy="Have it reviewed by somebody else, with --key of their own.")


def _review(arguments: argparse.Namespace, plan: Plan, ledger: Ledger, found: FoundRun) -> dict[str, Any]:
    directory = _directory(arguments, plan, found)
    _refuse_other_evidence(directory / "evidence.json", found)
    report = directory / "report.html"
    superseded = _superseded_by(ledger, found.entry.run)
    return {
        "run": found.entry.run,
        "entry": found.entry.digest,
        "evidence": found.evidence_digest,
        **({"report": _digest(report)} if report.is_file() else {}),
        "reviewer": arguments.reviewer,
        "user": _user(),
        "host": socket.gethostname(),
        **({"comment": arguments.comment} if arguments.comment else {}),
        **({"superseded_by": superseded} if superseded else {}),
    }


def _directory(arguments: argparse.Namespace, plan: Plan, found: FoundRun) -> Path:
    return Path(arguments.reports_dir or plan.reports) / found.entry.run


def _refuse_other_evidence(path: Path, found: FoundRun) -> None:
    """The reviewer looked at what lies in the reports: it must be what was recorded.

    Raises:
        UsageProblem: It is not.
    """
    from restore_drill.ledger.statement import evidence_digest

    if not path.is_file():
        return
    try:
        same = evidence_digest(json.loads(path.read_bytes())) == found.evidence_digest
    except ValueError:
        same = False
    if not same:
        raise UsageProblem(
            "the evidence in the reports is not what the ledger recorded",
            looked_at=str(path),
            remedy="Render the report again from the ledger, and review that: restore-drill report.",
        )


def _superseded_by(ledger: Ledger, run: str) -> str:
    """The run that decides in its place, when each of its drills was superseded by a rerun; else ``""``."""
    from restore_drill.ledger.reading import understood
    from restore_drill.policy.population import Population

    documents = [entry.evidence for entry in ledger.entries() if entry.kind == "run"]
    # Of the windows that are still open, too: a run of this night that was repeated in the morning is superseded.
    intervals = (each["drill_every_seconds"] for document in documents for each in document.get("population", ()))
    with understood(ledger, "an entry of the ledger cannot be understood, so that nobody can say which run counts"):
        population = Population.of(documents, now=time.time() + 2 * max(intervals, default=0.0))
    by = ""
    for occasion in population.occasions:
        if occasion.run == run:
            return ""
        if run in occasion.superseded:
            by = occasion.run
    return by


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, in a container
        return str(os.getuid())
