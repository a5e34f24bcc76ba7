"""Exports, and the instructions in them: followed to the letter, in an empty environment, on good and tampered ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.ledgers import (
    chained,
    filled,
    forged,
    head_of,
    key,
    review_of,
    signed,
    small,
    statement_of,
    store,
    stored,
    verified,
)

from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.ledger.base import Head, Ledger
from restore_drill.ledger.directory import DirectoryLedger
from restore_drill.ledger.export import Span, export, span_of
from restore_drill.ledger.reading import StoredLedger, open_path

ALWAYS = ("1970-01-01", "2999-01-01")
KEYS = [key().public, key("alice").public]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs r1 to r3 and a review of r2, in a state's directory, with the public keys of both beside it."""
    root = tmp_path_factory.mktemp("whole")
    ledger = filled(root, 3, key())
    ledger.append("review", review_of(ledger, 2), key("alice"))
    for name in ("ledger", "alice", "mallory"):
        (root / f"{name}.pub").write_bytes(key(name).public.pem)
    return root


@pytest.fixture(scope="module")
def bundle(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export of entries 2 to 4, unpacked."""
    place = tmp_path_factory.mktemp("bundle")
    export(DirectoryLedger(whole), Span(2, 4), KEYS, place / "q3.tar")
    shutil.unpack_archive(place / "q3.tar", place, filter="data")
    return place / "restore-drill-ledger"


def begins(ledger: Ledger) -> Head | None:
    return ledger.begins if isinstance(ledger, StoredLedger) else None


def checks(directory: Path, whole: Path, *names: str, head: str = "") -> list[tuple[int, str]]:
    """Status and output of both programs, with nothing around them but the system's own."""
    keys = [str(whole / f"{name}.pub") for name in names or ("ledger", "alice")]
    sh = ["env", "-i", "PATH=/usr/bin:/bin", *([f"HEAD={head}"] if head else []), "sh", "check.sh", *keys]
    python = ["env", "-i", "PATH=/usr/bin:/bin", "python3", "check.py", *keys, *(["--head", head] if head else [])]
    found = []
    for command in (sh, python):
        done = subprocess.run(command, cwd=directory, capture_output=True, text=True)
        assert done.stderr == ""
        found.append((done.returncode, done.stdout.strip()))
    return found


@pytest.fixture(autouse=True)
def _programs(require_program: Callable[[str], str]) -> None:
    for program in ("jq", "openssl", "python3", "split"):
        require_program(program)


def test_an_export_is_checked_without_us(bundle: Path, whole: Path) -> None:
    last = head_of(stored(whole))
    good = f"good: 3 entries, 3 signed; the last one is {last}"
    assert checks(bundle, whole) == [(0, good), (0, good)]
    assert checks(bundle, whole, head=str(last)) == [(0, good), (0, good)]
    assert sorted(path.name for path in bundle.iterdir()) == sorted(
        ["README.md", "check.py", "check.sh", "entries.jsonl", "head.json", "keys", "period.json"]
    )
    assert {path.stem for path in (bundle / "keys").iterdir()} == {each.key_id for each in KEYS}


def _tampered(lines: list[bytes], how: str) -> tuple[list[bytes], int]:
    """The lines after somebody was at them, and the first that is wrong (the export begins with entry 2)."""
    stated = statement_of(lines[0])
    if how == "edited":
        stated["predicate"]["result"] = "PASSED"
        return [forged(lines[0], stated), *lines[1:]], 2
    if how == "edited by another key":
        stated["predicate"]["result"] = "PASSED"
        return chained([signed(stated, key("mallory")), *lines[1:]], key("mallory")), 2
    if how == "unsigned":
        return [lines[0], signed(statement_of(lines[1]), None), lines[2]], 3
    if how == "evidence":
        stated["predicate"]["restoreDrill"]["evidence"]["verdict"] = "passed"
        return [signed(stated, key()), *lines[1:]], 2
    orders = {"deleted": [0, 2], "reordered": [1, 0, 2], "replayed": [0, 1, 1], "truncated": [0, 1]}
    first = {"deleted": 3, "reordered": 2, "replayed": 4, "truncated": 4}
    return [lines[place] for place in orders[how]], first[how]


@pytest.mark.parametrize(
    "how", ["edited", "edited by another key", "unsigned", "evidence", "deleted", "reordered", "replayed", "truncated"]
)
def test_a_tampered_export_is_refused(bundle: Path, whole: Path, tmp_path: Path, how: str) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    lines, first = _tampered(bundle.joinpath("entries.jsonl").read_bytes().splitlines(), how)
    (copy / "entries.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    ours = verified(open_path(copy), "ledger", "alice", begins=begins(open_path(copy)))
    assert ours.problems[0].sequence == first
    (sh, said), (python, told) = checks(copy, whole)
    if how == "evidence":  # validly signed, by whoever has the key: what was chained to it gives it away
        assert (sh, python) == (1, 1) and said.startswith("BROKEN: entry 3")
    else:
        assert (sh, python) == (1, 1)
        assert said.startswith(f"BROKEN: entry {first}") and told.startswith(f"BROKEN: entry {first}")


def _review(**more: str) -> Callable[[Ledger], None]:
    def append(ledger: Ledger) -> None:
        signer = key() if more.get("comment") == "own" else key("alice")
        ledger.append("review", {**review_of(ledger, 1), **more}, signer)

    return append


_SAID: dict[str, Callable[[Ledger], None]] = {
    "by the operator": _review(reviewer="Night.ly@example.org"),
    "by nobody": _review(reviewer=" "),
    "of another entry": _review(entry="0" * 64),
    "signed by the key that signed the run": _review(comment="own"),
}


@pytest.mark.parametrize("why", _SAID)
def test_a_review_that_proves_nothing_is_refused_without_us(whole: Path, tmp_path: Path, why: str) -> None:
    ledger = filled(tmp_path, 1, key())
    _SAID[why](ledger)
    assert [(each.sequence, each.what) for each in verified(ledger, "ledger", "alice").problems] == [(2, "review")]
    export(ledger, Span(1, 2), KEYS, tmp_path / "out")
    status, said = checks(tmp_path / "out", whole)[1]
    assert status == 1 and said.startswith("BROKEN: entry 2: review: ") and why in said


@pytest.mark.parametrize(("what", "first"), [("clock", 2), ("truncated", 1), ("digest", 2)])
def test_what_an_entry_says_against_itself_is_refused_without_us(
    whole: Path, tmp_path: Path, what: str, first: int
) -> None:
    ledger = filled(tmp_path, 3, key())
    lines = stored(tmp_path)
    stated = statement_of(lines[1])
    part = stated["predicate"]["restoreDrill"]
    changes = {"clock": {"recorded_at": "2001-01-01T00:00:00.000Z"}, "digest": {"verdict": "passed"},
               "truncated": {"noticed": [{"what": "head", "text": "gone"}]}}  # fmt: skip
    part |= changes[what]
    lines = chained([lines[0], signed(stated, key()), lines[2]], key())
    ledger = store(tmp_path, lines, head_of(lines))
    assert [(each.sequence, each.what) for each in verified(ledger).problems] == [(first, what)]
    export(ledger, Span(1, 3), KEYS, tmp_path / "out")
    status, said = checks(tmp_path / "out", whole)[1]
    assert status == 1 and said.startswith(f"BROKEN: entry {first}: {what}")


def test_an_end_that_was_cut_off_skilfully_is_found_by_a_head(bundle: Path, whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    lines = bundle.joinpath("entries.jsonl").read_bytes().splitlines()
    store(tmp_path, lines[:2], head_of(lines[:2]))
    for name in ("entries.jsonl", "head.json"):
        shutil.copy(tmp_path / "ledger" / name, copy / name)
    assert [status for status, _ in checks(copy, whole)] == [0, 0]
    for status, said in checks(copy, whole, head=str(head_of(lines))):
        assert status == 1 and "truncated" in said


def test_another_key_proves_nothing(bundle: Path, whole: Path) -> None:
    assert [status for status, _ in checks(bundle, whole, "mallory")] == [1, 1]


def test_what_cannot_be_checked_is_no_pass(bundle: Path, whole: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    (copy / "entries.jsonl").unlink()
    for command in (["sh", "check.sh", str(whole / "ledger.pub")], ["python3", "check.py", str(whole / "ledger.pub")]):
        assert subprocess.run(command, cwd=copy, capture_output=True).returncode == 75


def test_the_commands_for_one_entry_by_hand(bundle: Path, whole: Path, tmp_path: Path) -> None:
    """The readme's, typed as they stand there."""
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    shutil.copy(whole / "ledger.pub", copy / "ledger.pub")
    by_hand = (copy / "README.md").read_text().partition("## By hand")[2]
    commands = [line.strip() for line in by_hand.splitlines() if line.startswith("    ")]
    done = subprocess.run(
        ["env", "-i", "PATH=/usr/bin:/bin", "sh", "-e", "-c", "\n".join(commands)],
        cwd=copy,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    first = stored(whole)[1]
    assert '"run": "r2"' in done.stdout and head_of([first]).digest in done.stdout


def test_every_form_of_a_ledger_is_opened(bundle: Path, whole: Path) -> None:
    last = head_of(stored(whole))
    places = [whole, whole / "ledger", whole / "ledger" / "entries.jsonl", bundle, bundle.parent / "q3.tar"]
    for place in places:
        ledger = open_path(place)
        start = begins(ledger)
        found = verified(ledger, "ledger", "alice", head=last, begins=start)
        assert (found.problems, found.head) == ([], last), place
        assert found.first == (2 if start else 1)
        assert bool(start) is (place in places[3:])
        assert ledger.tail(1)[0].head == ledger.hint() == last
    with pytest.raises(UsageProblem, match="only read"):
        open_path(bundle).append("run", small("r9"))


def test_a_part_without_its_beginning_is_no_whole(bundle: Path) -> None:
    found = verified(open_path(bundle), "ledger", "alice")
    assert [(each.sequence, each.what) for each in found.problems] == [(1, "deleted")]


@pytest.mark.parametrize("what", ["gone", "empty", "cut archive", "archive of something else"])
def test_a_place_without_a_ledger_cannot_be_verified(bundle: Path, tmp_path: Path, what: str) -> None:
    place = tmp_path / "place.tar"
    if what == "empty":
        place.mkdir()
    elif what == "cut archive":
        whole_archive = (bundle.parent / "q3.tar").read_bytes()
        place.write_bytes(whole_archive[: whole_archive.index(b'{"payloadType"') + 100])
    elif what == "archive of something else":
        with tarfile.open(place, "w") as archive:
            archive.add(__file__, "x.py")
    with pytest.raises(CouldNotVerify) as raised:
        verified(open_path(place))
    assert raised.value.remedy


def _at(root: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A run a day from the 1st to the 5th of March, and a review of the 2nd's on the 5th."""
    ledger = DirectoryLedger(root)
    for day in range(1, 6):
        monkeypatch.setattr("restore_drill.ledger.statement._now", lambda day=day: f"2027-03-0{day}T12:00:00.000Z")
        ledger.append("run", small(f"r{day}"))
    ledger.append("review", review_of(ledger, 2))
    return ledger


def test_a_period_holds_what_was_recorded_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = _at(tmp_path, monkeypatch)
    assert span_of(ledger, *ALWAYS) == Span(1, 6, [])
    assert span_of(ledger, "2027-03-02T00:00:00.000Z", "2027-03-04T00:00:00.000Z") == Span(2, 3, [6])
    assert span_of(ledger, "2027-03-05T00:00:00.000Z", "2027-03-06T00:00:00.000Z") == Span(5, 6, [])
    with pytest.raises(UsageProblem, match="no entry was recorded"):
        span_of(ledger, "2027-04-01", "2027-05-01")
    head = export(ledger, Span(2, 3, [6]), [], tmp_path / "out")
    assert head == ledger.tail(4)[0].head
    period = json.loads((tmp_path / "out" / "period.json").read_text())
    first = next(ledger.entries(1))
    assert (period["first"], period["last"], period["previous"]) == (2, 3, first.digest)
    with pytest.raises(UsageProblem, match="there already"):
        export(ledger, Span(2, 3), [], tmp_path / "out")


def test_a_damaged_entry_is_exported_as_it_is(whole: Path, tmp_path: Path) -> None:
    lines = [*stored(whole)]
    lines[1] = b"garbage"
    ledger = store(tmp_path, lines, head_of(lines))
    assert span_of(ledger, *ALWAYS) == Span(1, 4, [])
    assert export(ledger, Span(1, 4), KEYS, tmp_path / "out") == head_of(lines)
    assert (tmp_path / "out" / "entries.jsonl").read_bytes().splitlines() == lines
    (_, said), (_, told) = checks(tmp_path / "out", whole)
    assert said == "BROKEN: entry 2: edited: it is no envelope" and told.startswith("BROKEN: entry 2: edited")


def test_unsigned_entries_are_told_loudly_and_are_no_answer_to_a_key(whole: Path, bundle: Path, tmp_path: Path) -> None:
    ledger = filled(tmp_path, 2)
    crashed = small("r3", "error")
    crashed["run"]["ended"] = "crashed"
    for evidence in (crashed, small("r3")):
        ledger.append("run", evidence)
    export(ledger, Span(1, 4), [], tmp_path / "out")
    assert [status for status, _ in checks(tmp_path / "out", whole)] == [1, 1]
    for command in (["sh", "check.sh"], ["python3", "check.py"]):
        done = subprocess.run(command, cwd=tmp_path / "out", capture_output=True, text=True)
        assert done.returncode == 0 and "4 ENTRIES ARE NOT SIGNED" in done.stdout
        assert subprocess.run(command, cwd=bundle, capture_output=True).returncode == 75


def test_a_run_that_stands_in_it_twice_is_named(whole: Path, tmp_path: Path) -> None:
    ledger = filled(tmp_path, 2, key())
    again = small("r1")
    again["run"]["ended"] = "interrupted"
    ledger.append("run", again, key())
    export(ledger, Span(1, 3), KEYS, tmp_path / "out")
    for status, said in checks(tmp_path / "out", whole):
        assert status == 1 and said == "BROKEN: entry 3: replayed: its run was recorded before"
