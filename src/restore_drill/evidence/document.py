"""The evidence of a run: facts of its drills and verdicts of its cases, joined into one JSON document."""

from __future__ import annotations

import getpass
import json
import os
import platform
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill import __version__
from restore_drill.evidence import limits, record
from restore_drill.evidence.record import encode
from restore_drill.model import Verdict
from restore_drill.plan import PlannedCase, PlannedTarget
from restore_drill.policy.snapshot import broken_bounds
from restore_drill.printable import printable_values
from restore_drill.secrets import redact
from restore_drill.whole_files import write_whole

if TYPE_CHECKING:
    from restore_drill.results import CaseResult
    from restore_drill.run import Run

#: What blocks a case that did not run at all: its drill is partial.
BROKEN_OFF = ("interruption", "worker")
#: Name and version of the document's form; a reader refuses what it does not know.
FORM = "restore-drill/evidence/1"


@dataclass(slots=True)
class DrillAccount:
    """One drill of one copy: its record and the results of its cases.

    Attributes:
        planned: How many cases the catalogue asks for.
        lines: The record's lines, in order.
        results: The results of its cases.
    """

    target: PlannedTarget
    copy: str
    planned: frozenset[PlannedCase]
    lines: list[dict[str, Any]] = field(default_factory=list)
    results: list[CaseResult] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether all was restored, every planned case reported, and none of them because the run broke off."""
        if not self.target.is_full:
            return False
        return self.planned <= {result.case for result in self.results if result.blocked_by not in BROKEN_OFF}

    @property
    def passed(self) -> bool:
        """Whether nothing failed but what an exception covers, and nothing was left unverified."""
        return all(result.verdict in (Verdict.PASSED, Verdict.EXCEPTED) for result in self.results)

    @property
    def verdict(self) -> Verdict:
        """The worst of its cases."""
        return worst(result.verdict for result in self.results)

    def facts(self, stage: str) -> dict[str, Any]:
        """What a stage measured, ``{}`` when it did not."""
        return next((line["facts"] or {} for line in self.lines if line.get("stage") == stage and "facts" in line), {})

    def counts(self) -> dict[str, int]:
        """Rows by table, of every table that a case looked at; files and bytes of a tree."""
        counts: dict[str, int] = {}
        for line in self.lines:
            found: dict[str, Any] = line.get("facts") or {}
            if line.get("check", [""])[0] in ("structure", "rows"):
                counts |= found.get("counts", {})
            if line.get("check", [""])[0] == "files" and "files" in found:
                counts |= {"files": found["files"], "bytes": found["bytes"]}
        return counts

    def structure(self) -> dict[str, list[str]]:
        """Names of objects by type."""
        for line in self.lines:
            if line.get("check", [""])[0] == "structure" and line.get("facts"):
                return dict(line["facts"].get("objects", {}))
        return {}

    def excepted(self) -> frozenset[str]:
        """What failed under an exception and is no baseline: ``structure``, and ``rows:TABLE`` for each count."""
        found: set[str] = set()
        for case in (result.case for result in self.results if result.verdict is Verdict.EXCEPTED):
            if case.case == "structure":
                found.add("structure")
            elif case.case == "files":
                found |= {"rows:files", "rows:bytes"}
            elif case.case == "rows":
                found |= {f"rows:{table}" for table in (case.detail, *self._counted(case))}
        return frozenset(found)

    def _counted(self, case: PlannedCase) -> Iterator[str]:
        """The tables that a rows case looked at."""
        for line in self.lines:
            if line.get("check") == [case.case, case.detail]:
                yield from (line.get("facts") or {}).get("counts", {})

    def gaps(self) -> list[tuple[float, float]]:
        """Gaps between recovery points that broke the bound."""
        copy = self.target.copies_by_name[self.copy]
        return broken_bounds(self.facts("locate").get("intervals", ()), self.target, copy)


def drills(run: Run, results: Mapping[PlannedCase, CaseResult]) -> dict[tuple[str, str], DrillAccount]:
    """Join the records that the stages wrote with the results of the cases, by (target, copy)."""
    accounts: dict[tuple[str, str], DrillAccount] = {}
    recorded = record.read(run.directory)
    for case, result in results.items():
        if not case.copy:
            continue
        key = (case.target, case.copy)
        if key not in accounts:
            target = run.plan.by_name[case.target]
            planned = frozenset(each for each in target.cases() if each.copy == case.copy)
            accounts[key] = DrillAccount(target, case.copy, planned, recorded.get(key, []))
        accounts[key].results.append(result)
    return accounts


def build(
    run: Run,
    accounts: Mapping[tuple[str, str], DrillAccount],
    results: Mapping[PlannedCase, CaseResult],
    *,
    started: float,
    finished: float,
    not_run: Sequence[str],
    arguments: Sequence[str],
    problems: Sequence[str],
) -> dict[str, Any]:
    """The document. Times are UTC; nothing in it names a file inside a restored tree or holds a text of a row."""
    verdict = worst(result.verdict for result in results.values())
    return {
        "form": FORM,
        "run": {
            "id": run.id,
            "started": _stamp(started),
            "finished": _stamp(finished),
            "estate": "demo" if run.plan.demo else "user",
            "operator": _operator(),
            "arguments": [redact(argument) for argument in arguments],
            "ci": _ci(),
            "tools": _tools(),
            "machine": {"cores": len(os.sched_getaffinity(0)), "platform": platform.platform()},
            "concurrency": run.options.concurrency,
        },
        "catalogue": {"path": run.plan.catalogue, "sha256": run.plan.digest},
        "verdict": worst((verdict, Verdict.ERROR)) if problems else verdict,
        "problems": list(problems),
        "counts": {str(each): sum(result.verdict is each for result in results.values()) for each in Verdict},
        "not_run": list(not_run),
        "drills": [_drill(account) for account in accounts.values()],
        "targets": [
            {"target": name, "cases": [_case(result) for result in results.values() if _is_across(result, name)]}
            for name in dict.fromkeys(case.target for case in results if not case.copy)
        ],
    }


def write(path: Path, evidence: Mapping[str, Any]) -> None:
    """Write the document at once, without any secret: a reader sees the whole of it or nothing. One line a drill."""
    parts = []
    for name, value in printable_values(evidence).items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n  " + ",\n  ".join(map(encode, value)) + "\n ]"
        else:
            text = encode(value)
        parts.append(f" {json.dumps(name)}: {text}")
    write_whole(path, redact("{\n" + ",\n".join(parts) + "\n}\n").encode())


def worst(verdicts: Iterator[Verdict] | Sequence[Verdict]) -> Verdict:
    """The verdict of several: failed before error before excepted before passed; of none, error."""
    found = set(verdicts)
    for verdict in (Verdict.FAILED, Verdict.ERROR, Verdict.EXCEPTED, Verdict.PASSED):
        if verdict in found:
            return verdict
    return Verdict.ERROR


def _drill(account: DrillAccount) -> dict[str, Any]:
    target = account.target
    return {
        "target": target.name,
        "copy": account.copy,
        "store": target.copies_by_name[account.copy].store_name,
        "tier": target.tier,
        "owner": target.model.owner,
        "objectives": {"rpo_seconds": target.rpo.total_seconds(), "rto_seconds": target.rto.total_seconds()},
        "scope": "whole" if account.whole else "partial",
        **({} if target.is_full else {"depth": target.depth}),
        "verdict": account.verdict,
        "snapshot": account.facts("locate").get("snapshot"),
        "stages": [line for line in account.lines if "facts" in line],
        "cases": [_case(result) for result in account.results],
        "limits": limits.of(target, account.copy),
    }


def _case(result: CaseResult) -> dict[str, Any]:
    found = {
        "case": result.case.case,
        "detail": result.case.detail,
        "verdict": result.verdict,
        "expected": result.expected,
        "actual": result.actual,
        "tolerance": result.tolerance,
        "message": redact(result.message),
        "notes": result.notes,
        "exception": result.exception,
        "blocked_by": result.blocked_by,
    }
    return {name: value for name, value in found.items() if value not in ("", None, [])}


def _is_across(result: CaseResult, target: str) -> bool:
    return result.case.target == target and not result.case.copy


def _operator() -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, in a container
        user = str(os.getuid())
    return {"user": user, "host": socket.gethostname()}


def _ci() -> dict[str, str]:
    """The pipeline that ran it, as the common CI systems tell."""
    environment = os.environ
    url = environment.get("CI_JOB_URL") or environment.get("BUILD_URL") or ""
    if not url and environment.get("GITHUB_RUN_ID"):
        server, repository = environment.get("GITHUB_SERVER_URL", ""), environment.get("GITHUB_REPOSITORY", "")
        url = f"{server}/{repository}/actions/runs/{environment['GITHUB_RUN_ID']}"
    commit = environment.get("GITHUB_SHA") or environment.get("CI_COMMIT_SHA") or environment.get("GIT_COMMIT") or ""
    return {name: redact(value) for name, value in (("url", url), ("commit", commit)) if value}


def _tools() -> dict[str, str]:
    import sqlite3

    found = {"restore-drill": __version__, "python": sys.version.split()[0], "sqlite": sqlite3.sqlite_version}
    for package in ("pytest", "pytest-xdist", "boto3", "isal", "backports.zstd", "lz4", "pyrage", "cryptography"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
