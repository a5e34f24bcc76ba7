"""What a case concluded, as people read it."""

from __future__ import annotations

from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase
from restore_drill.results import CaseResult, text


def test_a_command_in_a_remedy_can_be_typed() -> None:
    remedy = "restore-drill baseline accept TARGET --table t --reason ..."
    result = CaseResult(PlannedCase("orders-db", "nas", "rows", "t"), Verdict.FAILED, "t has 0 rows", remedy)
    assert result.remedy == "restore-drill baseline accept orders-db --table t --reason ..."
    assert text(result) == f"orders-db/nas: rows t: t has 0 rows. {result.remedy}"
    assert CaseResult.from_wire(result.to_wire()) == result
