"""Drills that do not restore everything: they say so everywhere, and count for nothing but themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.postgres_server import PROGRAMS, ROWS, SHOP, running
from tests.support.project import Outcome, Project

from restore_drill.engines.postgres.server import connection

_NOT_RUN = (
    "NOT RUN at this depth: integrity, structure, rows(customers), rows(other-tables), query(some), newest, 3-2-1"
)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> bytes:
    """The shop in pg_dump's custom form."""
    for program in (*PROGRAMS, "pg_restore"):
        require_program(program)
    with running(tmp_path_factory.mktemp("postgres")) as server, server.database(*SHOP) as name:
        done = server.server.run(["pg_dump", "-Fc", "-d", connection(name)], seconds=60)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _expect() -> dict[str, Any]:
    return {
        "rows": {"customers": 200, "default": {"min": 0}},
        "queries": [{"name": "some", "sql": "select count(*) from orders", "equals": 5000}],
        "newest_record": {"sql": "select max(placed) from orders", "within": "365000d"},
    }


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, dump: bytes) -> Project:
    """Three targets over the same database: whole, its schema, and a sample of it."""
    root = tmp_path_factory.mktemp("depth") / "project"
    root.parent.chmod(0o711)
    made = Project(root, ["whole", "light", "some"])
    made.work.chmod(0o711)
    for name, target in made.targets.items():
        target["engine"], target["sandbox"] = "postgres", "directory"
        target["copies"] = {"nas": {"path": f"{name}/{{time:%Y%m%dT%H%M%SZ}}.dump"}}
        target["three_two_one"] = True
        made.put(name, dump, ending=".dump")
    made.targets["whole"]["expect"] = _expect()
    made.targets["light"] |= {"depth": "schema", "expect": _expect()}
    made.targets["some"] |= {
        "depth": "sample", "sample": ["orders", "sales.regions"],
        "expect": {"rows": {"orders": 5000, "default": {"min": 50}}},
    }  # fmt: skip
    for name in ("whole", "light", "some"):
        made.targets[name]["live"] = {"media": "disk"}
    made.write()
    return made


@pytest.fixture(scope="module")
def outcome(project: Project) -> Outcome:
    """One run over all of them, without 3-2-1 of the whole one, which has too few copies."""
    return project.run("-k", "not 3_2_1")


def test_what_is_restored_in_part_passes_what_it_can_honour(outcome: Outcome) -> None:
    assert (outcome.status, outcome.causes) == (0, {}), outcome.screen
    of = lambda name: {case["case"] for case in outcome.drills[f"{name}/nas"]["cases"]}  # noqa: E731 - said once
    content = {"integrity", "structure", "rows", "query", "newest"}
    assert of("whole") & content == content
    assert of("light") & content == set()
    assert of("some") & content == {"integrity", "rows"}


def test_the_depth_stands_in_capitals_wherever_results_are(outcome: Outcome) -> None:
    head, _, tail = outcome.screen.partition("selected: ")
    assert "DEPTH: not everything is restored of light SCHEMA, some SAMPLE (2 tables)" in head
    assert f"light: {_NOT_RUN}" in tail
    assert "light: DEPTH SCHEMA: no row is restored; the drill counts as partial" in tail
    assert "some: DEPTH SAMPLE (2 tables): rows are restored of orders, sales.regions only" in tail
    lines = {line.split()[1]: line for line in tail.splitlines() if line.lstrip().startswith("passed")}
    assert lines["critical/light/nas"].endswith("DEPTH SCHEMA")
    assert "DEPTH" not in lines["critical/whole/nas"]
    for name, depth in (("light", "SCHEMA"), ("some", "SAMPLE (2 tables)"), ("whole", None)):
        drill = outcome.drills[f"{name}/nas"]
        assert (drill.get("depth"), drill["scope"]) == (depth, "partial" if depth else "whole")
        properties = [outcome.properties(case) for case in outcome.testcases if f"/{name}/" in case]
        assert {each.get("depth") for each in properties} == {depth}
    assert _NOT_RUN in outcome.drills["light/nas"]["limits"]


def test_only_what_is_restored_is_counted(outcome: Outcome) -> None:
    counts = {
        name: next(
            (line["facts"]["counts"] for line in _lines(outcome, name) if line.get("check") == ["rows", detail]), None
        )
        for name, detail in (("whole", "other-tables"), ("some", "other-tables"), ("light", "other-tables"))
    }
    assert counts["some"] == {"sales.regions": 50}
    assert counts["whole"] == {name: rows for name, rows in ROWS.items() if name != "customers"}
    assert counts["light"] is None


def _lines(outcome: Outcome, name: str) -> list[dict[str, Any]]:
    assert outcome.directory is not None
    found = []
    for path in (outcome.directory / "facts").glob("*.jsonl"):
        found += [json.loads(line) for line in path.read_text().splitlines()]
    return [line for line in found if line["drill"][0] == name]


def test_only_what_is_restored_in_full_is_remembered(project: Project, outcome: Outcome) -> None:
    assert outcome.status == 0
    shown = {name: project.command("baseline", "show", name).stdout for name in ("whole", "light", "some")}
    assert "passed 2" in shown["whole"]
    assert [shown[name] for name in ("light", "some")] == [
        "light/nas: no whole drill has passed yet\n", "some/nas: no whole drill has passed yet\n",
    ]  # fmt: skip


def test_a_reference_is_compared_at_every_depth(project: Project, outcome: Outcome, tmp_path: Path) -> None:
    assert outcome.status == 0
    written = {name: project.command("baseline", "reference", name) for name in ("whole", "light")}
    assert [each.returncode for each in written.values()] == [0, 0], written["light"].stderr
    lines = {name: each.stdout.splitlines()[2:] for name, each in written.items()}
    assert lines["whole"] == lines["light"]
    assert "column: orders.total public.price" in lines["light"]
    project.file("drills/shop.structure", f"{written['whole'].stdout}view: gone\n")
    for name in ("light", "whole"):
        project.targets[name]["expect"]["structure"] = {"reference": "shop.structure"}
    project.write()
    again = project.run("-k", "(light or whole) and not 3_2_1")
    assert again.causes == {"light/nas/structure": "failed", "whole/nas/structure": "failed"}
    for name in ("light", "whole"):
        message = again.cases[f"{name}/nas/structure"]["message"]
        assert message == "the reference lists what was not restored: view: gone"
