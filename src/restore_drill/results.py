"""What a case concluded, as a value that travels between processes and into reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase
from restore_drill.printable import printable


@dataclass(slots=True)
class CaseResult:
    """What a case concluded, as it travels from worker to controller (plain values only).

    Attributes:
        message: The cause in one sentence, empty for a pass; may be published.
        details: File names and text values: terminal and 0600 file only.
        exception: Id of the approved exception that covers it.
    """

    case: PlannedCase
    verdict: Verdict
    message: str = ""
    remedy: str = ""
    expected: Any = None
    actual: Any = None
    tolerance: str = ""
    notes: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    exception: str = ""
    blocked_by: str = ""

    def __post_init__(self) -> None:
        """Make a command in the remedy one that can be typed: checks know no target's name and write ``TARGET``."""
        self.remedy = self.remedy.replace(" TARGET ", f" {self.case.target} ")

    def to_wire(self) -> dict[str, Any]:
        """As plain values."""
        case = self.case
        return {
            "case": (case.target, case.copy, case.case, case.detail),
            **{name: getattr(self, name) for name in self.__slots__ if name not in ("case", "verdict")},
            "verdict": str(self.verdict),
        }

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> CaseResult:
        """From plain values."""
        rest = {name: value for name, value in data.items() if name not in ("case", "verdict")}
        return cls(PlannedCase(*data["case"]), Verdict(data["verdict"]), **rest)


def text(result: CaseResult) -> str:
    """A result as one paragraph: ``orders-db/offsite: located: no snapshot … Check the backup job.``."""
    where = "/".join(part for part in (result.case.target, result.case.copy) if part)
    what = result.case.case + (f" {result.case.detail}" if result.case.detail and result.case.case != "own" else "")
    cause = result.message.removesuffix(".")
    return printable(f"{where}: {what}: {cause}." + (f" {result.remedy}" if result.remedy else ""))
