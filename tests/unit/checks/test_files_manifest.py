"""A manifest that cannot be used is reported once: by the checksum case where that runs, else by the files case."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from restore_drill.catalogue.expect import FileRules
from restore_drill.checks.base import Baseline, CheckContext
from restore_drill.checks.files import FilesCheck
from restore_drill.errors import Blocked
from restore_drill.model import Artifact, Snapshot, Verdict

_FACTS = {"files": 3, "bytes": 30, "must_exist": {}, "must_not_exist": {}, "manifest": {"problem": "line 1 is none"}}


def context(selected: Iterable[str], recorded: str | None = "SHA256SUMS", **rule: Any) -> CheckContext:
    snapshot = Snapshot(datetime(2026, 1, 1, tzinfo=UTC), (Artifact("2026-01-01/", -1, 0.0),))
    files = FileRules.model_validate(rule) if rule else None
    return CheckContext(
        "", SimpleNamespace(files=files), snapshot, Baseline(), manifest=recorded, selected=frozenset(selected)
    )


def test_the_checksum_case_bears_it_where_it_runs() -> None:
    with pytest.raises(Blocked, match="blocked by checksum: line 1 is none"):
        FilesCheck().judge(_FACTS, context(["checksum", "files"]))


def test_a_good_manifest_blocks_nothing() -> None:
    good = {**_FACTS, "manifest": {"listed": 3, "verified": 3, "mismatched": 0, "missing": 0, "extra": 0}}
    assert FilesCheck().judge(good, context(["checksum", "files"])).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("selected", "manifest", "rule"),
    [
        (["files"], "SHA256SUMS", {}),
        (["checksum", "files"], None, {"manifest": "SHA256SUMS"}),
        (["checksum", "files"], "SHA256SUMS", {"manifest": "other/SHA256SUMS"}),
    ],
    ids=["checksum is not selected", "the manifest of an archive", "another manifest"],
)
def test_else_the_files_case_bears_it(selected: list[str], manifest: str | None, rule: dict[str, Any]) -> None:
    finding = FilesCheck().judge(_FACTS, context(selected, manifest, **rule))
    assert (finding.verdict, finding.message) == (Verdict.FAILED, "the manifest cannot be used: line 1 is none")


def test_what_else_is_wrong_is_said_beside_it() -> None:
    facts = {**_FACTS, "must_exist": {"etc/app.toml": 0}}
    finding = FilesCheck().judge(facts, context(["checksum", "files"], must_exist=["etc/app.toml"]))
    assert (finding.verdict, finding.message) == (Verdict.FAILED, "nothing matches etc/app.toml")
