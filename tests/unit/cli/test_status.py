"""``restore-drill status``: what it says, and with which exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.documents import follow
from tests.support.evidence import Target, document, stamp

from restore_drill.cli import main
from restore_drill.ledger.directory import DirectoryLedger

FIRST = datetime(2026, 3, 2, 2, tzinfo=UTC)
DAY = timedelta(days=1)
ORDERS, WIKI = Target("orders-db"), Target("wiki", "important", copies=("nas",))
Said = tuple[int, str]


class Estate:
    """A catalogue, a state with a ledger, a clock, and what ``status`` says of them."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.root = root
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.first = FIRST
        self.ledger = DirectoryLedger(root / "state")
        self.catalogue: dict[str, Any] = {
            "version": 1,
            "state": "file:../state",
            "stores": {name: {"url": f"file:../stores/{name}", "media": "disk"} for name in ("nas", "offsite")},
            "defaults": {"timezone": "UTC", "three_two_one": False},
            "targets": {},
        }
        for name in ("drills", "state", "stores/nas", "stores/offsite"):
            (root / name).mkdir(parents=True)
        (root / "state" / "restore-drill.json").write_text(json.dumps({"version": 1, "initialised": stamp(FIRST)}))
        for target in (ORDERS, WIKI):
            self.catalogue["targets"][target.name] = {
                "tier": target.tier,
                "engine": "sqlite",
                "copies": {copy: {"path": f"{target.name}/{{time:%Y%m%d}}.db.gz"} for copy in target.copies},
            }

    def night(self, number: float, **more: Any) -> None:
        """A run in that night, of which the ledger has an entry."""
        self.ledger.append("run", document(self.first + number * DAY, **{"targets": (ORDERS, WIKI), **more}))

    def write(self) -> Path:
        """Write the catalogue."""
        path = self.root / "drills" / "targets.yaml"
        path.write_text(yaml.safe_dump(self.catalogue, sort_keys=False))
        return path

    def status(self, at: float, *arguments: str) -> Said:
        """The exit status, and the screen."""
        path = self.write()
        self._monkeypatch.setattr("time.time", (FIRST + at * DAY).timestamp)
        self._monkeypatch.setenv("COLUMNS", "100")
        status = main(["status", "--catalogue", str(path), *arguments])
        said = self._capsys.readouterr()
        return status, said.out + said.err

    def plain(self, at: float, *arguments: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = json.loads(self.status(at, "--json", *arguments)[1])
        return found


@pytest.fixture
def estate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Estate:
    return Estate(tmp_path, monkeypatch, capsys)


def test_a_night_that_was_left_out_is_told_and_its_twin_is_good(estate: Estate) -> None:
    for number in (0, 1):
        estate.night(number)
    status, said = estate.status(1.2)
    assert (status, said.splitlines()[0]) == (0, "All 3 copies are good and none is overdue.")
    status, said = estate.status(3.3)  # two nights later
    assert status == 1
    assert said.splitlines()[0] == "2 of 3 copies are overdue."
    assert "missed: orders-db/nas: by 2026-03-05 02:00Z" in said
    assert "OVERDUE 1 d" in said
    estate.night(3.31)
    status, said = estate.status(3.32)
    assert status == 0  # what was missed stays on record, and nothing is overdue any more
    assert "missed: orders-db/nas: by 2026-03-05 02:00Z" in said


def test_failing_says_since_when_and_why(estate: Estate) -> None:
    estate.night(0)
    estate.night(1, verdicts={"orders-db/nas/restores": "failed"})
    estate.night(2, verdicts={"orders-db/nas/restores": "failed"})
    status, said = estate.status(2.1)
    assert status == 1
    assert said.splitlines()[0] == "1 is failing since 2026-03-03 (orders-db/nas: restores)."
    assert "restores is broken: made by a test" in said.splitlines()[1]
    assert ".FF" in said
    estate.night(2.2)
    assert estate.status(2.3)[0] == 0


def test_a_failing_copy_that_is_taken_out_of_the_catalogue_is_seen(estate: Estate) -> None:
    estate.night(0)
    estate.night(1, verdicts={"wiki/nas/restores": "failed"})
    assert "Left the catalogue" not in estate.status(1.1)[1]
    del estate.catalogue["targets"]["wiki"]
    estate.night(2, targets=(ORDERS,))
    status, said = estate.status(2.1)
    assert status == 0 and "Left the catalogue: wiki/nas on 2026-03-04, failing since 2026-03-03." in said
    (left,) = estate.plain(2.1)["left_catalogue"]
    assert (left["target"], left["at"]) == ("wiki", "2026-03-04T02:00:00Z")
    assert "Left the catalogue" not in estate.status(2.1, "--from", "2026-03-01", "--to", "2026-03-03")[1]


def test_what_could_not_be_verified_is_neither_good_nor_bad(estate: Estate) -> None:
    estate.night(0, verdicts={"wiki/nas/located": "error"})
    status, said = estate.status(0.1)
    assert (status, "1 could not be verified since 2026-03-02 (wiki/nas: located)." in said) == (75, True)


def test_a_broken_policy_across_copies_is_told(estate: Estate) -> None:
    estate.catalogue["targets"]["orders-db"]["three_two_one"] = True
    estate.night(0, verdicts={"orders-db//3-2-1": "failed"})
    status, said = estate.status(0.1)
    assert (status, said.splitlines()[0]) == (1, "across copies orders-db: 3-2-1 is not passed.")
    assert estate.status(0.1, "--target", "wiki")[0] == 0
    del estate.catalogue["targets"]["orders-db"]["three_two_one"]
    assert estate.status(0.1)[0] == 0, "no run will ever ask for it again"


def test_the_reckoning_adds_up_and_is_of_the_period(estate: Estate) -> None:
    for number in range(4):
        estate.night(number, verdicts={"orders-db/nas/rpo": "failed"} if number == 1 else None)
    found = estate.plain(3.1, "--from", "2026-03-03", "--to", "2026-03-04")["period"]
    assert {name: found[name] for name in ("due", "ran", "failed", "missed")} == {
        "due": 4, "ran": 3, "failed": 1, "missed": 0
    }  # fmt: skip
    assert [each["outcome"] for each in found["not_passed"]] == ["failed"]
    assert found["tiers"].keys() == {"critical"}
    of_one = estate.plain(3.1, "--period", "2026-03", "--target", "orders-db")
    assert (of_one["period"]["due"], len(of_one["copies"])) == (6, 2)
    assert estate.status(3.1, "--period", "2026-13")[0] == 2
    assert estate.status(3.1, "--target", "wikki")[1].count("Did you mean wiki?") == 1


def test_every_line_fits_a_terminal(estate: Estate) -> None:
    for number in range(40):
        estate.night(number, verdicts={"orders-db/nas/rpo": "failed"} if number % 7 == 3 else None)
    _, said = estate.status(39.1)
    assert max(len(line) for line in said.splitlines() if str(estate.root) not in line) <= 100
    assert "\x1b" not in said


def test_exceptions_are_told_with_what_became_of_them(estate: Estate) -> None:
    common = {"reason": "replaced in spring", "approver": "the ciso", "expires": "2026-03-31"}
    estate.catalogue["exceptions"] = [
        {"id": name, "target": "orders-db", "copy": "nas", "case": case, **common, "expires": expires}
        for name, case, expires in (
            ("EX-1", "rpo", "2026-03-31"), ("EX-2", "gap", "2026-03-31"), ("EX-3", "rto", "2026-03-02"),
            ("EX-4", "fetched", "2026-03-31"),
        )
    ]  # fmt: skip
    known = [
        {"id": "EX-1", "target": "orders-db", "case": "rpo", **common},
        {"id": "EX-2", "target": "orders-db", "case": "gap", **common, "state": "stale"},
    ]
    estate.night(0, verdicts={"orders-db/nas/rpo": "excepted"}, exceptions=known)
    status, said = estate.status(1.1)
    lines = [line for line in said.splitlines() if line.startswith("  EX-")]
    assert [line.split()[0] for line in lines] == ["EX-3", "EX-2", "EX-1", "EX-4"]
    assert "EXPIRED: what it covered fails now" in lines[0]
    assert "STALE: the case passes, remove it" in lines[1]
    assert "expires 2026-03-31, in 28 d, approved by the ciso: in force" in lines[2]
    assert lines[3].endswith("not exercised in any run yet")
    assert status == 0


def test_a_target_that_no_run_listed_yet_is_told_and_not_overdue(estate: Estate) -> None:
    estate.night(0, targets=(ORDERS,))
    status, said = estate.status(1.0)
    assert status == 0
    assert "In no run yet, so not counted: wiki/nas." in said
    del estate.catalogue["targets"]["orders-db"]
    status, said = estate.status(9.0)
    assert (status, "Not in this catalogue, still counted in its ledger: orders-db/nas, orders-db/offsite" in said) == (
        0,
        True,
    )


def test_a_state_that_was_never_initialised_says_how(estate: Estate) -> None:
    (estate.root / "state" / "restore-drill.json").unlink()
    status, said = estate.status(0)
    assert status == 75
    assert "restore-drill baseline init" in said


def test_before_the_first_run_drills_are_due_since_the_state_was_initialised(estate: Estate) -> None:
    status, said = estate.status(0.5)
    assert (status, said.splitlines()[0]) == (0, "None of 3 copies was drilled yet, and none is overdue.")
    status, said = estate.status(1.3)
    assert (status, said.splitlines()[0]) == (1, "2 of 3 copies are overdue.")


def _damage(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:1], b"what is this\n", *lines[1:]]))


def _cut_out(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:1], *lines[2:]]))


@pytest.mark.parametrize(
    ("change", "told"), [(_damage, "entry 2 is damaged"), (_cut_out, "entry 2 of the ledger does not follow")]
)
def test_a_ledger_that_cannot_be_trusted_is_no_pass(estate: Estate, change: Callable[[Path], None], told: str) -> None:
    for number in range(3):
        estate.night(number)
    assert estate.status(2.1)[0] == 0
    change(estate.root / "state" / "ledger" / "entries.jsonl")
    status, said = estate.status(2.1)
    assert (status, told in said) == (75, True), said


def test_nothing_is_loaded_that_a_directory_does_not_need(estate: Estate) -> None:
    estate.night(0)
    estate.status(0.1)
    code = """
import sys
from restore_drill.cli import main
main(["status", "--catalogue", sys.argv[1]])
print(sorted({"pytest", "boto3", "jinja2", "docker"} & set(sys.modules)))
"""
    source = str(Path(sys.modules["restore_drill"].__file__ or "").parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code, str(estate.root / "drills" / "targets.yaml")],
        env={**os.environ, "PYTHONPATH": source}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


# --- what no target covers --------------------------------------------------------------------------------------------


def put(estate: Estate, key: str, size: int = 10) -> None:
    path = estate.root / "stores" / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)


OWN = (
    "20260302.db.gz", "20260302.db.gz.sha256", "20260302.db.sha256", "SHA256SUMS", "SHA256SUMS.asc",
    "20260303.db.gz.part", ".20260303.db.gz.a1B2c3",
)  # fmt: skip


def test_backups_that_no_target_covers_are_listed_by_place(estate: Estate) -> None:
    estate.night(0)
    for name in OWN:
        put(estate, f"nas/orders-db/{name}")
    put(estate, "nas/SHA256SUMS")  # it lists what lies below
    status, said = estate.status(0.1, "--uncovered")
    assert (status, "nothing, all 8 objects belong to a target" in said) == (0, True), said
    for day in range(1, 4):
        put(estate, f"nas/payroll/2026030{day}/dump.sql.gz", 1000)
    put(estate, "nas/orders-db/20260302.db.gz.bak")
    put(estate, "nas/orders-db/20261399.db.gz")
    (store, _) = estate.plain(0.1, "--uncovered")["uncovered"]
    assert [(each["name"], each["count"], each["size"]) for each in store["groups"]] == [
        ("payroll/*/", 3, 3000), ("orders-db/", 2, 20)
    ]  # fmt: skip
    assert "payroll/*/ " in estate.status(0.1, "--uncovered")[1]


def test_what_a_copys_rules_name_beside_it_is_covered(estate: Estate) -> None:
    copy = estate.catalogue["targets"]["wiki"]["copies"]["nas"]
    copy |= {
        "path": "wiki/{time:%Y%m%d}/", "complete_when": "{name}.done", "latest": "wiki/latest",
        "checksum": {"manifest": "SHA256SUMS"},
    }  # fmt: skip
    estate.catalogue["targets"]["wiki"]["engine"] = "files"
    wal = estate.catalogue["targets"]["orders-db"]["copies"]["nas"]
    wal |= {"parts": ["{name}-wal"], "complete_when": "{stem}.ok", "checksum": {"sidecar": "{name}.digest"}}
    estate.night(0)
    for key in ("wiki/20260302/a/b.txt", "wiki/20260302/SHA256SUMS", "wiki/20260302.done", "wiki/latest",
                "wiki/20260303.tmp/a", "orders-db/20260302.db.gz-wal", "orders-db/20260302.db.gz.digest",
                "orders-db/20260302.db.ok"):  # fmt: skip
        put(estate, f"nas/{key}")
    (store, _) = estate.plain(0.1, "--uncovered")["uncovered"]
    assert (store["listed"], store["groups"]) == (8, [])
    for key in ("wiki/20260302.odd", "wiki/old/a.txt", "orders-db/20260302.ok"):
        put(estate, f"nas/{key}")
    (store, _) = estate.plain(0.1, "--uncovered")["uncovered"]
    assert sum(each["count"] for each in store["groups"]) == 3


def test_a_store_inside_another_is_not_told_twice(estate: Estate) -> None:
    estate.catalogue["stores"]["all"] = {"url": "file:../stores", "media": "disk"}
    estate.catalogue["targets"]["wiki"]["copies"] = {"all": {"path": "wiki/{time:%Y%m%d}.db.gz"}}
    estate.night(0, targets=(ORDERS, Target("wiki", "important", copies=("all",))))
    for key in ("wiki/20260302.db.gz", "nas/orders-db/20260302.db.gz", "nas/odd", "odd"):
        put(estate, key)
    found = {each["stores"][0]: each["groups"] for each in estate.plain(0.1, "--uncovered")["uncovered"]}
    assert {name: sum(each["count"] for each in groups) for name, groups in found.items()} == {
        "nas": 1, "offsite": 0, "all": 1
    }  # fmt: skip


def test_a_store_that_cannot_be_listed_could_not_be_verified(estate: Estate) -> None:
    estate.night(0)
    (estate.root / "stores" / "offsite").rmdir()
    status, said = estate.status(0.1, "--uncovered")
    assert status == 75
    assert "COULD NOT VERIFY: the store's directory is not there" in said


# --- the page about it ------------------------------------------------------------------------------------------------


def test_the_page_about_it_followed_word_by_word(estate: Estate, require_program: Callable[[str], str]) -> None:
    require_program("jq")
    estate.first = datetime.now(UTC) - 7.1 * DAY
    failing = {"orders-db/nas/restores": "failed"}
    for night in (0, 1, 2, 4):  # the fourth night is left out, and since the fifth one copy is
        estate.night(night)
    for night in (5, 6):
        estate.night(night, selected=["orders-db/nas"])
    estate.night(7, selected=["orders-db/nas"], verdicts=failing)
    for day in range(1, 4):
        put(estate, f"nas/payroll/2026030{day}/dump.sql.gz", 1000)
    estate.write()
    program = estate.root / "programs" / "restore-drill"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m restore_drill "$@"\n')
    program.chmod(0o755)
    root = Path(__file__).parents[3]
    path = {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(root / "src"), "COLUMNS": "100"}
    done = follow(root / "docs/completeness.md", estate.root, {**os.environ, **path})
    assert sum(command.startswith("restore-drill status") for command in done) == 6
