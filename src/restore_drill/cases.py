"""The standard cases: the only names by which catalogue, evidence, exceptions and controls refer to them.

The order of the table is the order in which the cases of one drill run and are reported.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from restore_drill.model import Stage


@dataclass(frozen=True, slots=True)
class Case:
    """One standard case.

    Attributes:
        short: The name used in catalogues, evidence and exceptions.
        function: The test function in ``drills/`` that judges it.
        needs: The stage whose facts it judges.
        owns: The stage whose broken cause it bears, or ``None``.
        title: What it asserts, for reports.
    """

    short: str
    function: str
    needs: Stage
    title: str
    owns: Stage | None = None


_TABLE = (
    Case("located", "test_snapshot_is_located", Stage.LOCATE, "The store holds a complete snapshot", Stage.LOCATE),
    Case("rpo", "test_snapshot_is_within_rpo", Stage.LOCATE, "It is not older than the RPO"),
    Case("gap", "test_no_gap_exceeds_rpo", Stage.LOCATE, "No recovery point is missing since the last drill"),
    Case("fetched", "test_snapshot_is_fetched", Stage.FETCH, "It was read whole and unchanged", Stage.FETCH),
    Case("checksum", "test_checksum_matches", Stage.VERIFY, "The recorded digest matches", Stage.VERIFY),
    Case("encrypted", "test_encrypted_at_rest", Stage.UNPACK, "Sensitive data is unreadable without the key"),
    Case("unpacks", "test_snapshot_unpacks", Stage.UNPACK, "It decrypts, decompresses and unpacks", Stage.UNPACK),
    Case("chain", "test_chain_is_complete", Stage.CHAIN, "Every link it needs is there and in order", Stage.CHAIN),
    Case("restores", "test_snapshot_restores", Stage.RESTORE, "The engine brings it back", Stage.RESTORE),
    Case("rto", "test_restore_meets_rto", Stage.RESTORE, "It is back within the RTO"),
    Case("integrity", "test_integrity", Stage.CONTENT, "The engine's own checks are clean"),
    Case("structure", "test_structure", Stage.CONTENT, "No object vanished and no table was emptied"),
    Case("rows", "test_row_count", Stage.CONTENT, "The table has the rows it should have"),
    Case("query", "test_query", Stage.CONTENT, "The question has the right answer"),
    Case("files", "test_files", Stage.CONTENT, "The tree has the files it should have"),
    Case("newest", "test_newest_record", Stage.CONTENT, "The newest record is as fresh as the snapshot"),
    Case("smoke", "test_smoke", Stage.CONTENT, "The application runs on it and answers"),
    Case("check", "test_check", Stage.CONTENT, "A check of your own passes"),
    Case("runbook", "test_runbook_recovers", Stage.CONTENT, "The team's own runbook brings it back"),
    Case("disposed", "test_restored_copy_is_disposed", Stage.DISPOSE, "Nothing of it is left", Stage.DISPOSE),
    Case("3-2-1", "test_follows_3_2_1", Stage.TARGET, "Three copies, two media, one offsite"),
    Case("agree", "test_copies_agree", Stage.TARGET, "The copies hold the same content"),
    Case("retention", "test_retention", Stage.TARGET, "The recovery points the policy promises exist"),
    Case("expiry", "test_expiry_spares_what_is_proved", Stage.TARGET, "The last proved backup is not about to go"),
    Case("exceptions", "test_exceptions_are_current", Stage.TARGET, "No exception has expired"),
    Case("set", "test_set_is_restored", Stage.TARGET, "Targets come back together, to a common moment"),
    Case("set-query", "test_set_query", Stage.TARGET, "What one of them knows agrees with what another holds"),
    Case("set-boot", "test_set_application_answers", Stage.TARGET, "The application runs on all of it"),
    Case("set-disposed", "test_set_is_disposed", Stage.TARGET, "Nothing of what came back together is left"),
)

CASES: dict[str, Case] = {case.short: case for case in _TABLE}
#: The cases of sets: several targets brought back together, reported with the first of them.
SET_CASES: frozenset[str] = frozenset({"set", "set-query", "set-boot", "set-disposed"})
BY_FUNCTION: dict[str, Case] = {case.function: case for case in _TABLE}
ORDER: dict[str, int] = {case.short: index for index, case in enumerate(_TABLE)}


def in_ids(detail: str) -> str:
    """A detail as node ids have it, in ASCII letters, digits, ``_``, ``.`` and ``-``: others would be escaped."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", detail) or "-"


#: The stages in the order in which they run.
POSITION: dict[Stage, int] = {stage: position for position, stage in enumerate(Stage)}

#: Which case bears the cause when a stage breaks.
OWNER: dict[Stage, str] = {case.owns: case.short for case in _TABLE if case.owns}
