"""A target's runbook in the catalogue: what it means, and the place of each mistake."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restore_drill.catalogue.problems import CatalogueInvalid
from restore_drill.plan import Plan

CATALOGUE = """\
version: 1
stores:
  nas: {{url: file:///backups, media: disk}}
  offsite: {{url: s3://b/p, media: object-storage, offsite: true}}
defaults: {{timezone: UTC}}
targets:
  crm:
    tier: critical
    engine: toy
    copies:
      nas: {{path: "crm/{{time:%Y%m%d_%H%M%S}}.db"}}
      offsite: {{path: "crm/{{time:%Y%m%d_%H%M%S}}.db"}}
    {depth}
    runbook: {runbook}
"""


@pytest.fixture
def written(here: Path, plan: Callable[..., Plan]) -> Callable[..., Plan]:
    (here / "crm.md").write_text("# CRM\n\n1. `cp a b`\n\n# Empty\n\nNothing to type.\n")
    return lambda runbook, depth="": plan(CATALOGUE.format(runbook=runbook, depth=depth))


def test_it_is_a_case_of_one_copy(written: Callable[..., Plan]) -> None:
    [target] = written("{document: crm.md}").targets
    assert [case.copy for case in target.cases() if case.case == "runbook"] == ["nas"]
    assert target.runbook is not None and "`cp a b`" in target.runbook.text
    [target] = written("{generated: true, copy: offsite}").targets
    assert [case.copy for case in target.cases() if case.case == "runbook"] == ["offsite"]
    [target] = written("{document: crm.md}", depth="depth: full").targets
    names = [case.case for case in target.cases() if case.copy == "nas"]
    assert names.index("runbook") == names.index("disposed") - 1


def test_stubs_may_be_names_alone(written: Callable[..., Plan]) -> None:
    stubs = "[systemctl, /bin/systemctl, {command: curl, only_for: localhost}]"
    [target] = written(f"{{document: crm.md, stubs: {stubs}}}").targets
    rule = target.model.runbook
    assert rule is not None and [stub.command for stub in rule.stubs] == ["systemctl", "/bin/systemctl", "curl"]


@pytest.mark.parametrize(
    ("runbook", "said"),
    [
        ("{document: none.md}", "14:25: the runbook 'none.md' cannot be read: No such file or directory"),
        ("{document: crm.md, section: Mail}", "it has no headings 'Mail': its headings are 'CRM', 'Empty'"),
        ("{document: crm.md, section: Empty}", "the section 'Empty' of crm.md has no step that could be executed"),
        ("{document: crm.md, copy: tape}", "there is no copy 'tape' of crm"),
        ("{}", "give either document, a file, or generated: true"),
        ("{document: crm.md, generated: true}", "give either document, a file, or generated: true"),
        ("{generated: true, section: CRM}", "a generated runbook has no section, paths, stubs or restored"),
        ("{document: crm.md, paths: {srv: $RESTORE_DIR}}", "'srv' is no path of production"),
        ("{document: crm.md, paths: {/srv: /tmp}}", "'/tmp' is no place in the sandbox"),
        ("{document: crm.md, paths: {/srv: $RESTORE_DIR/../x}}", "is no place in the sandbox"),
        ("{document: crm.md, stubs: [systemctl stop]}", "'systemctl stop' is no name of a program"),
        ("{document: crm.md, stubs: [curl, {command: /usr/bin/curl, says: ok}]}", "two stubs are called 'curl'"),
        ("{document: crm.md, restored: ../x}", "must be a name below $RESTORE_DIR"),
    ],
    ids=lambda each: each[:40],
)
def test_mistakes_are_told_with_their_place(written: Callable[..., Plan], runbook: str, said: str) -> None:
    with pytest.raises(CatalogueInvalid) as caught:
        written(runbook)
    assert said in str(caught.value)
