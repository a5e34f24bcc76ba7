"""Which way of ending processes the other tests of this package went through."""

from __future__ import annotations

import os

from restore_drill.sandboxes.directory import DirectorySandbox


def test_facts_say_how_processes_are_kept_apart(sandbox: DirectorySandbox) -> None:
    facts = sandbox.facts()
    refused = any("process namespace" in line or "user namespace" in line for line in facts["refused"])
    assert (facts["processes"] == "shared") is refused
    assert facts["processes"] == os.environ.get("RESTORE_DRILL_EXPECT_PROCESSES", facts["processes"])
