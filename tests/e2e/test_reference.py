"""A reviewed structure: written by a command, committed, and compared with what every drill brings back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.project import Project


def _database(directory: Path, *statements: str) -> bytes:
    path = directory / "made.db"
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(";".join(statements))
    return path.read_bytes()


ORDERS = "create table orders (id integer primary key); insert into orders values (1)"
VIEW = "create view open_orders as select * from orders"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project(tmp_path / "project", ["db"])
    made.targets["db"]["expect"] = {}
    made.write()
    made.put("db", _database(tmp_path, ORDERS, VIEW))
    return made


def test_what_is_listed_must_come_back_and_what_is_not_is_a_note(project: Project, tmp_path: Path) -> None:
    written = project.command("baseline", "reference", "db")
    assert (written.returncode, written.stderr) == (0, "")
    assert written.stdout.splitlines()[2:] == ["table: orders", "view: open_orders"]
    project.file("drills/db.structure", written.stdout)
    project.targets["db"]["expect"] = {"structure": {"reference": "db.structure"}}
    project.write()
    assert project.command("baseline", "reference", "db", "--copy", "nas").stdout == written.stdout

    good = project.run()
    assert (good.status, good.causes) == (0, {})
    facts = next(line for line in good.drills["db/nas"]["cases"] if line["case"] == "structure")
    assert facts["verdict"] == "passed"

    project.put("db", _database(tmp_path, ORDERS, "create table more (a)"), age=timedelta(minutes=-2))
    bad = project.run()
    assert bad.causes == {"db/nas/structure": "failed"}
    case = bad.cases["db/nas/structure"]
    assert case["message"] == "the reference lists what was not restored: view: open_orders"
    assert case["notes"] == ["not in the reference: table: more"]
    assert "baseline reference db" in bad.screen


def test_the_first_reference_can_be_written_where_the_catalogue_names_it_already(project: Project) -> None:
    project.targets["db"]["expect"] = {"structure": {"reference": "db.structure"}}
    project.write()
    refused = project.command("validate")
    assert refused.returncode != 0
    assert "write it with restore-drill baseline reference db" in refused.stdout + refused.stderr
    project.file("drills/db.structure", "")  # as a shell's > leaves it while the command runs
    project.file("drills/db.structure", project.command("baseline", "reference", "db").stdout)
    assert project.command("validate").returncode == 0


def test_nothing_is_listed_of_what_cannot_be_restored(project: Project) -> None:
    project.break_checksum("db")
    said = project.command("baseline", "reference", "db")
    assert (said.returncode, said.stdout) == (1, "")
    assert "restore-drill baseline: sha256 of the stored bytes is" in said.stderr
    unknown = project.command("baseline", "reference", "db", "--copy", "elsewhere")
    assert (unknown.returncode, "db has no copy 'elsewhere'. It has nas." in unknown.stderr) == (2, True)
    assert project.left == []
