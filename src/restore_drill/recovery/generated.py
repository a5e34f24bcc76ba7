"""The runbook that a drill under way would write, were it to pass: so that what is generated is drilled every night."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from restore_drill.evidence.record import encode, stage_facts
from restore_drill.model import Stage
from restore_drill.policy.proofs import Proof
from restore_drill.recovery.book import Drilled
from restore_drill.recovery.markdown import render
from restore_drill.recovery.runbook import Runbook, compose

if TYPE_CHECKING:
    from restore_drill.drill import Drill


def runbook_of(drill: Drill) -> Runbook:
    """Put it together from what the drill has measured so far; it has come as far as its restore."""
    transfer, located = drill.transfer(), drill.located()
    lines: list[dict[str, Any]] = [
        {"stage": Stage.FETCH, "facts": stage_facts(transfer)},
        {"stage": Stage.RESTORE, "facts": stage_facts(drill.restore_facts())},
    ]
    lines += [{"check": [case.case, case.detail], "facts": facts} for case, facts in drill.content_facts().items()]
    evidence = json.loads(encode({"stages": lines}))  # as the ledger would have it
    taken = located.snapshot.taken_at.timestamp()
    proof = Proof(drill.run.id, time.time(), "passed", "whole", "query", taken, snapshot=located.snapshot.id)
    return compose(Drilled(drill.target, drill.copy, proof, evidence))


def document_of(drill: Drill) -> tuple[str, str]:
    """The document, and what it calls what is there in the end."""
    runbook = runbook_of(drill)
    return render(runbook, time.time()), runbook.restored
