"""What the records as a whole are evidence of: that runs were recorded, chained, reconciled and reviewed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from restore_drill.controls.tally import Tally


class Records:
    """The period's records.

    Args:
        tally: What its documents hold.
        population: The period's ``Population``, or ``None``.
        reviews: The reviews that the ledger holds; those of the period's runs by somebody else count.
        ledger: What verifying the ledger found, or ``None``.
    """

    def __init__(self, tally: Tally, population: Any, reviews: Iterable[Mapping[str, Any]], ledger: Any) -> None:
        self._runs = tally.runs
        self._population = population
        self._ledger = ledger
        operators = tally.operators
        self._reviewed = {
            run for run, reviewer in map(_review, reviews) if run in operators and _other(reviewer, operators[run])
        }

    def present(self, evidence: str) -> bool:
        """Whether there is any of a kind of evidence."""
        if evidence == "report":
            return bool(self._runs)
        if evidence == "ledger":
            return self._is_verified and self._ledger.entries > 0 and not self._ledger.problems
        if evidence == "population":
            return self._population is not None and self._population.totals.due > 0
        return bool(self._reviewed)

    @property
    def _is_verified(self) -> bool:
        return self._ledger is not None and self._ledger.problems is not None

    def words(self, evidence: str) -> str:
        """What there is of it."""
        return {"report": self._report, "ledger": self._chain, "population": self._due, "sign-off": self._sign_off}[
            evidence
        ]()

    def _report(self) -> str:
        total = sum(self._runs.values())
        if not total:
            return "none"
        rest = [f"{count} {ended}" for ended, count in sorted(self._runs.items()) if ended != "complete"]
        return ", ".join([f"{total} run{'' if total == 1 else 's'} on record", *rest])

    def _chain(self) -> str:
        if not self._is_verified:
            return "not verified for this report"
        if self._ledger.problems:
            return f"does not verify: {len(self._ledger.problems)} problem(s)"
        entries, unsigned = self._ledger.entries, self._ledger.unsigned
        unknown = getattr(self._ledger, "unverified", 0)
        found = f"verified: {entries} entries, {entries - unsigned - unknown} signed, {unsigned} unsigned"
        return f"{found}, {unknown} with signatures that no public key was given for" if unknown else found

    def _due(self) -> str:
        if self._population is None:
            return "not reckoned for this report"
        totals = self._population.totals
        parts = ", ".join(f"{getattr(totals, name)} {name.replace('_', ' ')}" for name in _OUTCOMES)
        return f"{totals.due} due: {parts}"

    def _sign_off(self) -> str:
        total = sum(self._runs.values())
        return (
            f"{len(self._reviewed)} of {total} runs reviewed by somebody else than their operator" if total else "none"
        )


_OUTCOMES = ("ran", "failed", "could_not_verify", "missed", "excepted")


def _review(review: Mapping[str, Any]) -> tuple[str, str]:
    return str(review.get("run", "")), str(review.get("reviewer", ""))


def _other(reviewer: str, operator: str) -> bool:
    """Whether a name is somebody else's: not the same but for case and spaces, and not none."""
    one, other = ("".join(name.split()).casefold() for name in (reviewer, operator))
    return bool(one) and one != other
