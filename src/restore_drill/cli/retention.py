"""``restore-drill retention``: which snapshots a prune job may remove, and which must stay. It removes nothing."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Set
from typing import TYPE_CHECKING, Any

from restore_drill.cli import add_catalogue, find_catalogue, unknown_target
from restore_drill.errors import COULD_NOT_VERIFY, CouldNotVerify, RestoreDrillError, UsageProblem
from restore_drill.policy.gate import CopyDecision, Decision
from restore_drill.printable import printable, printable_values
from restore_drill.quantities import as_instant, format_instant
from restore_drill.secrets import redact

if TYPE_CHECKING:
    from restore_drill.plan import Plan, PlannedCopy, PlannedTarget
    from restore_drill.policy.proofs import Proofs
    from restore_drill.retaining import Retained

_FORM = "restore-drill/retention/1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    parser.add_argument("target", help="whose snapshots")
    parser.add_argument("--copy", help="only this copy")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print every snapshot with its reasons, as JSON")
    form.add_argument("--prune-list", action="store_true", help="print the names of what may go, and nothing else")
    form.add_argument("--ask", nargs="+", metavar="NAME",
                      help="print those of these names that may go (- reads them from stdin)")  # fmt: skip
    parser.add_argument("-0", "--null", action="store_true", help="names end with NUL instead of a new line")
    add_catalogue(parser)


def run(arguments: argparse.Namespace) -> int:
    """Decide, and print it.

    The status is 0 when every copy has a proved snapshot (with ``--ask``: when all of these may go), 1 when one has
    none, so that nothing of it may go (with ``--ask``: when one must stay), 75 when it is not known.
    """
    names = _names(arguments)
    try:
        found = _decided(arguments)
        if arguments.ask or arguments.prune_list:
            for note in (each for one in found for each in one.decision.notes):
                print(redact(f"note: {printable(note)}"), file=sys.stderr)
        if arguments.ask:
            return _answer(found, names, arguments)
        if arguments.prune_list:
            _print_names([each.point.key for one in found for each in one.decision.go], null=arguments.null)
        elif arguments.json:
            print(redact(json.dumps(as_json(arguments.target, found), indent=1)))
        else:
            print(redact("\n".join(line for each in found for line in _lines(arguments.target, each))))
    except UsageProblem:
        raise
    except RestoreDrillError as problem:
        print(redact(f"restore-drill retention: {problem}\nNothing may go."), file=sys.stderr)
        return COULD_NOT_VERIFY  # it is not known what may go: then nothing may
    return 0 if all(each.decision.proved for each in found) else 1


def _names(arguments: argparse.Namespace) -> list[str]:
    """The names that are asked about, those of standard input among them."""
    if (arguments.prune_list or arguments.ask) and not arguments.copy:
        raise UsageProblem("names mean something in one store only", remedy="Add --copy NAME.")
    names: list[str] = []
    for each in arguments.ask or ():
        if each == "-":
            read = sys.stdin.buffer.read().decode("utf-8", "surrogateescape")
            names += [name for name in read.split("\0" if arguments.null else "\n") if name]
        else:
            names.append(each)
    return names


def _decided(arguments: argparse.Namespace) -> list[Retained]:
    from restore_drill.catalogue.load import load
    from restore_drill.lifecycle import fit_demo, start_demo
    from restore_drill.retaining import retained, sharing

    plan = fit_demo(load(find_catalogue(arguments), references=False))
    if arguments.target not in plan.by_name:
        raise unknown_target(plan, arguments.target)
    target = plan.by_name[arguments.target]
    copies, others = _copies(target, arguments.copy), sharing(plan, target)
    estate = start_demo(plan)  # its offsite store must be served
    try:
        proofs = _proofs(plan, {target.name, *(each.name for each in others)})
        return retained(target, copies, proofs, others, [each for known in plan.targets for each in known.sets])
    finally:
        if estate is not None:
            estate.close()


def _copies(target: PlannedTarget, name: str | None) -> tuple[PlannedCopy, ...]:
    if name is None:
        return target.copies
    if name not in target.copies_by_name:
        known = ", ".join(target.copies_by_name)
        raise UsageProblem(f"{target.name} has no copy {name!r}", remedy=f"It has {known}.")
    return (target.copies_by_name[name],)


def _proofs(plan: Plan, targets: Set[str]) -> Proofs:
    """What the ledger proves; of one that was tampered with, nothing is known.

    Raises:
        CouldNotVerify: There is no ledger, it cannot be read, or it is not what was written.
    """
    from restore_drill.chronicle import Chronicle
    from restore_drill.cli.ledger import known_runs
    from restore_drill.cli.status_reading import entries
    from restore_drill.ledger.reading import understood
    from restore_drill.ledger.signing import read_public_keys
    from restore_drill.ledger.verify import verify
    from restore_drill.policy.proofs import Proofs

    chronicle = Chronicle.of_plan(plan)
    ledger = chronicle.ledger
    if not chronicle.history.initialised:
        raise CouldNotVerify(
            "nothing is known of earlier drills: the state was never initialised",
            looked_at=chronicle.history.state.where(),
            remedy="Run restore-drill baseline init --catalogue " + plan.catalogue,
        )
    keys = read_public_keys(plan.ledger.public_keys)
    verification = verify(ledger, keys, required=plan.ledger.required, known_runs=known_runs(plan))
    if verification.problems:
        raise CouldNotVerify(
            f"the ledger is not what was written: {verification.problems[0]}",
            looked_at=ledger.where(),
            remedy="See restore-drill ledger verify. What somebody may have changed proves nothing.",
        )
    if keys and verification.entries and not verification.signed:
        raise CouldNotVerify(
            "nobody signed any entry of the ledger, and the catalogue names the keys that do",
            looked_at=ledger.where(),
            remedy="Drill with ledger.key; an entry that it signs answers for those before it.",
        )
    with understood(ledger):
        return Proofs.of((each.evidence for each in entries(ledger) if each.kind == "run"), targets=targets)


# --- what is printed --------------------------------------------------------------------------------------------------


def _answer(found: list[Retained], names: list[str], arguments: argparse.Namespace) -> int:
    (one,) = found
    from restore_drill.retaining import Answers

    answers = Answers(one)
    going, stays = [], 0
    for name in names:
        decision, key = answers.of(name)
        if decision is not None and not decision.stays:
            going.append(name)
            continue
        stays += 1
        why = decision.reasons[0].text if decision else "it is no snapshot of this copy, nor does it belong to one"
        also = f" ({printable(key)})" if decision and key.rstrip("/") != name.rstrip("/") else ""
        print(redact(f"must stay: {printable(name)}{also}: {why}"), file=sys.stderr)
    _print_names(going, null=arguments.null)
    return 1 if stays else 0


def _print_names(names: list[str], *, null: bool) -> None:
    """Names as bytes, exactly as the store has them: a job removes by them.

    Raises:
        CouldNotVerify: A name has a new line in it, and lines would be taken for names.
    """
    if not null and any("\n" in name for name in names):
        raise CouldNotVerify("a name has a new line in it", remedy="Ask with -0, and read names that end with NUL.")
    end = b"\0" if null else b"\n"
    sys.stdout.flush()
    written = b"".join(name.encode("utf-8", "surrogateescape") + end for name in names)
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is not None:
        buffer.write(written)
        buffer.flush()
    else:
        sys.stdout.write(written.decode("utf-8", "backslashreplace"))


def _lines(target: str, found: Retained) -> Iterator[str]:
    decision = found.decision
    total = len(decision.decisions)
    yield (
        f"{target}/{decision.copy}: {total} snapshot{'' if total == 1 else 's'}, {len(decision.stay)} must stay, "
        f"{len(decision.go)} may go"
    )
    yield f"  newest proved: {_proved(decision)}"
    yield from (f"  note: {note}" for note in decision.notes)
    for each in decision.decisions:
        word = "stays " if each.stays else "may go"
        unproved = f"; not proved: {each.unproved}" if each.unproved else ""
        yield f"  {word}  {each.point.id}  {printable('; '.join(reason.text for reason in each.reasons) + unproved)}"


def _proved(decision: CopyDecision) -> str:
    proved = decision.proved
    if proved is None or proved.proof is None:
        return "NONE. Nothing of this copy may go before a whole drill of it passed"
    return f"{proved.point.id}, by the run {proved.proof.run} ({format_instant(proved.proof.finished)})"


def as_json(target: str, found: list[Retained]) -> dict[str, Any]:
    """What was decided, as a prune job reads it."""
    told: dict[str, Any] = printable_values(
        {
            "form": _FORM,
            "target": target,
            "at": as_instant(max(each.at for each in found)),
            "copies": [_copy_as_json(each) for each in found],
        }
    )
    return told


def _copy_as_json(found: Retained) -> Mapping[str, Any]:
    decision = found.decision
    return {
        "copy": found.copy.name,
        "store": found.copy.store_name,
        "where": found.where,
        "newest_proved": decision.proved.point.id if decision.proved else None,
        "may_go": len(decision.go),
        "must_stay": len(decision.stay),
        "notes": list(decision.notes),
        "snapshots": [_snapshot_as_json(each) for each in decision.decisions],
    }


def _snapshot_as_json(decision: Decision) -> Mapping[str, Any]:
    point, proof = decision.point, decision.proof
    found: dict[str, Any] = {
        "snapshot": point.id,
        "key": point.key,
        "kind": point.kind,
        "taken_at": as_instant(point.taken_at),
        "decision": "stay" if decision.stays else "go",
        "reasons": [{"rule": each.rule, "text": each.text} for each in decision.reasons],
        "proved_by": {"run": proof.run, "finished": as_instant(proof.finished)} if proof else None,
    }
    return {**found, **({"not_proved": decision.unproved} if decision.unproved else {})}
