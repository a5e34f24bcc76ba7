"""Runbooks whose steps meet a server: programs of its clients find it, and what they load into it is judged there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support import databases
from tests.support.project import Project

_POSTGRES = """\
# Shop

## Restore

1. Roles first: `createuser shop` and `createuser reader`.
2. Then `createdb shop`, and `gunzip -c /backups/shop.sql.gz | psql -v ON_ERROR_STOP=1 -q -d shop`.

## Rollback

1. `dropdb shop`
"""
_MARIADB = """\
## Restore

```bash
mariadb <<'SQL'
create database shop;
create user app@'%';
grant all on shop.* to app@'%';
SQL
gunzip -c "$SNAPSHOT" | mariadb -u root shop
```

## Rollback

```bash
mariadb -e 'drop database shop'
```
"""
_REDIS = '1. Before the server starts: `cp "$SNAPSHOT" /var/lib/redis/dump.rdb`.\n'
_VOLUME = '1. `mkdir -p /srv/wiki`\n2. `tar -C /srv/wiki -xzf "$SNAPSHOT"`\n'


@pytest.fixture
def project(tmp_path: Path, require_program: Callable[[str], str], stand_in: Callable[[str], str]) -> Project:
    for program in ("postgres", "createdb", "mariadbd", "mariadb", "redis-server"):
        require_program(program)
    made = databases.backups({"whole": b"", "fewer": b"", "cut": b""})
    chosen = {
        "shop": made["plain-good"], "kept": made["plain-good-2"], "maria": made["mariadb-good"],
        "redis": made["redis-good"], "wiki": made["volume-good"],
    }  # fmt: skip
    tmp_path.chmod(0o711)
    project = Project(tmp_path / "project", ["shop"])
    project.work.chmod(0o711)
    databases.declare(project, chosen, lambda _: "directory")
    project.targets["shop"]["sandbox"] = {"kind": "container", "image": stand_in("postgres")}
    project.targets["wiki"]["sandbox"] = {"kind": "container", "image": stand_in("app")}
    for name, (text, rule) in _runbooks().items():
        project.file(f"runbooks/{name}.md", text)
        project.targets[name]["runbook"] = {"document": f"../runbooks/{name}.md", **rule}
    project.write()
    return project


def _runbooks() -> dict[str, tuple[str, dict[str, Any]]]:
    paths = {"/backups/shop.sql.gz": "$SNAPSHOT"}
    return {
        "shop": (_POSTGRES, {"paths": paths, "restored": "shop"}),
        "kept": (_POSTGRES.replace("dropdb shop", "dropdb --if-exists other"), {"paths": paths}),
        "maria": (_MARIADB, {}),
        "redis": (_REDIS, {"paths": {"/var/lib/redis": "$RESTORE_DIR"}, "restored": "dump.rdb"}),
        "wiki": (_VOLUME, {"paths": {"/srv": "$RESTORE_DIR"}}),
    }


def test_servers_are_recovered_by_their_runbooks(project: Project) -> None:
    run = project.run()
    assert run.causes == {"kept/nas/runbook": "failed"}, run.screen
    assert "rollback at line 8: what was restored is still there: shop" in run.cases["kept/nas/runbook"]["message"]
    drilled = {drill["target"]: drill["runbook"] for drill in run.drills.values()}
    assert [drilled[name]["rollback"] for name in ("shop", "maria", "redis")] == ["drilled", "drilled", "none"]
    assert [step["line"] for step in drilled["shop"]["steps"]] == [5, 5, 6, 6, 10]
    assert run.cases["wiki/nas/runbook"]["actual"] == "2 steps, 2 cases"
    assert project.left == []
    run.check_whole()
