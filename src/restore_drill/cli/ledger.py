"""``restore-drill ledger``."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill.cli import add_catalogue, find_catalogue
from restore_drill.errors import COULD_NOT_VERIFY, CouldNotVerify, RestoreDrillError, UsageProblem
from restore_drill.printable import printable
from restore_drill.secrets import redact

if TYPE_CHECKING:
    from restore_drill.ledger.base import Entry, Head, Ledger
    from restore_drill.ledger.signing import PublicKey
    from restore_drill.ledger.verify import Verification
    from restore_drill.plan import Plan

#: Entries that ``show`` lists.
_LISTED = 30


def configure(parser: argparse.ArgumentParser) -> None:
    """Its subcommands."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = actions.add_parser("verify", help="verify every entry; 0 good, 1 broken, 75 could not be verified")
    verify.add_argument("path", nargs="?", type=Path, metavar="PATH",
                        help="an export (directory or .tar), a state's directory or its entries.jsonl; without it, the "
                        "catalogue's ledger")  # fmt: skip
    verify.add_argument("--key", action="append", default=[], metavar="PUBLIC-KEY",
                        help="a file with a public key (default: the catalogue's); may be given again")  # fmt: skip
    verify.add_argument("--head", action="append", default=[], type=_head, metavar="SEQUENCE:DIGEST",
                        help="an entry that must be there, as reports print it; may be given again")  # fmt: skip
    verify.add_argument("--signed", action="store_true", help="an unsigned entry is a problem")
    make = actions.add_parser("init-key", help="make a pair of keys to sign the ledger with")
    make.add_argument("--out", type=Path, required=True, metavar="DIR", help="where they are written")
    make.add_argument("--name", default="ledger", help="what they are called (default: ledger)")
    show = actions.add_parser("show", help="list the last entries, or show a run's")
    show.add_argument("run", nargs="?", metavar="RUN", help="the id of a run, or latest")
    show.add_argument("--json", action="store_true", help="print the run's evidence as JSON")
    bundle = actions.add_parser("export", help="write the entries of a period, with what is needed to check them")
    bundle.add_argument(
        "--from", dest="since", type=_day, metavar="DAY", help="first day, UTC (default: the beginning)"
    )
    bundle.add_argument("--to", dest="until", type=_day, metavar="DAY", help="last day, UTC (default: today)")
    bundle.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="a directory, or an archive named *.tar"
    )
    for action in (verify, show, bundle):
        add_catalogue(action)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked."""
    actions: dict[str, Callable[[argparse.Namespace], int]] = {
        "verify": _verify, "init-key": _init_key, "show": _show, "export": _export,
    }  # fmt: skip
    return actions[arguments.action](arguments)


def _head(text: str) -> Head:
    from restore_drill.ledger.base import Head

    try:
        return Head.parse(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError(str(problem)) from problem


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as problem:
        raise argparse.ArgumentTypeError("a day is written 2027-03-31") from problem


@contextmanager
def of_catalogue(arguments: argparse.Namespace) -> Iterator[tuple[Plan, Ledger]]:
    """The catalogue's plan, and its ledger."""
    from restore_drill.catalogue.load import load
    from restore_drill.ledger.opening import open_ledger

    plan = load(find_catalogue(arguments), references=False)
    yield plan, open_ledger(plan.state)


# --- verify -----------------------------------------------------------------------------------------------------------


def _verify(arguments: argparse.Namespace) -> int:
    try:
        found, keys = _verified(arguments)
    except UsageProblem:
        raise
    except RestoreDrillError as problem:
        print(redact(f"COULD NOT BE VERIFIED: {problem}"))
        return COULD_NOT_VERIFY
    except OSError as problem:
        print(redact(f"COULD NOT BE VERIFIED: {problem}"))
        return COULD_NOT_VERIFY
    _print(found)
    return _judge(found, keys, keys_given=bool(arguments.key))


def _verified(arguments: argparse.Namespace) -> tuple[Verification, list[PublicKey]]:
    from restore_drill.ledger.reading import StoredLedger, open_path
    from restore_drill.ledger.signing import read_public_keys
    from restore_drill.ledger.verify import verify

    if arguments.path is not None:
        ledger = open_path(arguments.path)
        keys = read_public_keys(arguments.key or _catalogue_keys(arguments))
        begins = ledger.begins if isinstance(ledger, StoredLedger) else None
        return verify(ledger, keys, head=arguments.head, required=arguments.signed, begins=begins), keys
    with of_catalogue(arguments) as (plan, ledger):
        keys = read_public_keys(arguments.key or plan.ledger.public_keys)
        required = arguments.signed or plan.ledger.required
        return verify(ledger, keys, head=arguments.head, required=required, known_runs=known_runs(plan)), keys


def _catalogue_keys(arguments: argparse.Namespace) -> tuple[str, ...]:
    """The keys of a catalogue that was named; a path alone is verified without any."""
    from restore_drill.catalogue.load import load

    return load(find_catalogue(arguments), references=False).ledger.public_keys if arguments.catalogue else ()


def known_runs(plan: Plan) -> dict[str, str]:
    """The last whole drills that the state remembers: id of the run, and when the drill ended.

    But for runs that are under way, or whose end nobody has recorded yet: their entries are still to come.
    """
    from restore_drill.evidence import open_runs
    from restore_drill.history import History
    from restore_drill.state import open_state

    state = open_state(plan.state)
    history = History(state)
    if not history.initialised:
        return {}
    coming = set(state.names(open_runs.FOLDER))  # first: a run is no longer among them once its entry is there
    found: dict[str, str] = {}
    for target in plan.targets:
        known = history.target(target.name)
        for copy in (known.copy(each.name) for each in target.copies):
            for drill in filter(None, (copy.last_drilled, copy.last_passed)):
                ended = datetime.fromtimestamp(drill["finished_at"], UTC)
                found[drill["run"]] = ended.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {run: ended for run, ended in found.items() if open_runs.name_of(run) not in coming}


def _print(found: Verification) -> None:
    print(printable(found.where))
    last = found.head.sequence if found.head else 0
    print(
        f"  {found.entries} entries, {found.first} to {last}: {found.runs} runs, {found.reviews} reviews; "
        f"{found.signed} signed, {found.unsigned} unsigned"
    )
    for key, count in found.keys.items():
        print(f"  key {key}: {count}")
    if found.head:
        print(f"  head {found.head}")
    for remark in found.remarks:
        print(f"  remark: {printable(remark)}")
    for problem in found.problems:
        print(f"  {printable(str(problem))}")
    if found.more:
        print(f"  and {found.more} more")


def _judge(found: Verification, keys: list[PublicKey], *, keys_given: bool) -> int:
    if found.problems:
        print(f"BROKEN: the first entry that is wrong is {found.problems[0].sequence} ({found.problems[0].what})")
        return 1
    if not found.entries:
        print("COULD NOT BE VERIFIED: the ledger has no entries")
        return COULD_NOT_VERIFY
    if found.unverified:
        print(
            f"COULD NOT BE VERIFIED: {found.unverified} entries are signed, and no public key was given: name it with "
            "--key, and take it from whoever runs the drills, not from the place where the entries lie"
        )
        return COULD_NOT_VERIFY
    if keys_given and not found.signed:
        print("BROKEN: a public key was given, and it signed none of these entries")
        return 1
    if keys and not found.signed:
        print(
            "COULD NOT BE VERIFIED: the catalogue lists public keys, and none of these entries is signed: no run has "
            "had the key yet, or somebody wrote all of them anew"
        )
        return COULD_NOT_VERIFY
    if found.unsigned:
        print(f"{found.unsigned} ENTRIES ARE NOT SIGNED: whoever could write there could have made them")
    print("good: the chain is whole" + (", every signature is right" if found.signed else ""))
    return 0


# --- init-key ---------------------------------------------------------------------------------------------------------


def _init_key(arguments: argparse.Namespace) -> int:
    from restore_drill.ledger.signing import KeySigner

    private, public = (arguments.out / f"{arguments.name}{suffix}" for suffix in (".key", ".pub"))
    for path in (private, public):
        if path.exists():
            raise UsageProblem("a key is there already", looked_at=str(path), remedy="Name another place, or --name.")
    signer = KeySigner.generate()
    arguments.out.mkdir(parents=True, exist_ok=True)
    _write_new(private, signer.private_pem(), 0o600)
    _write_new(public, signer.public.pem, 0o644)
    print(f"{private}: private (0600): whoever has it can sign; keep it as a secret, outside of the repository")
    print(f"{public}: public: commit it, and give it to whoever is to verify the ledger")
    print(f"fingerprint {signer.key_id}")
    print(f"in the catalogue: ledger: {{key: file:{private}, public_keys: [{public}]}}  (paths relative to it)")
    return 0


def _write_new(path: Path, content: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


# --- show -------------------------------------------------------------------------------------------------------------


def _show(arguments: argparse.Namespace) -> int:
    from restore_drill.ledger.finding import find_run

    with of_catalogue(arguments) as (_, ledger):
        if arguments.run is None:
            return _list(ledger)
        found = find_run(ledger, arguments.run)
    if arguments.json:
        print(json.dumps(found.entry.evidence, indent=1))
        return 0
    entry = found.entry
    print(_line(entry))
    print(f"  entry {entry.head}")
    print(f"  evidence {found.evidence_digest}")
    print(f"  {'signed by ' + entry.key_id if entry.key_id else 'NOT SIGNED'} (restore-drill ledger verify proves it)")
    for drill in entry.evidence.get("drills", ()):
        print(f"  {drill['verdict']:8} {drill['target']}/{drill['copy']} ({drill.get('scope', '')})")
    for review in found.reviews:
        print(f"  {_review(review)}")
    return 0


def _list(ledger: Ledger) -> int:
    entries = ledger.tail(_LISTED)
    if not entries:
        print(f"{ledger.where()}: no entries")
    for entry in entries:
        print(_line(entry))
    return 0


def _line(entry: Entry) -> str:
    signed = f"key {entry.key_id[:16]}" if entry.key_id else "NOT SIGNED"
    what = entry.evidence.get("verdict", "") if entry.kind == "run" else _review(entry.review)
    return printable(f"{entry.sequence:6} {entry.recorded_at} {entry.kind:6} {entry.run} {what} ({signed})")


def _review(review: dict[str, Any]) -> str:
    comment = f": {review['comment']}" if review.get("comment") else ""
    return printable(f"reviewed by {review.get('reviewer', '')}{comment}")


# --- export -----------------------------------------------------------------------------------------------------------


def _export(arguments: argparse.Namespace) -> int:
    from restore_drill.ledger.export import export, span_of
    from restore_drill.ledger.signing import read_public_keys
    from restore_drill.ledger.verify import verify

    since = arguments.since or date(1970, 1, 1)
    until = (arguments.until or datetime.now(UTC).date()) + timedelta(days=1)
    with of_catalogue(arguments) as (plan, ledger):
        keys: list[PublicKey] = read_public_keys(plan.ledger.public_keys)
        span = span_of(ledger, f"{since}T00:00:00.000Z", f"{until}T00:00:00.000Z")
        head = export(ledger, span, keys, arguments.out)
        found = verify(ledger, keys, required=plan.ledger.required, known_runs=known_runs(plan))
    print(f"{arguments.out}: {span.last - span.first + 1} entries, the last one is {head}")
    if span.later:
        print(f"{len(span.later)} later entries review runs of this period: export until a later day to have them, too")
    _print(found)
    status = _judge(found, keys, keys_given=False)
    if status == 1:
        print("the export holds the ledger as it is: what is wrong with it, whoever checks it will find")
    return status


def missing_key() -> CouldNotVerify:
    """The error for entries that must be signed, without a key."""
    return CouldNotVerify(
        "the ledger's entries are signed, and there is no key to sign with",
        remedy="Give --key env:NAME or file:PATH: a private key of the reviewer's own.",
    )
