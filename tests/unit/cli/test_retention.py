"""``restore-drill retention``: what a prune job is told, with which exit status, and that nothing may go in doubt."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.backups import date
from tests.support.evidence import Target, document, run_id, stamp
from tests.unit.cli.conftest import Command, Said

from restore_drill.history import DrillSummary, History
from restore_drill.ledger.directory import DirectoryLedger
from restore_drill.ledger.signing import KeySigner
from restore_drill.state import DirectoryState

FIRST = datetime(2026, 11, 2, 2, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
NIGHTS = 12
ONE = (Target("orders-db", copies=("nas",)),)


class Site:
    """Twelve nightly backups in a directory, a ledger, and what the command says of them."""

    def __init__(self, root: Path, command: Command) -> None:
        self.root, self.command = root, command
        self.store = root / "nas"
        self.others: dict[str, Any] = {}
        self.ledger = DirectoryLedger(root / "state")
        self.target: dict[str, Any] = {
            "tier": "critical", "engine": "sqlite", "timezone": "UTC", "retention": {"daily": 3, "weekly": 2},
            "copies": {"nas": {"path": "orders-db/{time:%Y%m%d_%H%M%S}.db.gz.age"}},
        }  # fmt: skip
        for path in (root / "drills", root / "state", self.store / "orders-db"):
            path.mkdir(parents=True)
        (root / "state" / "restore-drill.json").write_text(json.dumps({"version": 1, "initialised": stamp(FIRST)}))
        for night in range(NIGHTS):
            self.write(self.path(night), night)
            self.write(self.path(night).with_name(f"{self.path(night).name}.sha256"), night)

    def write(self, path: Path, night: int, content: bytes = b"x" * 100) -> None:
        """A file as if it had been written in that night."""
        path.write_bytes(content)
        date(path, FIRST + night * DAY)

    def path(self, night: int) -> Path:
        return self.store / "orders-db" / f"{FIRST + night * DAY:%Y%m%d_%H%M%S}.db.gz.age"

    def drilled(self, night: int, after: timedelta = HOUR, target: Target = ONE[0], **more: Any) -> None:
        """A run that drilled this night's backup, some time after it was made; the ledger has an entry of it."""
        taken = FIRST + night * DAY
        measured = {f"{target.name}/nas": {"taken_at": taken, "stored_bytes": 100}}
        made = document(taken + after, targets=(target,), measured=measured, **more)
        made["drills"][0]["snapshot"]["artifacts"] = [f"orders-db/{self.path(night).name}"]
        self.ledger.append("run", made)

    def drilled_at(self, night: int, path: str, target: Target, hours: int) -> None:
        """The same of a snapshot with another name than the usual one."""
        taken = FIRST + night * DAY
        measured = {f"{target.name}/nas": {"taken_at": taken}}
        made = document(FIRST + 8 * DAY + hours * HOUR, targets=(target,), measured=measured)
        name = path.replace("{time:%Y%m%d_%H%M%S}", f"{taken:%Y%m%d_%H%M%S}")
        made["drills"][0]["snapshot"] |= {"artifacts": [name], "size": -1}
        self.ledger.append("run", made)

    def ask(self, *arguments: str | Path, **top: Any) -> Said:
        path = self.root / "drills" / "targets.yaml"
        stores = {"nas": {"url": "file:../nas", "media": "disk"}}
        catalogue = {
            "version": 1,
            "state": "file:../state",
            "stores": stores,
            "targets": {"orders-db": self.target, **self.others},
        }
        path.write_text(yaml.safe_dump({**catalogue, **top}))
        return self.command("retention", "orders-db", "--catalogue", path, *arguments)


@pytest.fixture
def site(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setattr("time.time", (FIRST + (NIGHTS - 1) * DAY + 2 * HOUR).timestamp)
    return Site(tmp_path, command)


def nights(said: Said) -> list[int]:
    """The nights of the names that were printed."""
    return sorted(int(line.partition("/")[2][6:8]) - 2 for line in said.out.splitlines())


def test_what_may_go_is_listed_and_what_is_needed_is_not_among_it(site: Site) -> None:
    site.drilled(8)
    said = site.ask("--copy", "nas", "--prune-list")
    assert said.status == 0
    assert nights(said) == [0, 1, 2, 3, 4, 5, 7]  # 6 is its week's last, 8 the newest proved one
    told = site.ask()
    assert told.out.splitlines()[:2] == [
        "orders-db/nas: 12 snapshots, 5 must stay, 7 may go",
        f"  newest proved: 20261110T020000Z, by the run {run_id(FIRST + 8 * DAY + HOUR)} (2026-11-10 03:00Z)",
    ]
    assert "  may go  20261109T020000Z  20261110T020000Z is newer and proved, and neither" in told.out


def test_nothing_may_go_while_nothing_is_proved(site: Site) -> None:
    site.drilled(8, verdicts={"orders-db/nas/rows/orders": "failed"})
    said = site.ask("--copy", "nas", "--prune-list")
    assert (said.status, said.out) == (1, "")
    assert "newest proved: NONE. Nothing of this copy may go" in site.ask().out
    assert "not proved: its last drill failed (rows/orders), 2026-11-10 03:00Z" in site.ask().out
    site.drilled(8, 2 * HOUR)
    assert site.ask("--copy", "nas", "--prune-list").status == 0


def test_a_later_failure_takes_the_proof_away(site: Site) -> None:
    site.drilled(4)
    site.drilled(8)
    before = [0, 1, 2, 3, 5, 6, 7]  # 4 is the proved one of its week
    assert nights(site.ask("--copy", "nas", "--prune-list")) == before
    site.drilled(9, verdicts={"orders-db/nas/checksum": "failed"})
    assert nights(site.ask("--copy", "nas", "--prune-list")) == before  # that was another snapshot
    site.drilled(8, 2 * DAY, verdicts={"orders-db/nas/rpo": "failed"})
    assert nights(site.ask("--copy", "nas", "--prune-list")) == before  # and that says nothing of its bytes
    site.drilled(8, 3 * DAY, verdicts={"orders-db/nas/checksum": "failed"}, scope="partial")
    assert nights(site.ask("--copy", "nas", "--prune-list")) == [0, 1, 2, 3]


def test_json_gives_every_snapshot_its_reasons(site: Site) -> None:
    site.drilled(8)
    day = {"first": "2026-11-03", "last": "2026-11-03"}
    site.target["holds"] = [
        {"id": "LH-1", "reason": "matter 4711", "by": "legal", **day},
        {"id": "LH-2", "reason": "audit", "by": "legal", "snapshots": ["20200101T000000Z"]},
    ]
    said = site.ask("--json")
    told = json.loads(said.out)
    (copy,) = told["copies"]
    assert (said.status, told["form"], copy["newest_proved"]) == (0, "restore-drill/retention/1", "20261110T020000Z")
    assert (copy["must_stay"], copy["may_go"], len(copy["snapshots"])) == (6, 6, 12)
    assert copy["notes"] == ["the hold LH-2 names 20200101T000000Z, which does not lie here"]
    held = copy["snapshots"][-2]
    assert held["key"] == "orders-db/20261103_020000.db.gz.age" and held["decision"] == "stay"
    assert held["reasons"] == [{"rule": "hold", "text": "LH-1: matter 4711 (ordered by legal)"}]
    proved = copy["snapshots"][3]
    assert proved["proved_by"]["finished"] == "2026-11-10T03:00:10Z"
    for told in (("--prune-list",), ("--ask", str(site.path(0)))):  # a job reads names, and a person what went wrong
        said = site.ask("--copy", "nas", *told)
        assert said.err == "note: the hold LH-2 names 20200101T000000Z, which does not lie here\n"
        assert said.status == 0 and "LH-2" not in said.out


def test_a_job_asks_about_the_names_that_it_would_remove(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.drilled(8)
    goes, stays = site.path(0), site.path(8)
    beside = goes.with_name(f"{goes.name}.sha256")
    said = site.ask("--copy", "nas", "--ask", goes, beside, "20261103T020000Z", "orders-db/20261104_020000.db.gz.age")
    assert said.status == 0
    assert said.out.splitlines() == [
        str(goes), str(beside), "20261103T020000Z", "orders-db/20261104_020000.db.gz.age"
    ]  # fmt: skip
    said = site.ask("--copy", "nas", "--ask", goes, stays, f"{stays}.sha256", "orders-db", "notes.txt", site.store)
    assert (said.status, said.out) == (1, f"{goes}\n")
    first, second, *rest = said.err.splitlines()
    assert first.startswith(f"must stay: {stays} (orders-db/20261110_020000.db.gz.age): the newest snapshot that a")
    assert second.startswith(f"must stay: {stays}.sha256 (orders-db/20261110_020000.db.gz.age): the newest")
    assert [line.rpartition(": ")[2] for line in rest] == [
        "it is no snapshot of this copy, nor does it belong to one"
    ] * 3  # fmt: skip
    monkeypatch.chdir(site.store)
    assert site.ask("--copy", "nas", "--ask", f"./orders-db/{goes.name}", f"orders-db/{beside.name}").status == 0
    monkeypatch.chdir(site.store / "orders-db")
    assert site.ask("--copy", "nas", "--ask", goes.name, f"./{goes.name}").status == 0
    assert site.ask("--copy", "nas", "--ask", "../orders-db/" + stays.name).status == 1
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(f"{goes}\0{stays}\0".encode())))
    said = site.ask("--copy", "nas", "-0", "--ask", "-")
    assert (said.status, said.out) == (1, f"{goes}\0")


def test_what_belongs_to_a_snapshot_goes_with_it_and_nothing_else_does(site: Site) -> None:
    site.drilled(8)
    copy = site.target["copies"]["nas"]
    copy |= {"parts": ["{name}-wal"], "complete_when": "{name}.done"}
    goes, stays = "orders-db/20261102_020000.db.gz.age", "orders-db/20261110_020000.db.gz.age"
    for ending in ("", ".sha256", ".sha256.asc", ".minisig", "-wal", ".done"):
        assert site.ask("--copy", "nas", "--ask", f"{goes}{ending}").status == 0, ending
        assert site.ask("--copy", "nas", "--ask", f"{stays}{ending}").status == 1, ending
    for ending in (".gz", "-old", "/x", ".sha256.x", "-shm", "2"):
        said = site.ask("--copy", "nas", "--ask", f"{goes}{ending}")
        assert (said.status, said.out) == (1, "") and "it is no snapshot of this copy" in said.err, ending


def test_what_lies_in_a_directory_goes_with_it(site: Site) -> None:
    site.target |= {"engine": "files"}
    site.target["copies"]["nas"]["path"] = "tree/{time:%Y%m%d_%H%M%S}/"
    for night in range(NIGHTS):
        (site.store / "tree" / f"{FIRST + night * DAY:%Y%m%d_%H%M%S}").mkdir(parents=True)
    made = document(FIRST + 8 * DAY + HOUR, targets=ONE, measured={"orders-db/nas": {"taken_at": FIRST + 8 * DAY}})
    made["drills"][0]["snapshot"] |= {"artifacts": ["tree/20261110_020000/"], "size": -1}
    site.ledger.append("run", made)
    listed = site.ask("--copy", "nas", "--prune-list").out.splitlines()
    assert listed[-1] == "tree/20261102_020000/" and len(listed) == 7
    tree = site.store / "tree"
    names = (f"{tree}/20261102_020000/", f"{tree}/20261102_020000/a/b", "20261102_020000")
    assert site.ask("--copy", "nas", "--ask", *names).status == 0
    assert site.ask("--copy", "nas", "--ask", f"{tree}/20261110_020000/a").status == 1
    assert site.ask("--copy", "nas", "--ask", f"{tree}/20261102_020000-other.tar", str(tree)).out == ""


def test_in_doubt_nothing_may_go(site: Site) -> None:
    site.drilled(8)
    assert site.ask("--copy", "nas", "--prune-list").out
    entries = site.root / "state" / "ledger" / "entries.jsonl"
    whole = entries.read_bytes()
    entries.write_bytes(whole + whole)  # an entry that stands there twice was put there by somebody
    said = site.ask("--copy", "nas", "--prune-list")
    assert (said.status, said.out) == (75, "") and "the ledger is not what was written" in said.err
    assert said.err.endswith("Nothing may go.\n")
    entries.write_bytes(whole)
    site.store.rename(site.root / "gone")
    said = site.ask("--copy", "nas", "--prune-list")
    assert (said.status, said.out) == (75, "")
    (site.root / "gone").rename(site.store)
    said = site.ask("--copy", "nas", "--prune-list", ledger={"required": True, "key": "env:NOBODY"})
    assert said.status == 75 and "nobody signed this entry" in said.err
    (site.root / "state" / "restore-drill.json").unlink()
    assert "never initialised" in site.ask("--copy", "nas", "--ask", site.path(0)).err


def test_a_ledger_that_nobody_signed_proves_nothing_where_keys_are_named(site: Site) -> None:
    """Whoever can write the state may put another ledger in the place of the signed one."""
    signer = KeySigner.generate()
    (site.root / "drills" / "ledger.pub").write_bytes(signer.public.pem)
    keys = {"ledger": {"public_keys": ["ledger.pub"]}}
    site.drilled(8)
    assert site.ask("--copy", "nas", "--prune-list").status == 0
    said = site.ask("--copy", "nas", "--prune-list", **keys)
    assert (said.status, said.out) == (75, "") and "nobody signed any entry of the ledger" in said.err
    site.ledger.append("run", document(FIRST + 8 * DAY + 2 * HOUR, targets=ONE), signer)
    assert nights(site.ask("--copy", "nas", "--prune-list", **keys)) == [0, 1, 2, 3, 4, 5, 7]


def test_what_was_put_in_the_place_of_a_proved_one_is_not_proved(site: Site) -> None:
    site.drilled(8)
    assert site.ask().status == 0
    site.write(site.path(8), 8, b"y" * 99)
    said = site.ask()
    assert said.status == 1
    assert "not proved: it had 100 bytes when it was drilled, and has 99 now" in said.out
    site.write(site.path(8), 9, b"y" * 100)
    said = site.ask()
    assert said.status == 1
    assert "not proved: it was written again since it was drilled, 2026-11-11 02:00Z" in said.out


def test_what_another_target_needs_of_the_same_objects_stays(site: Site) -> None:
    site.drilled(8)
    before = nights(site.ask("--copy", "nas", "--prune-list"))
    site.others["wiki"] = {**site.target, "engine": "files", "retention": {"daily": 1}}
    assert site.ask("--copy", "nas", "--prune-list").out == ""
    told = site.ask()
    assert "for wiki: no snapshot of this copy is proved: nothing goes before one is" in told.out
    site.drilled(6, target=Target("wiki", copies=("nas",)))
    site.others["wiki"]["retention"] = {"daily": 6}
    assert nights(site.ask("--copy", "nas", "--prune-list")) == [night for night in before if night < 6]


def test_what_a_set_last_came_back_whole_from_stays(site: Site) -> None:
    """Backups of its other target stopped: tonight's are of no use to it."""
    other = {**site.target, "engine": "files", "copies": {"nas": {"path": "wiki/{time:%Y%m%d_%H%M%S}.tar"}}}
    query = {
        "name": "every page is a file", "is_in": {"target": "wiki", "files": "**"},
        "ask": {"target": "orders-db", "sql": "select path from pages"},
    }  # fmt: skip
    sets = {"shop": {"targets": ["orders-db", "wiki"], "within": "1h", "queries": [query]}}
    made = document(FIRST + 2 * DAY + 2 * HOUR, targets=ONE)
    (drill,) = made["drills"]
    taken = {"orders-db": f"{FIRST + 2 * DAY:%Y%m%dT%H%M%SZ}", "wiki": "20261104T015500Z"}
    members: list[dict[str, Any]] = [
        {"target": name, "copy": "nas", "snapshot": {**drill["snapshot"], "id": each}} for name, each in taken.items()
    ]
    told = {"set": "shop", "target": "orders-db", "within_seconds": 3600.0, "members": members}
    made["sets"] = [{**told, "scope": "whole", "verdict": "passed"}]
    site.ledger.append("run", made)
    site.drilled(8)
    site.others["wiki"] = other
    before = nights(site.ask("--copy", "nas", "--prune-list"))
    assert before == [0, 1, 2, 3, 4, 5, 7]
    assert nights(site.ask("--copy", "nas", "--prune-list", sets=sets)) == [0, 1, 3, 4, 5, 7]
    assert "the set shop last came back whole from it" in site.ask(sets=sets).out
    # A drill of it that failed, or that was not whole, is none that it came back from.
    for night, how in ((3, {"verdict": "failed"}), (4, {"scope": "partial"})):
        made["sets"] = [{**told, "scope": "whole", "verdict": "passed", **how}]
        members[0]["snapshot"]["id"] = f"{FIRST + night * DAY:%Y%m%dT%H%M%SZ}"
        site.ledger.append("run", {**made, "run": {**made["run"], "id": run_id(FIRST + night * DAY)}})
        assert nights(site.ask("--copy", "nas", "--prune-list", sets=sets)) == [0, 1, 3, 4, 5, 7]
    # Another set, or one without this target, holds nothing.
    assert nights(site.ask("--copy", "nas", "--prune-list", sets={"desk": sets["shop"]})) == before


def test_what_lies_in_what_another_target_needs_stays_and_what_it_lies_in(site: Site) -> None:
    """A directory of every night, and a database in it, as two targets."""
    for night in range(NIGHTS):
        tree = site.store / "orders-db" / f"{FIRST + night * DAY:%Y%m%d_%H%M%S}"
        tree.mkdir()
        site.write(tree / "orders.db", night)
    trees = {"nas": {"path": "orders-db/{time:%Y%m%d_%H%M%S}/"}}
    files = {"nas": {"path": "orders-db/{time:%Y%m%d_%H%M%S}/orders.db"}}
    ways = ((trees, files, ("files", "sqlite"), 1), (files, trees, ("sqlite", "files"), 3))
    for ours, theirs, engines, hour in ways:
        site.target |= {"copies": ours, "engine": engines[0], "retention": {"daily": 1}}
        site.others.clear()
        site.drilled_at(8, ours["nas"]["path"], ONE[0], hour)
        alone = site.ask("--copy", "nas", "--prune-list").out.splitlines()
        assert len(alone) == 8
        site.others["wiki"] = {**site.target, "copies": theirs, "engine": engines[1]}
        assert site.ask("--copy", "nas", "--prune-list").out == "" and "for wiki: no snapshot" in site.ask().out
        site.drilled_at(5, theirs["nas"]["path"], Target("wiki", copies=("nas",)), hour + 1)
        assert len(site.ask("--copy", "nas", "--prune-list").out.splitlines()) == 5
        site.others["wiki"]["copies"] = {"nas": {"path": "wiki/{time:%Y%m%d_%H%M%S}/"}}
        assert site.ask("--copy", "nas", "--prune-list").out.splitlines() == alone


def test_an_end_of_the_ledger_that_was_cut_off_is_noticed(site: Site) -> None:
    site.drilled(8)
    site.drilled(8, 2 * HOUR, verdicts={"orders-db/nas/checksum": "failed"})
    state, ended = site.root / "state", datetime.now(UTC) + HOUR  # entries are dated by this machine's clock
    taken = (FIRST + 8 * DAY).timestamp()
    run = run_id(FIRST + 8 * DAY + 2 * HOUR)
    last = DrillSummary(run, "20261110T020000Z", "x", taken, ended.timestamp(), passed=False)
    History(DirectoryState(state)).record("orders-db", "nas", last)
    assert site.ask("--copy", "nas", "--prune-list").status == 1
    entries = state / "ledger" / "entries.jsonl"
    entries.write_bytes(entries.read_bytes().splitlines(keepends=True)[0])
    (state / "ledger" / "head.json").unlink()
    said = site.ask("--copy", "nas", "--prune-list")
    assert (said.status, said.out) == (75, "") and "the ledger is not what was written" in said.err


CHAIN = ("F", "I", "I", "F", "I", "I", "F", "I")


def test_a_proved_link_keeps_its_chain_and_what_a_chain_lacks_proves_nothing(site: Site) -> None:
    site.target["engine"] = "files"
    site.target["copies"]["nas"]["path"] = "w/{time:%Y%m%d%H%M}-{kind:full=F|incremental=I}.tar"
    site.target["retention"] = {"at_least": 1}
    (site.store / "w").mkdir()
    names = [f"{FIRST + night * DAY:%Y%m%d%H%M}-{kind}.tar" for night, kind in enumerate(CHAIN)]
    for name in names:
        site.write(site.store / "w" / name, names.index(name))
    ids = [f"{FIRST + n * DAY:%Y%m%dT%H%M%SZ}{'' if kind == 'F' else '-incremental'}" for n, kind in enumerate(CHAIN)]
    made = document(FIRST + 5 * DAY, targets=ONE)
    made["drills"][0]["snapshot"] |= {
        "id": ids[5], "kind": "incremental", "taken_at": stamp(FIRST + 5 * DAY), "parents": ids[3:5],
        "artifacts": [f"w/{names[5]}"], "size": 100,
    }  # fmt: skip
    site.ledger.append("run", made)
    said = site.ask("--copy", "nas", "--prune-list")
    assert sorted(said.out.split()) == [f"w/{name}" for name in names[:3]]
    assert f"stays   {ids[4]}  {ids[5]} is restored from it" in site.ask().out
    site.write(site.store / "w" / names[3], 9)
    assert "not proved: what it builds on was written again since it was drilled, 2026-11-11 02:00Z" in site.ask().out
    site.write(site.store / "w" / names[3], 3)
    assert site.ask().status == 0
    (site.store / "w" / names[4]).unlink()
    said = site.ask()
    assert said.status == 1
    assert f"{ids[5]}  no snapshot of this copy is proved" in said.out
    assert "not proved: what it builds on is not there as it was when it was drilled" in said.out


def test_it_is_asked_of_one_copy_by_its_name(site: Site, command: Command) -> None:
    assert "Add --copy NAME." in site.ask("--prune-list").err
    assert site.ask("--copy", "nass", "--prune-list").err.endswith("It has nas.\n")
    assert site.ask("--copy", "nass").status == 2
    assert command("retention", "wiki", "--catalogue", site.root / "drills" / "targets.yaml").status == 2


def test_a_name_cannot_pass_for_two(site: Site) -> None:
    site.target["copies"]["nas"]["path"] = "orders-db/{time:%Y%m%d_%H%M%S}{any}.age"
    hostile = site.path(0).with_name("20261101_020000.a\n20261110_020000.age")
    site.write(hostile, 0)
    site.drilled(8)
    said = site.ask("--copy", "nas", "--prune-list")
    assert said.status == 75 and "a name has a new line in it" in said.err and said.out == ""
    assert "20261101_020000.a\n20261110_020000.age\0" in site.ask("--copy", "nas", "-0", "--prune-list").out
    assert "20261110_020000.age\n" not in site.ask("--json").out
