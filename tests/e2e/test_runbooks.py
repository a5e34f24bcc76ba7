"""Runbooks in a run of pytest: what reports say of one that works, of one that does not, and of a bad backup."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
from tests.support.documents import follow
from tests.support.installed import ROOT, environment
from tests.support.project import Outcome, Project, database

TEXT = """\
# Recovery

## {name}

1. Stop it: `sudo systemctl stop {name}`.
2. Keep what is there: `mv /srv/{name}.db /srv/{name}.db.before`.
3. Bring it back: `{bring}`.
4. Start it: `systemctl start {name}`.

### Rollback

```sh
mv /srv/{name}.db.before /srv/{name}.db
```
"""
OPEN = 'age -d -i /root/keys/backup.txt -o /srv/sealed.db "$SNAPSHOT"'
STUBS = ["sudo", "systemctl"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Project:
    require_program("age")
    root = tmp_path_factory.mktemp("runbooks")
    root.chmod(0o711)
    project = Project(root / "project", ["sealed", "broken", "fewer", "looked-at", "excused", "worse"])
    project.work.chmod(0o711)
    identity = pyrage.x25519.Identity.generate()
    project.file("key.txt", f"{identity}\n").chmod(0o600)
    project.targets["sealed"] |= {
        "sensitive": True, "decrypt": {"age": {"identity": "file:../key.txt"}},
        "copies": {"nas": {"path": "sealed/{time:%Y%m%dT%H%M%SZ}.db.age"}},
    }  # fmt: skip
    project.put("sealed", pyrage.encrypt(database(), [identity.to_public()]), ending=".db.age")
    project.put("fewer", database(11))
    project.put("looked-at", database(11))
    _declare(project, "sealed", OPEN, {"/root/keys/backup.txt": "$KEY_AGE_IDENTITY"})
    _declare(project, "broken", f"cat {Path('/root/secret-place')} > /srv/broken.db", {})
    _declare(project, "fewer", 'cp "$SNAPSHOT" /srv/fewer.db', {})
    look = "sqlite3 /srv/looked-at.db 'select count(*) from orders'"
    _declare(project, "looked-at", f'cp "$SNAPSHOT" /srv/looked-at.db && test "$({look})" = 20', {})
    # Excused from its rows: the other cases judge what a runbook left, and one that fails still does.
    for name, bring in (("excused", 'cp "$SNAPSHOT" /srv/excused.db'), ("worse", "cp nothing /srv/worse.db")):
        project.put(name, database(11))
        _declare(project, name, bring, {})
    project.catalogue["exceptions"] = [
        {"id": f"EX-{name}", "target": name, "case": "rows", "reason": "archived in spring", "approver": "head of data",
         "expires": f"{datetime.now(UTC).date() + timedelta(days=9)}"}
        for name in ("excused", "worse")
    ]  # fmt: skip
    project.write()
    return project


def _declare(project: Project, name: str, bring: str, paths: dict[str, str]) -> None:
    project.file(f"runbooks/{name}.md", TEXT.format(name=name, bring=bring))
    rule: dict[str, Any] = {"document": f"../runbooks/{name}.md", "section": name, "stubs": STUBS}
    project.targets[name]["runbook"] = {**rule, "paths": {"/srv": "$RESTORE_DIR", **paths}, "restored": f"{name}.db"}


@pytest.fixture(scope="module")
def run(project: Project) -> Outcome:
    found = project.run()
    found.check_whole()
    assert project.left == []
    return found


def test_one_that_works_is_green_and_says_what_is_left_to_people(run: Outcome) -> None:
    assert run.verdicts["sealed/nas/runbook"] == "passed", run.screen
    told = run.drills["sealed/nas"]["runbook"]
    assert [(step["line"], step["status"], step.get("part")) for step in told["steps"]] == [
        (5, 0, None), (6, 0, None), (7, 0, None), (8, 0, None), (13, 0, "rollback"),
    ]  # fmt: skip
    assert told["sandbox"]["kind"] == "directory" and told["sandbox"]["network"]
    assert told["rollback"] == "drilled" and told["planned"] == 4 and len(told["sha256"]) == 64
    assert [(each["command"], each["line"]) for each in told["by_hand"]] == [
        ("systemctl", 5), ("systemctl", 8),
    ]  # fmt: skip
    limits = run.drills["sealed/nas"]["limits"]
    assert "runbook: systemctl was stood in for, and is left to people (line 5, 8)" in limits


def test_one_that_does_not_is_red_and_nothing_that_was_typed_is_published(project: Project, run: Outcome) -> None:
    assert run.status == 1 and run.causes == {
        "broken/nas/runbook": "failed", "fewer/nas/rows/orders": "failed", "looked-at/nas/rows/orders": "failed",
        "excused/nas/rows/orders": "excepted", "worse/nas/rows/orders": "excepted",
    }  # fmt: skip
    assert run.cases["broken/nas/runbook"]["message"] == (
        '../runbooks/broken.md: the step "broken", line 7 ended with status 1'
    )
    assert "secret-place" in run.screen
    assert run.directory is not None
    published = [path for path in run.directory.rglob("*") if path.is_file() and path.name != "details.jsonl"]
    assert len(published) > 4
    assert [path.name for path in published if b"secret-place" in path.read_bytes()] == []
    key = (project.root / "key.txt").read_text().strip()
    assert key not in run.screen and not [path for path in published if key.encode() in path.read_bytes()]


def test_what_is_wrong_with_the_backup_is_borne_by_the_case_that_says_so(run: Outcome) -> None:
    assert run.blocked["fewer/nas/runbook"] == run.blocked["looked-at/nas/runbook"] == "rows"


def test_what_an_exception_excuses_the_backup_from_holds_no_runbook_up(run: Outcome) -> None:
    assert run.verdicts["excused/nas/runbook"] == "passed", run.screen
    assert run.drills["excused/nas"]["verdict"] == "excepted"
    assert (
        "not asked of what it left, because the backup itself fails it: rows of orders"
        in (run.cases["excused/nas/runbook"]["notes"])
    )
    told = "runbook: not asked of what it left, because the backup itself fails it: rows/orders"
    assert told in run.drills["excused/nas"]["limits"]
    assert run.blocked["worse/nas/runbook"] == "rows" and run.drills["worse/nas"]["verdict"] == "error"


def test_the_page_is_followed(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("sqlite3", "sha256sum", "jq"):
        require_program(program)
    typed = follow(ROOT / "docs/runbooks.md", tmp_path, environment().variables)
    assert sum(command.startswith("pytest drills/") for command in typed) == 2
