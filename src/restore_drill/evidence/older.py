"""What drills of older snapshots add up to: the population, what of it was ever drilled, the chance of a find."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from restore_drill.evidence.account import DrillAccount
from restore_drill.evidence.moments import stamp
from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase
from restore_drill.sampling import odds, split

if TYPE_CHECKING:
    from restore_drill.run import Run


def samples(
    run: Run, accounts: Mapping[tuple[str, str], DrillAccount], planned: Iterable[PlannedCase]
) -> list[dict[str, Any]]:
    """One entry for each copy whose older snapshots the run drew from; none where it did not sample.

    Args:
        run: Knows what was drawn.
        accounts: Its drills.
        planned: The cases that were selected.
    """
    if run.options.sampling is None:
        return []
    slots: dict[tuple[str, str], list[DrillAccount]] = {
        (case.target, split(case.copy)[0]): [] for case in planned if case.copy
    }
    for account in accounts.values():
        if account.slot:
            slots.setdefault((account.target.name, account.of), []).append(account)
    return [_sample(key, run.drawn(*key), mine, run.clock()) for key, mine in slots.items() if run.drawn(*key)]


def _sample(
    key: tuple[str, str], entry: Mapping[str, Any], accounts: Iterable[DrillAccount], now: float
) -> dict[str, Any]:
    about = {"target": key[0], "copy": key[1], "rule": entry["rule"], "seed": entry["seed"]}
    if entry.get("problem"):
        return {**about, "population": 0, "drawn": 0, "never_drilled": 0, "drilled": 0, "failed": [],
                "detection": [], "problem": entry["problem"]}  # fmt: skip
    known: Mapping[str, Any] = entry["known"]
    judged = {
        account.identity or account.drawn(entry)["identity"]: account for account in accounts if _is_judged(account)
    }
    drilled = known.keys() | judged.keys()
    # Found before, they were drawn because they are damaged; found now, they are no chance to find another one. What
    # is told is the chance of the others.
    damaged = {name for name, each in known.items() if not each["passed"]}
    damaged |= {name for name, account in judged.items() if account.verdict is Verdict.FAILED}
    bad = [each["id"] for name, each in known.items() if not each["passed"] and name not in judged]
    bad += [_id(account, entry) for account in judged.values() if account.verdict is Verdict.FAILED]
    since = min([now if name in judged else float(known[name]["at"]) for name in drilled], default=None)
    population = max(int(entry["population"]), len(drilled))
    return {
        **about,
        "population": population,
        "drawn": len(entry["drawn"]),
        "never_drilled": population - len(drilled),
        "drilled": len(drilled),
        **({} if since is None else {"since": stamp(since)}),
        "failed": sorted(bad),
        **({"accepted": entry["accepted"]} if entry.get("accepted") else {}),
        "detection": odds(population - len(damaged), len(judged.keys() - damaged), len(drilled - damaged)),
    }


def _is_judged(account: DrillAccount) -> bool:
    """Whether a drill says how its snapshot is: whole, and with a verdict."""
    return account.whole and account.verdict is not Verdict.ERROR


def _id(account: DrillAccount, entry: Mapping[str, Any]) -> str:
    """The snapshot's id: as located, or as drawn where it is bad as it lies."""
    located = account.facts("locate").get("snapshot") or {}
    return str(located.get("id") or account.drawn(entry).get("id", ""))
