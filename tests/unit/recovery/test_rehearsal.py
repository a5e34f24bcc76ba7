"""A runbook of the form that most teams have, executed step by step: green as it is, red for every way to spoil it."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import Objects, database
from tests.support.plans import plan_of, planned_copy, planned_target

from restore_drill.drill import Drill
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Finding, Verdict
from restore_drill.plan import PlannedTarget
from restore_drill.recovery.judging import RunbookCheck
from restore_drill.recovery.rehearsal import rehearse, require_confined
from restore_drill.run import Run, RunOptions
from restore_drill.runbooks import PlannedRunbook
from restore_drill.target_drill import TargetDrill

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
NAME = "crm/{time:%Y%m%d_%H%M%S}/crm.sql"
RUNBOOK = (Path(__file__).parents[2] / "support" / "runbooks" / "services.md").read_text("utf-8")
RULE: dict[str, Any] = {
    "document": "services.md",
    "section": "Customer database",
    "paths": {"/mnt/backups": "$BACKUP_DIR", "/srv/crm": "$RESTORE_DIR"},
    "stubs": ["sudo", "systemctl", {"command": "curl", "only_for": "localhost", "says": '{"status":"ok"}'}],
    "restored": "crm.db",
}

Rehearse = Callable[..., Finding]


@pytest.fixture(scope="module")
def drill(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Iterator[Drill]:
    """A drill that has restored its snapshot and measured its content, for every runbook of this file."""
    for program in ("sqlite3", "curl"):
        require_program(program)
    root = tmp_path_factory.mktemp("rehearsal")
    job = Objects(root / "nas", NAME)
    job.put(NOW - timedelta(minutes=30), _dump())
    target = planned_target(
        planned_copy("nas", NAME, root=root / "nas"), name="crm", runbook=RULE, expect={"rows": {"orders": 100}}
    )
    with _drilled(root, target) as drill:
        yield drill


@contextlib.contextmanager
def _drilled(root: Path, target: PlannedTarget) -> Iterator[Drill]:
    """A drill that has come as far as its restore."""
    run = Run(
        "run", root / "reports" / "run", plan_of(target, state=root / "state"), _options(root), clock=NOW.timestamp
    )
    run.history.initialise()
    whole = TargetDrill(target, run, target.cases())
    yield _measured(whole)
    whole.close()
    run.close()


def _dump() -> bytes:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(database())
        return "\n".join(connection.iterdump()).encode() + b"\n"


def _options(root: Path) -> RunOptions:
    (root / "work").mkdir()
    return RunOptions(work_dir=str(root / "work"))


def _measured(whole: TargetDrill) -> Drill:
    drill = whole.drill("nas")
    for case in whole.target.cases():
        if case.case in ("integrity", "rows"):
            drill.measure(case)
    return drill


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Drill]:
    """The same of a tree."""
    root = tmp_path_factory.mktemp("tree")
    packed, name = io.BytesIO(), "app/{time:%Y%m%d_%H%M%S}.tar"
    with tarfile.open(fileobj=packed, mode="w") as archive:
        info = tarfile.TarInfo("app.toml")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"a=1\n"))
    Objects(root / "nas", name).put(NOW - timedelta(minutes=30), packed.getvalue())
    target = planned_target(
        planned_copy("nas", name, root=root / "nas"), name="app", engine="files",
        runbook={"document": "app.md"}, expect={"files": {"min": 1, "max": 1}},
    )  # fmt: skip
    with _drilled(root, target) as drill:
        yield drill


@pytest.fixture
def execute(drill: Drill) -> Rehearse:
    """What is said of a document: ``execute(text, **changes of the catalogue's rule)``."""

    return lambda text=RUNBOOK, **changes: judged(drill, text, **{**RULE, **changes})


def facts_of(drill: Drill, text: str, **changes: Any) -> dict[str, Any]:
    model = planned_target(runbook={**RULE, **changes}).model.runbook
    assert model is not None
    return rehearse(drill, PlannedRunbook(model, "services.md", text, "0" * 64))


def judged(drill: Drill, text: str, **rule: Any) -> Finding:
    model = planned_target(runbook=rule).model.runbook
    assert model is not None
    facts = rehearse(drill, PlannedRunbook(model, "services.md", text, "0" * 64))
    return RunbookCheck().judge(facts, drill.context(next(case for case in drill.cases if case.case == "runbook")))


def changed(old: str, new: str) -> str:
    assert old in RUNBOOK
    return RUNBOOK.replace(old, new)


def line_of(text: str, document: str = RUNBOOK) -> int:
    return next(number for number, line in enumerate(document.splitlines(), 1) if text in line)


def test_it_recovers_with_nothing_but_paths_and_stubs(execute: Rehearse, drill: Drill) -> None:
    found = execute()
    assert found.passed, (found.message, found.details)
    assert found.actual == "9 steps, 3 cases"
    stop, start = line_of("systemctl stop"), line_of("systemctl start")
    assert f"by hand, stood in for here: systemctl (line {stop}, {start})" in found.notes
    assert any(note.startswith("by hand, stood in for here: curl") for note in found.notes)
    assert found.notes[-1] == "rollback: in prose: the file that it names is what was there before the restore"
    assert not list(Path(drill.run.options.work_dir).glob("*/*/*runbook*")), "something of it is left"


BLOCK = "```sh\n{}\n```\n"
ROLLBACK = "## Rollback\n\n```sh\nmv /srv/crm/crm.db.before-restore /srv/crm/crm.db\n```\n"
DB = "/srv/crm/crm.db"
LOAD = f"sqlite3 {DB} < crm.sql"
KEEP = "mv /srv/crm/crm.db /srv/crm/crm.db.before-restore"


def test_what_the_steps_leave_may_be_told_by_a_path(execute: Rehearse) -> None:
    paths = {**RULE["paths"], "/srv/crm/crm.db": "$RESTORED"}
    found = execute(paths=paths, restored=None)
    assert found.passed, (found.message, found.details)
    assert found.notes[-1] == "rollback: in prose: the file that it names is what was there before the restore"


def test_a_gap_that_people_fill_in_is_a_path_like_any_other(execute: Rehearse) -> None:
    text = changed('`cd "$LATEST"`', "`cd /mnt/backups/crm/<the newest>`")
    assert not execute(text).passed
    found = execute(text, paths={**RULE["paths"], "/mnt/backups/crm/<the newest>": "$SNAPSHOT_DIR"})
    assert found.passed, (found.message, found.details)


SPOILED = {
    "digest": ("sha256sum -c crm.sql.sha256", "sha256sum -c crm.sql.sha512", "line 19 ended with status 1"),
    "no dump": (LOAD, "sqlite3 /srv/crm/crm.db < crm.sql.gz", "line 21 ended with status 1"),
    "gone": (LOAD, "rm -r /srv/crm", "line 22 ended with status 1"),
    "not loaded": (LOAD, "sqlite3 --version", "its steps left a file that is none of sqlite"),
    "link": (LOAD, "ln -s crm.db.before-restore /srv/crm/crm.db", "is no file and no directory, or behind a link"),
    "not kept": (KEEP, "rm /srv/crm/crm.db", "none of the files that it names is what was there before the restore"),
    "rows lost": (LOAD, f"{LOAD} && sqlite3 {DB} 'delete from orders where id > 60'", "left fails rows of orders"),
    "writes into the store": (LOAD, "gzip -c crm.sql > crm.sql.gz", "line 21 ended with status 1"),
    "in a pipe": (LOAD, "false | cat", "line 21 ended with status 1"),
    "no stub, no network": ("localhost:8080", "crm-1:8080", "line 25 ended with status"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), SPOILED.values(), ids=SPOILED)
def test_what_is_spoiled_is_named(execute: Rehearse, old: str, new: str, said: str) -> None:
    found = execute(changed(old, new))
    assert found.verdict is Verdict.FAILED
    assert said in found.message, found.message
    assert found.message.startswith("services.md: ")


def test_it_is_only_said_of_the_drill_what_it_was_asked(execute: Rehearse, drill: Drill, monkeypatch: Any) -> None:
    less = changed(LOAD, f"{LOAD} && sqlite3 {DB} 'delete from orders where id > 60'")
    assert execute(less).remedy.startswith("The drill's own restore passes it")
    monkeypatch.setattr(drill, "content_facts", dict)  # as in a run of this case alone
    assert execute(less).remedy.startswith("This run did not ask the drill's own restore")


def test_what_runs_on_behind_a_step_does_not_hold_it_up(execute: Rehearse) -> None:
    behind = changed(LOAD, f"{LOAD} && (sleep 30 >/dev/null 2>&1 &)")
    assert execute(behind, within="8s").passed


def test_a_step_that_hangs_is_named(execute: Rehearse) -> None:
    found = execute(changed(LOAD, "sleep 600"), within="3s")
    assert found.message == 'services.md: the step "Customer database", line 21 did not end in time'


def test_a_block_fails_at_its_own_line_and_what_was_said_stays_in_the_details(execute: Rehearse) -> None:
    found = execute(
        f"# A\n\n## Restore\n\n{BLOCK.format('echo first > a' + chr(10) + 'cat nothing-there')}", section=None
    )
    assert found.message == 'services.md: the step "Restore", line 7 ended with status 1'
    assert "nothing-there" in " ".join(found.details) and "nothing-there" not in found.message + found.remedy


def test_steps_share_a_shell(execute: Rehearse) -> None:
    """Variables, functions, options and the directory go from block to block, however they are written."""
    document = f"""
```sh
load() {{ sqlite3 "$1" < "$SNAPSHOT"; }}
set -u
shopt -s nullglob
NEWEST="two
lines"
cd "$WORK_DIR" && mkdir in && cd in
exit 0
```

```console
$ test "$(basename "$PWD")" = in
this is what it says
$ [ "$NEWEST" = "two
> lines" ]
# rm -f "$RESTORED"
# load "$RESTORED"
```

```
not to be typed: rm -rf "$RESTORED"
```

{ROLLBACK.replace("mv", "true")}
"""
    found = execute(document, section=None, rollback=False)
    assert found.passed, (found.message, found.details)
    assert found.notes == ("not executed: a block that names no language (line 22)", "rollback: not asked for")


@pytest.mark.parametrize(
    ("back", "said"),
    [
        ("mv /srv/crm/crm.db.before-restore /srv/crm/crm.db", ""),
        ("cp /srv/crm/crm.db.before-restore /srv/crm/old.db", "what was at $RESTORE_DIR/crm.db before the restore"),
        ("mv /srv/crm/crm.db.before /srv/crm/crm.db", "the rollback's step \"Rollback\", line 29 ended with status 1"),
    ],
    ids=["back", "elsewhere", "wrong name"],
)  # fmt: skip
def test_the_way_back_is_gone_when_it_is_written_as_steps(execute: Rehearse, back: str, said: str) -> None:
    forward = RUNBOOK[: RUNBOOK.index("**Rollback**")].replace("**Steps**", "### Steps")
    found = execute(f"{forward}### Rollback\n{BLOCK.format(back)}")
    assert (found.message == "") is (said == "") and said in found.message, found.message
    assert found.passed is not bool(said)
    assert found.notes[-1:] == (("rollback: drilled",) if not said else ())


@pytest.mark.parametrize(
    ("back", "passes"),
    [
        ('rm -r "$RESTORED" && mv "$RESTORED.before" "$RESTORED"', True),
        ('mv "$RESTORED.before" "$RESTORED"', False),  # which moves it into what is there
    ],
    ids=["back", "nested"],
)
def test_a_tree_is_back_where_it_was_and_not_somewhere_in_it(tree: Drill, back: str, passes: bool) -> None:
    forward = 'mv "$RESTORED" "$RESTORED.before"\nmkdir "$RESTORED"\ntar -C "$RESTORED" -xf "$SNAPSHOT"'
    document = f"{BLOCK.format(forward)}\n## Rollback\n\n{BLOCK.format(back)}"
    found = judged(tree, document, document="app.md", restored="app")
    assert found.passed is passes, (found.message, found.details)
    assert passes or "what was at $RESTORE_DIR/app before the restore is not there again" in found.message


def test_what_stood_in_is_no_part_of_a_tree_that_was_unpacked_over_it(tree: Drill) -> None:
    document = BLOCK.format('tar -C "$RESTORED" -xf "$SNAPSHOT"') + "\nRollback: call somebody.\n"
    found = judged(tree, document, document="app.md", restored="app")
    assert found.passed, (found.message, found.details)  # one file, as in the backup
    assert found.notes == ("rollback: in prose that names no file below a mapped path: not drilled",)


@pytest.mark.parametrize(
    ("forward", "passes"),
    [
        ("true", False),  # what stood in is a database that nothing is wrong with
        ('sqlite3 "$RESTORED" < "$SNAPSHOT"', False),  # into the old one
        ('rm "$RESTORED" && sqlite3 "$RESTORED" < "$SNAPSHOT"', True),
    ],
    ids=["nothing", "into the old one", "in its place"],
)
@pytest.mark.parametrize("back", ["Rollback: call somebody.\n", "Rollback: keep `/srv/crm/crm.db`.\n"])
def test_what_was_there_before_is_not_what_was_restored(
    execute: Rehearse, forward: str, back: str, passes: bool
) -> None:
    found = execute(f"{BLOCK.format(forward)}\n{back}", section=None)
    assert ("before is still there, or part of it" in found.message) is not passes, found.message
    assert found.passed is (passes and "call" in back)


def test_a_way_back_that_does_nothing_is_none(tree: Drill) -> None:
    unpack = 'tar -C "$RESTORED" -xf "$SNAPSHOT"'
    text = f"{BLOCK.format(unpack)}\n## Rollback\n\n{{}}"
    found = judged(tree, text.format(BLOCK.format("true")), document="app.md", restored="app")
    assert "before the restore is not there again" in found.message
    found = judged(tree, text.format(BLOCK.format('rm "$RESTORED/app.toml"')), document="app.md", restored="app")
    assert found.passed, (found.message, found.details)


def test_a_way_back_that_failed_is_not_on_record_as_drilled(drill: Drill) -> None:
    forward = 'mv "$RESTORED" "$RESTORED.old"\nsqlite3 "$RESTORED" < "$SNAPSHOT"'
    text = f"{BLOCK.format(forward)}\n## Rollback\n\n{{}}"
    for back, said in (
        ('mv "$RESTORED.old" "$RESTORED"', "drilled"), ("true", "executed, and it does not lead back")
    ):  # fmt: skip
        assert facts_of(drill, text.format(BLOCK.format(back)), section=None)["rollback"] == said


def test_a_log_beside_a_database_is_judged_with_it(execute: Rehearse) -> None:
    forward = """
mv "$RESTORED" "$RESTORED.old"
sqlite3 new.db < "$SNAPSHOT"
sqlite3 new.db 'pragma journal_mode = wal; create table later (id)' >/dev/null
sqlite3 new.db <<'END'
delete from orders where id > 60;
.shell cp new.db "$RESTORED"; cp new.db-wal "$RESTORED-wal"
END
"""
    back = '## Rollback\n\n```sh\nmv "$RESTORED.old" "$RESTORED"; rm -f "$RESTORED-wal"\n```\n'
    for text in (forward, forward.replace("delete from orders where id > 60;", "select 1;")):
        found = execute(f"{BLOCK.format(text)}\n{back}", section=None)
        assert found.passed is ("delete" not in text), (found.message, found.details)


@pytest.mark.parametrize(("journal", "passes"), [("", True), ("what an old transaction left", False)])
def test_a_journal_beside_a_database_is_judged_with_it(execute: Rehearse, journal: str, passes: bool) -> None:
    """SQLite rolls a database back by it, whoever left it there."""
    forward = f'sqlite3 "$RESTORED" < "$SNAPSHOT"\nprintf %s "{journal}" > "$RESTORED-journal"'
    found = execute(BLOCK.format(forward), section=None)
    assert found.passed is passes and ("the -journal cannot be rolled back" in found.message) is not passes


@pytest.mark.parametrize(("end", "passes"), [("END", True), (" END", False), ("", False)])
def test_text_without_an_end_swallows_no_step(execute: Rehearse, end: str, passes: bool) -> None:
    forward = f'sqlite3 "$RESTORED" < "$SNAPSHOT"\n\ncat >notes <<END\ntold\n{end}\ntest -s "$RESTORED"'
    found = execute(f"## Load\n\n{BLOCK.format(forward)}", section=None)
    assert found.passed is passes
    assert passes or found.message == 'services.md: the step "Load", line 6 ended with status 2'


@pytest.mark.parametrize("spoiled", ["PATH=/nowhere", "IFS=,", "mv() { :; }; sort() { :; }", "set -u"])
def test_what_a_step_does_to_its_shell_hides_nothing(drill: Drill, spoiled: str) -> None:
    forward = f'sqlite3 "$RESTORED" < "$SNAPSHOT"\nsystemctl stop crm\nONE=1\n{spoiled}'
    facts = facts_of(drill, BLOCK.format(forward) + BLOCK.format('[ "$ONE" = 1 ]'), section=None)
    assert [each["status"] for each in facts["steps"]] == [0, 0]
    assert [each["command"] for each in facts["stubbed"]] == ["systemctl"]


@pytest.mark.parametrize(
    "become",
    [
        "sudo -u crm -- env {}", "sudo -n {}", "runuser -u crm -- {}", "runuser -l crm -c '{}'", "su - crm -c '{}'",
        "su -s /bin/sh -c '{}' crm", "su -lc '{}' crm", "su --command='{}' crm",
        "su - crm -c 'env -u HOME {}'",
    ],
)  # fmt: skip
def test_what_is_typed_as_somebody_else_is_executed(execute: Rehearse, become: str) -> None:
    made, failing = become.format("mkdir made"), become.format("sh nothing.sh")
    text = BLOCK.format(f"{made}\ntest -d made\n{failing}")
    found = execute(text, section=None, stubs=["sudo", "runuser", "su"])
    assert found.message == "services.md: the step line 4 ended with status 2", found.details


OWN_TRAP = """
tmp=$(mktemp -d)
trap 'rm -r "$tmp"' EXIT
systemctl stop crm
echo "curl: the customer Ada Example owes 4711" >&2
"""


@pytest.mark.parametrize("ending", ["true", "false", "exec 2>/dev/null", "exec sh -c 'exit 3'", "set +e; false"])
def test_what_a_step_says_is_never_taken_for_what_it_called(drill: Drill, ending: str) -> None:
    text = BLOCK.format(OWN_TRAP + ending) + BLOCK.format('test -d "$tmp"')
    facts = facts_of(drill, text, section=None)
    assert [each["command"] for each in facts["stubbed"]] == ["systemctl"]
    assert "Ada" not in repr({name: each for name, each in facts.items() if name != "details"})
    status = {"true": 0, "exec 2>/dev/null": 0, "exec sh -c 'exit 3'": 3}.get(ending, 1)
    assert [each["status"] for each in facts["steps"]] == ([0, 0] if status == 0 else [status])


@pytest.mark.parametrize(
    ("text", "rule", "said"),
    [
        ("Restore it with `sqlite3 crm.db < crm.sql`.\n", {"section": None}, "has no step that could be executed"),
        (RUNBOOK, {"section": "Payroll"}, "it has no headings 'Payroll': its headings are"),
        (RUNBOOK.replace("sqlite3 /srv", "sqlite4 /srv"), {}, "line 21 of services.md needs a program"),
        (RUNBOOK, {"paths": {"/srv/crm": "$KEY_AGE_IDENTITY"}}, "runbook.paths names $KEY_AGE_IDENTITY"),
    ],
    ids=["prose", "section", "program", "variable"],
)  # fmt: skip
def test_what_cannot_be_executed_is_no_verdict(execute: Rehearse, text: str, rule: dict[str, Any], said: str) -> None:
    with pytest.raises(CouldNotVerify) as caught:
        execute(text, **rule)
    assert said in caught.value.cause


@pytest.mark.parametrize(
    ("facts", "reached"),
    [
        ({}, ""),
        ({"kind": "container", "network": "host"}, ""),
        ({"network": "host", "landlock": 4}, ""),
        ({"network": "host", "landlock": 3}, "the network"),
        ({"writes": "as the user may", "user": 0, "landlock": 0}, ""),  # nobody's
        ({"writes": "as the user may", "landlock": 0}, "this user's files"),
        ({"writes": "as the user may", "user": 0, "accounts": False, "landlock": 0}, "this user's files"),
        ({"network": "host", "writes": "as the user may", "landlock": 0}, "the network and this user's files"),
    ],
)
def test_commands_meant_for_production_run_only_where_they_cannot_reach_it(facts: dict[str, Any], reached: str) -> None:
    held = {
        "kind": "directory", "network": "none", "writes": "sandbox directory", "landlock": 4, "user": 1000,
        "accounts": True, "refused": (),
    }  # fmt: skip
    said = pytest.raises(CouldNotVerify, match=f"could reach {reached} from this sandbox")
    with said if reached else contextlib.nullcontext():
        require_confined({**held, **facts})
