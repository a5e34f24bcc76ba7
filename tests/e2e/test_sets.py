"""Targets that belong together: back to one moment, agreeing with each other, and an application over all of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support import shop_set
from tests.support.documents import follow
from tests.support.installed import ROOT, environment
from tests.support.leftovers import EngineView
from tests.support.project import Outcome, Project
from tests.support.shop_set import UPLOADS, application, back_up, declare, dump, tree

_SET = ("-k", "test_set_")
_QUERY, _BOOT = "shop-db//set-query/shop/every-upload-is-a-file", "shop-db//set-boot/shop"
_ALL = ["shop-db//set/shop", _QUERY, _BOOT, "shop-db//set-disposed/shop"]


@pytest.fixture
def pair(tmp_path: Path) -> Project:
    """A database in a file, and a tree beside it, of one moment."""
    tmp_path.chmod(0o711)
    project = Project(tmp_path / "project", ["shop-db", "shop-files"])
    declare(project, {"engine": "sqlite", "ending": ".db"})
    back_up(project, "shop-db", shop_set.database(), ".db")
    back_up(project, "shop-files", tree(), ".tar")
    project.write()
    return project


def test_a_server_files_and_an_application_come_back_together(
    tmp_path: Path, stand_in: Callable[[str], str], require_engine: Any
) -> None:
    tmp_path.chmod(0o711)
    shop = Project(tmp_path / "project", ["shop-db", "shop-files"])
    sandbox = {"kind": "container", "image": stand_in("postgres"), "pull": "never"}
    made = declare(shop, {"engine": "postgres", "sandbox": sandbox, "ending": ".sql"})
    served = {"hosts": {"db.internal": "shop-db"}, "logins": {"shop-db": "shop"}, "mounts": {"shop-files": "/srv/shop"}}
    made["application"] = application(stand_in("python"), "db.internal:5432", **served)
    back_up(shop, "shop-db", dump(), ".sql")
    back_up(shop, "shop-files", tree(), ".tar")
    shop.write()
    assert "ok      application of the set shop: Docker Engine" in shop.command("doctor").stdout
    outcome = shop.run()
    assert outcome.status == 0 and not outcome.causes, outcome.screen
    assert [outcome.verdicts[each] for each in _ALL] == ["passed"] * 4
    (told,) = outcome.evidence["sets"]
    assert (told["set"], told["target"], told["scope"], told["verdict"]) == ("shop", "shop-db", "whole", "passed")
    assert [(each["target"], each["copy"], each["newer"]) for each in told["members"]] == [
        ("shop-db", "nas", 0), ("shop-files", "nas", 0)
    ]  # fmt: skip
    assert all(each["isolation"]["network"] == "none" and each["snapshot"]["sha256"] for each in told["members"])
    assert told["application"]["network"] == "none" and told["application"]["status"] == 200
    assert told["application"]["reaches"] == ["shop-db at 127.0.0.2", "db.internal at 127.0.0.2"]
    assert told["disposal"]["left"] == 0 and len(told["disposal"]["confirmed"]) == 2
    # Each copy has its own drill beside, which counts as ever; the set's restores are no drills of a copy.
    assert set(outcome.drills) == {"shop-db/nas", "shop-files/nas"}
    assert {drill["scope"] for drill in outcome.drills.values()} == {"whole"}
    assert [each["target"] for each in outcome.evidence["population"]] == ["shop-db", "shop-files"]
    outcome.check_whole()
    assert outcome.properties("test_set_is_restored[critical/shop-db/shop]")["set"] == "shop"
    EngineView(require_engine, shop).check_empty()
    assert shop.left == []
    summary = (outcome.directory / "summary.md").read_text("utf-8")
    assert "| `shop` | passed | `shop-db / nas`, `shop-files / nas` | 0 s (5 min) |" in summary
    assert '<a href="#t-shop-db">shop</a>' in (outcome.directory / "report.html").read_text("utf-8")
    published = "".join(path.read_text("utf-8") for path in outcome.directory.glob("*.*") if path.suffix != ".jsonl")
    assert "picture" not in published, "no name of a file"


_BROKEN = {"SHOP_BROKEN": "yes"}


@pytest.mark.parametrize(
    ("uploads", "rule", "causes", "said"),
    [
        (UPLOADS, {}, {}, ""),
        (
            [number for number in UPLOADS if number != 7], {"within": "10s"}, {_QUERY: "failed", _BOOT: "failed"},
            "the application answers with status 503, expected 200 and a certain text from port 8080 within 10 s",
        ),
        (
            UPLOADS, {"within": "10s", "environment": _BROKEN}, {_BOOT: "failed"},
            "the application answers with status 500, expected 200 and a certain text from port 8080 within 10 s",
        ),
    ],
    ids=["good", "a file is missing", "it is broken"],
)  # fmt: skip
def test_the_application_answers_for_what_came_back(
    pair: Project, stand_in: Callable[[str], str], require_engine: Any,
    uploads: list[int], rule: dict[str, Any], causes: dict[str, str], said: str,
) -> None:  # fmt: skip
    mounts = {"shop-db": "/srv/data/shop.db", "shop-files": "/srv/shop"}
    made = application(stand_in("python"), "/srv/data/shop.db", mounts=mounts)
    made |= {**rule, "environment": {**made["environment"], **rule.get("environment", {})}}
    pair.catalogue["sets"]["shop"]["application"] = made
    back_up(pair, "shop-files", tree(uploads), ".tar")
    pair.write()
    outcome = pair.run(*_SET)
    assert outcome.causes == causes, outcome.screen
    assert outcome.cases[_BOOT].get("message", "") == said
    if _QUERY in causes:
        assert (
            outcome.cases[_QUERY]["message"] == "every-upload-is-a-file: 1 of 12 rows of shop-db are not in shop-files"
        )
        assert "picture 7.png" in outcome.screen and "picture" not in json.dumps(outcome.evidence)
    EngineView(require_engine, pair).check_empty()
    assert pair.left == []


def test_the_document_can_be_followed(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    require_program("sqlite3")
    followed = follow(ROOT / "docs/sets.md", tmp_path, environment().variables)
    assert [command for command in followed if command.startswith("pytest")] == [
        "pytest drills/ -k test_set_", "pytest drills/"
    ]  # fmt: skip


def _needs_a_human(outcome: Outcome) -> str:
    assert outcome.directory is not None
    summary = (outcome.directory / "summary.md").read_text("utf-8")
    return next(line for line in summary.splitlines() if line.startswith("### Needs a human"))


def test_a_database_older_than_its_files_has_no_common_moment_with_them(pair: Project) -> None:
    pair.artifact("shop-db").unlink()
    back_up(pair, "shop-db", shop_set.database(), ".db", age=timedelta(minutes=40))
    outcome = pair.run()
    assert outcome.causes == {"shop-db//set/shop": "failed"}, outcome.screen
    assert outcome.blocked == {"shop-db//set-query/shop/every-upload-is-a-file": "set"}
    message = outcome.cases["shop-db//set/shop"]["message"]
    assert message.startswith("the targets have no common moment: their newest snapshots lie 40 min apart (shop-db ")
    assert outcome.evidence["sets"][0]["spread_seconds"] == 2400
    outcome.check_whole()
    assert _needs_a_human(outcome) == "### Needs a human: 1 cause"
    assert "shop-db: set/shop" in pair.command("status").stdout
    # Whoever selects the query alone is told the cause there; that this may fail, nobody approved.
    pair.exception("shop-db", "set-query")
    pair.write()
    alone = pair.run("-k", "test_set_query")
    assert alone.causes == {"shop-db//set-query/shop/every-upload-is-a-file": "failed"}, alone.screen


def test_the_newest_snapshots_that_go_together_are_taken_and_those_beside_them_are_told(pair: Project) -> None:
    for minutes, more in ((0, 2), (10, 1), (20, 0)):
        back_up(pair, "shop-db", shop_set.database(range(12 + more)), ".db", age=timedelta(minutes=minutes))
    newest = max((pair.root / "stores" / "nas" / "shop-files").glob("*.tar"))
    newest.unlink()
    back_up(pair, "shop-files", tree(), ".tar", age=timedelta(minutes=22))
    outcome = pair.run()
    assert not outcome.causes, outcome.screen
    (told,) = outcome.evidence["sets"]
    assert [each["newer"] for each in told["members"]] == [2, 0]
    assert told["members"][0]["snapshot"]["id"] != outcome.drills["shop-db/nas"]["snapshot"]["id"]
    assert told["spread_seconds"] == 120


@pytest.mark.parametrize("form", ["{time:%Y%m%dT%H%M%SZ}", "{time:%Y%m%d}T{any}", "rotated"])
def test_a_moment_that_rests_on_the_store_alone_is_told(pair: Project, form: str) -> None:
    if form == "rotated":
        pair.targets["shop-files"]["copies"]["nas"]["path"] = "shop-files/up.tar{rotation:.}"
        made = max((pair.root / "stores" / "nas" / "shop-files").glob("*.tar"))
        made.rename(made.with_name("up.tar"))
        pair.targets["shop-files"]["checksum"] = "pinned"
        pair.targets["shop-files"]["expect"] = {"newest_file": {"within": "9999d"}}
    else:
        pair.targets["shop-files"]["copies"]["nas"]["path"] = f"shop-files/{form}.tar"
    pair.write()
    outcome = pair.run(*_SET)
    assert not outcome.causes, outcome.screen
    told = "shop-files: its name does not tell its time to within 5 min" in json.dumps(outcome.evidence)
    assert told is (form != "{time:%Y%m%dT%H%M%SZ}")


def test_what_a_set_restored_is_not_kept(pair: Project) -> None:
    outcome = pair.run("--keep-restored", "-k", "test_set_ or test_snapshot_restores")
    assert outcome.status == 0 and outcome.verdicts["shop-db//set-disposed/shop"] == "passed", outcome.screen
    kept = sorted(path.name.rpartition("-")[2] for path in pair.work.glob("*/kept/*"))
    assert kept == ["db.nas", "files.nas"] and outcome.screen.count("kept for inspection: ") == 2


def test_a_cause_that_a_drill_of_its_own_bears_is_not_told_twice(pair: Project) -> None:
    pair.break_checksum("shop-db")
    outcome = pair.run()
    assert outcome.causes == {"shop-db/nas/checksum": "failed"}, outcome.screen
    own = {key: by for key, by in outcome.blocked.items() if "//set" in key}
    assert own == dict.fromkeys(["shop-db//set/shop", _QUERY], "shop-db/nas checksum")
    assert _needs_a_human(outcome) == "### Needs a human: 1 cause"
    # Without that drill the set bears it, by name.
    outcome = pair.run(*_SET)
    assert outcome.causes == {"shop-db//set/shop": "failed"}
    assert outcome.cases["shop-db//set/shop"]["message"].startswith("shop-db/nas: checksum: ")
    assert pair.left == []


def test_what_goes_wrong_in_the_set_alone_is_borne_by_it(pair: Project) -> None:
    # The target's own drill is through when the backup is exchanged: nothing but the set sees that.
    pair.file(
        "drills/conftest.py",
        "import pathlib\n\n\ndef pytest_runtest_setup(item):\n"
        "    if item.name.startswith('test_set_is_restored'):\n"
        f"        pathlib.Path({str(pair.artifact('shop-db'))!r}).write_bytes(b'SQLite format 3\\0' + bytes(5000))\n",
    )
    outcome = pair.run()
    assert outcome.causes == {"shop-db//set/shop": "failed"}, outcome.screen
    assert outcome.cases["shop-db//set/shop"]["message"].startswith("shop-db/nas: checksum: ")
    assert outcome.verdicts["shop-db/nas/checksum"] == "passed"
