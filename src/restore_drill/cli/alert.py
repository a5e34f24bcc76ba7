"""``restore-drill alert``: tell what is overdue and what was not told before; try channels; ping for merged runs."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill.catalogue.load import load
from restore_drill.cli import add_catalogue, find_catalogue
from restore_drill.errors import UsageProblem

if TYPE_CHECKING:
    from restore_drill.alerting import Delivery
    from restore_drill.chronicle import Chronicle
    from restore_drill.ledger.base import Entry
    from restore_drill.plan import Plan
    from restore_drill.policy.population import Population


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    add_catalogue(parser)
    parser.add_argument("--test", action="store_true", help="send a test message to every channel, and nothing else")
    parser.add_argument("--dry-run", action="store_true", help="say what would be sent, and send nothing")
    parser.add_argument(
        "--evidence", metavar="FILE", type=Path,
        help="the evidence of a run, such as the merged one of all shards: tell what it changed, and ping for it",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Deliver; 1 when somebody could not be told, or something could not be read."""
    if arguments.test and (arguments.dry_run or arguments.evidence):
        raise UsageProblem("--test sends a test message and nothing else", remedy="Leave the other options out.")
    plan = load(find_catalogue(arguments))
    if not plan.alerts and not plan.pings:
        remedy = "Add alerts: or pings: (docs/alerts.md)."
        raise UsageProblem("the catalogue names nobody to tell", looked_at=plan.catalogue, remedy=remedy)
    delivery = _test(plan) if arguments.test else _tell(plan, arguments.evidence, dry=arguments.dry_run)
    for line in delivery.lines():
        print(line)
    for name, message in delivery.dry.items():
        print(f"would be sent to {name}:\n{_indented(message)}")
    if not delivery.lines() and not delivery.dry:
        print("nothing to tell")
    return 1 if delivery.undelivered or delivery.problems else 0


def _test(plan: Plan) -> Delivery:
    from restore_drill.alerting.delivery import try_channels

    if not plan.alerts:
        raise UsageProblem(
            "the catalogue names no channel to test", remedy="Pings are not tested: that resets a switch."
        )
    return try_channels(plan)


def _tell(plan: Plan, evidence: Path | None, *, dry: bool) -> Delivery:
    """Look at the whole ledger, as a run's end does not; runs that crashed are put on record first."""
    from restore_drill.alerting import deliver
    from restore_drill.chronicle import Chronicle
    from restore_drill.evidence import reading

    chronicle = Chronicle.of_plan(plan)
    documents = [] if dry else list(chronicle.settle("alert"))
    if evidence is not None:
        documents.append(reading.load(evidence.read_bytes(), str(evidence)))
    now = time.time()
    population, head = _population(plan, chronicle, now)
    return deliver(plan, documents, population=population, ledger=head, now=now, dry=dry)


def _population(plan: Plan, chronicle: Chronicle, now: float) -> tuple[Population, Entry | None]:
    """What the ledger, and the catalogue as it is now, say of every copy; and the ledger's last entry."""
    from restore_drill.evidence.catalogued import population
    from restore_drill.ledger.reading import understood
    from restore_drill.policy.population import Population

    last: list[Entry] = []
    initialised = chronicle.history.initialised_at

    def documents() -> Iterator[dict[str, Any]]:
        for entry in chronicle.ledger.entries():
            last[:] = [entry]
            if entry.kind == "run":
                yield entry.evidence

    with understood(chronicle.ledger):
        found = Population.of(documents(), now=now, initialised=initialised, catalogue=population(plan))
    return found, last[0] if last else None


def _indented(message: Mapping[str, Any]) -> str:
    lines = [message["title"], *(item["text"] for item in message["items"]), message["footer"]["text"]]
    return "\n".join(f"  {line}" for text in lines for line in text.splitlines())
