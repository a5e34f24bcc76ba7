"""ci/backup-jobs: what they leave is drilled and good; what is wrong makes them fail, and nothing is seen of it."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
import yaml
from tests.support.documents import blocks, follow
from tests.support.project import Project, until

ROOT = Path(__file__).parents[2]
JOBS = ROOT / "ci" / "backup-jobs"
PAGE = ROOT / "docs" / "backup-jobs.md"


def shop(path: Path) -> None:
    """A database in the mode in which copying the file is not enough: what was written last is in the -wal file."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.executescript(
            "create table customers (id integer primary key, name text);"
            "create table orders (id integer primary key, customer integer references customers, cents integer);"
        )
        connection.executemany("insert into customers values (?, 'somebody')", ((n,) for n in range(20)))
        connection.executemany("insert into orders values (?, ?, 100)", ((n, n % 20) for n in range(200)))
        connection.commit()


@dataclass
class Machine:
    """A machine with systems to be backed up, a store, and a project that drills what is in the store."""

    root: Path
    project: Project
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Path:
        return self.project.root / "stores" / "nas"

    @property
    def database(self) -> Path:
        return self.root / "shop.db"

    @property
    def tree(self) -> Path:
        return self.root / "app"

    def job(self, script: str, what: str | Path, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ALLOW_SAME_DISK": "yes", "PRUNE": "no", **self.variables, **variables}
        return subprocess.run(
            [JOBS / script, str(what), str(self.store), name],
            env={key: text for key, text in environment.items() if text},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def good(self, *arguments: Any, **variables: str) -> str:
        done = self.job(*arguments, **variables)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def bad(self, said: str, *arguments: Any, **variables: str) -> None:
        """The job fails, says why, and no snapshot is to be seen that was not there before."""
        before = self.snapshots(arguments[2])
        done = self.job(*arguments, **variables)
        assert done.returncode != 0, done.stderr
        assert said in done.stderr
        assert self.snapshots(arguments[2]) == before

    def broken(self, program: str, when: str = "SHA256SUMS") -> dict[str, str]:
        """Variables with which a program fails when it is given certain words."""
        place, real = self.root / f"broken-{program}", shutil.which(program)
        place.mkdir()
        (place / program).write_text(f'#!/bin/sh\ncase " $*" in *{when}*) exit 9 ;; esac\nexec {real} "$@"\n')
        (place / program).chmod(0o755)
        return {"PATH": f"{place}:{os.environ['PATH']}"}

    def instead(self, program: str, script: str) -> dict[str, str]:
        """Variables with which a program is a script, which finds the real one as $REAL."""
        place, real = self.root / f"instead-{program}", shutil.which(program)
        place.mkdir()
        (place / program).write_text(f"#!/bin/sh\nREAL={real}\n{script}")
        (place / program).chmod(0o755)
        return {"PATH": f"{place}:{os.environ['PATH']}"}

    def begun(self, script: str, what: str | Path, name: str, **variables: str) -> subprocess.Popen[bytes]:
        """A job that holds still: its stand-in made the file ``hold``."""
        hold = self.root / "hold"
        environment = {**os.environ, "ALLOW_SAME_DISK": "yes", "PRUNE": "no", **self.variables, **variables}
        command: list[str | Path] = [JOBS / script, str(what), str(self.store), name]
        process = subprocess.Popen(command, env={**environment, "HOLD": str(hold)}, stderr=subprocess.DEVNULL)
        until(hold.exists, "the job holds still")
        hold.unlink()
        return process

    def snapshots(self, name: str) -> list[str]:
        place = self.store / name
        return sorted(each.name for each in place.iterdir() if not each.name.startswith(".")) if place.exists() else []

    def newest(self, name: str) -> Path:
        return self.store / name / max(each for each in self.snapshots(name) if each[0].isdigit() and each[-1] != "6")


def prepared(root: Path) -> Machine:
    """A machine on which nothing was backed up yet."""
    identity = pyrage.x25519.Identity.generate()
    root.mkdir(exist_ok=True)
    recipients, key = root / "recipients.txt", root / "key.txt"
    recipients.write_text(f"# two may read\n{identity.to_public()}\n{pyrage.x25519.Identity.generate().to_public()}\n")
    key.write_text(f"{identity}\n")
    key.chmod(0o600)
    project = Project(root / "project")
    documented = documented_catalogue(key)
    project.catalogue |= {"targets": documented["targets"], "defaults": documented["defaults"]}
    project.write()
    machine = Machine(root, project, {"AGE_RECIPIENTS": str(recipients), "ENCRYPTED_STORE": "yes"})
    shop(machine.database)
    for number in range(5):
        path = machine.tree / f"etc/part-{number}/a file.conf"
        path.parent.mkdir(parents=True)
        path.write_text(f"setting = {number}\n")
    (machine.tree / "etc/link").symlink_to("part-0")
    (machine.tree / "-").write_text("not the standard input\n")
    return machine


def documented_catalogue(key: Path) -> dict[str, Any]:
    """The catalogue of docs/backup-jobs.md, with this machine's key."""
    (block,) = [each for each in blocks(PAGE) if each.language == "yaml" and each.text.startswith("version: 1\n")]
    catalogue: dict[str, Any] = yaml.safe_load(block.text)
    for target in catalogue["targets"].values():
        if "decrypt" in target:
            target["decrypt"] = {"age": {"identity": f"file:{key}"}}
    return catalogue


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return prepared(tmp_path / "machine")


@pytest.fixture(scope="module")
def volume(stand_in: Callable[[str], str]) -> Iterator[str]:
    """A volume with files of somebody's, and the name of an image that has tar."""
    name = f"restore-drill-test-{os.getpid()}"
    script = (
        "mkdir -p /data/letters && for n in 1 2 3 4 5; do echo $n >/data/letters/$n.txt; done && chown -R 1000 /data"
    )
    docker("run", "--rm", "--network=none", f"--volume={name}:/data", stand_in("python"), "sh", "-c", script)
    yield name
    docker("volume", "rm", "--force", name)


def docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- what they leave is drilled ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def backed_up(
    tmp_path_factory: pytest.TempPathFactory,
    require_program: Callable[[str], str],
    volume: str,
    stand_in: Callable[[str], str],
) -> Machine:
    """A machine after its first night: all three jobs ran while the systems were in use."""
    for program in ("sqlite3", "age", "rsync", "flock", "docker"):
        require_program(program)
    machine = prepared(tmp_path_factory.mktemp("backed-up") / "machine")
    with closing(sqlite3.connect(machine.database)) as writer:  # its last rows are in the -wal file alone
        writer.execute("pragma wal_autocheckpoint = 0")
        writer.execute("insert into orders values (1000, 1, 7)")
        writer.commit()
        machine.good("sqlite-online.sh", machine.database, "shop")
    machine.good("rsync-link-dest.sh", machine.tree, "app")
    machine.good("docker-volume.sh", volume, "uploads", IMAGE=stand_in("python"))
    return machine


def test_what_the_jobs_leave_is_drilled_and_good(backed_up: Machine) -> None:
    run = backed_up.project.run()
    run.check_whole()
    assert run.status == 0, run.screen
    assert set(run.drills) == {"shop/nas", "app/nas", "uploads/nas"}
    assert run.cases["shop/nas/rows/orders"]["actual"] == 201
    assert {key: run.verdicts[f"{key}/nas/checksum"] for key in ("shop", "app", "uploads")} == dict.fromkeys(
        ("shop", "app", "uploads"), "passed"
    )
    assert run.verdicts["shop/nas/encrypted"] == run.verdicts["uploads/nas/encrypted"] == "passed"


def test_what_is_damaged_afterwards_is_red(backed_up: Machine, tmp_path: Path) -> None:
    project = backed_up.project
    kept = tmp_path / "kept"
    shutil.copytree(backed_up.store, kept, symlinks=True)
    try:
        with backed_up.newest("shop").open("r+b") as file:
            file.truncate(file.seek(0, os.SEEK_END) - 10)
        (backed_up.newest("app") / "etc/part-3/a file.conf").write_text("setting = 4\n")
        with backed_up.newest("uploads").open("ab") as file:
            file.write(b"\0")
        run = project.run()
    finally:
        shutil.rmtree(backed_up.store)
        shutil.copytree(kept, backed_up.store, symlinks=True)
    assert run.status == 1
    broken = {key.split("/")[0]: key.split("/")[2] for key, verdict in run.causes.items() if verdict == "failed"}
    assert broken == {"shop": "checksum", "app": "checksum", "uploads": "checksum"}


def test_the_page_is_followed(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("sqlite3", "age-keygen", "rsync", "flock"):
        require_program(program)
    environment = {**os.environ, "PATH": f"{JOBS}:{os.environ['PATH']}"}
    commands = follow(PAGE, tmp_path, environment)
    assert sum(".sh " in command for command in commands) == 2


# --- what is wrong makes them fail ------------------------------------------------------------------------------------


def test_a_database_that_cannot_be_backed_up(machine: Machine, require_program: Callable[[str], str]) -> None:
    require_program("age")
    bad = machine.root / "bad.db"
    machine.bad("is not there, or empty", "sqlite-online.sh", bad, "shop")
    with closing(sqlite3.connect(bad)) as connection:
        connection.execute("pragma user_version = 7")  # a database, and nothing in it
    machine.bad("has no tables", "sqlite-online.sh", bad, "shop")
    with closing(sqlite3.connect(machine.database)) as connection:
        connection.execute("pragma wal_checkpoint(truncate)")
    whole = machine.database.read_bytes()
    bad.write_bytes(whole[:4096] + b"\xff" * 4096 + whole[8192:])
    machine.bad("", "sqlite-online.sh", bad, "shop")
    with closing(sqlite3.connect(machine.database)) as connection:
        connection.execute("insert into orders values (2000, 99, 1)")
        connection.commit()
    assert machine.snapshots("shop") == []
    assert "refer to nothing" in machine.good("sqlite-online.sh", machine.database, "shop")
    assert len(machine.snapshots("shop")) == 2


def test_what_every_job_refuses(machine: Machine, require_program: Callable[[str], str]) -> None:
    require_program("age")
    job = ("sqlite-online.sh", machine.database, "shop")
    machine.bad("lie on one disk", *job, ALLOW_SAME_DISK="")
    machine.bad("public keys", *job, AGE_RECIPIENTS="")
    (machine.root / "nobody.txt").write_text("# nobody\n")
    machine.bad("", *job, AGE_RECIPIENTS=str(machine.root / "nobody.txt"))
    machine.bad("is not made of letters", *job[:2], "../shop")
    (machine.store / "shop").mkdir(exist_ok=True)
    held = os.open(machine.store / "shop" / ".lock", os.O_WRONLY | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    machine.bad("another job", *job)
    os.close(held)
    assert machine.snapshots("shop") == []
    (machine.store / "shop" / ".part-20260101T000000Z_shop.db.gz.age").write_bytes(b"of a job that was killed")
    machine.good(*job)
    assert not list((machine.store / "shop").glob(".part-*"))
    shutil.rmtree(machine.store)
    machine.bad("is it mounted?", *job)
    assert not machine.store.exists()


def test_another_disk_is_taken(machine: Machine, require_program: Callable[[str], str]) -> None:
    require_program("age")
    here = machine.root.stat().st_dev
    places = [place for place in ("/dev/shm", "/var/tmp") if Path(place).stat().st_dev != here]
    with tempfile.TemporaryDirectory(dir=places[0]) as elsewhere:
        database = Path(elsewhere) / "shop.db"
        shop(database)
        machine.good("sqlite-online.sh", database, "shop", ALLOW_SAME_DISK="")


def test_the_drills_are_let_in_to_read_and_nobody_else(machine: Machine, require_program: Callable[[str], str]) -> None:
    require_program("setfacl")
    (told,) = re.findall(r"`(setfacl .*)`", PAGE.read_text("utf-8"))

    def rights(**let_in: str) -> set[str]:
        shutil.rmtree(machine.store)
        machine.store.mkdir(mode=0o755)
        for who, command in let_in.items():
            typed = command.replace("restore-drill", who).replace("/mnt/backups", f"'{machine.store}'")
            subprocess.run(["sh", "-ec", typed], check=True, timeout=60)
        machine.good("sqlite-online.sh", machine.database, "shop")
        found = subprocess.run(["getfacl", "--omit-header", machine.newest("shop")], capture_output=True, text=True)
        return {line.partition("\t")[0] for line in found.stdout.split("\n") if line}

    assert rights() == {"user::rw-", "group::---", "other::---"}
    # The mask is what is left of it: a file that is read is not run.
    assert {"user:nobody:r-x", "mask::r--", "group::---", "other::---"} <= rights(nobody=told)


def test_generations_share_what_has_not_changed(machine: Machine, require_program: Callable[[str], str]) -> None:
    require_program("rsync")
    job = ("rsync-link-dest.sh", machine.tree, "app")
    machine.bad("ENCRYPTED_STORE", *job, ENCRYPTED_STORE="")
    machine.bad("the store lies in", job[0], machine.root, "app")
    machine.bad("lie on one disk", *job, ALLOW_SAME_DISK="", **machine.broken("stat", "%d"))
    machine.good(*job)
    place = machine.store / "app"
    first = (place / "latest").readlink()
    _earlier(place, str(first), "20260101T000000Z")
    # What a listing would take for the newest: of a job that was killed, and what somebody put there.
    (place / "20990101T000000Z").mkdir()
    (place / ".part-20980101T000000Z").mkdir()
    (machine.tree / "etc/part-1/a file.conf").write_text("setting = another\n")
    machine.good(*job)
    newest = (place / "latest").readlink()
    shared = [
        (place / newest / f"etc/part-{number}/a file.conf").samefile(
            place / "20260101T000000Z" / f"etc/part-{number}/a file.conf"
        )
        for number in range(5)
    ]
    assert shared == [True, False, True, True, True]
    check = ["sha256sum", "-c", "--quiet", "--strict", "SHA256SUMS"]
    assert subprocess.run(check, cwd=place / newest, stdin=subprocess.DEVNULL).returncode == 0


def test_a_tree_that_vanishes_meanwhile_is_no_generation(
    machine: Machine, require_program: Callable[[str], str]
) -> None:
    require_program("rsync")
    job = ("rsync-link-dest.sh", machine.tree, "app")
    vanishing = '"$REAL" "$@" || exit\n[ -z "$VANISHES" ] || rm -r "$VANISHES"/*\nexit 24\n'
    variables = machine.instead("rsync", vanishing)
    assert "some files vanished" in machine.good(*job, **variables)
    shutil.rmtree(machine.store / "app")
    machine.bad("vanished while it was copied", *job, **variables, VANISHES=str(machine.tree))


def test_a_signal_leaves_no_copy_that_is_not_encrypted(
    machine: Machine, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    require_program("sqlite3")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    writes_on = """case "$*" in *.backup*) ;; *) exec "$REAL" "$@" ;; esac
        trap 'exit 1' TERM
        copy=$(echo "$*" | sed "s/.*main '//; s/'.*//")
        for number in $(seq 50000); do
            mkdir -p "${copy%/*}" && echo of somebody >>"$copy" && : >"$HOLD"
        done
    """
    variables = machine.instead("sqlite3", writes_on)
    process = machine.begun("sqlite-online.sh", machine.database, "shop", **variables, TMPDIR=str(temporary))
    assert [path.name for path in temporary.rglob("*.db")] == ["copy.db"]
    process.terminate()
    assert process.wait(timeout=300) != 0
    assert [*temporary.iterdir()] == []
    assert machine.snapshots("shop") == []


def test_a_file_that_rots_in_a_shared_generation_is_noticed(
    machine: Machine, require_program: Callable[[str], str]
) -> None:
    require_program("rsync")
    job = ("rsync-link-dest.sh", machine.tree, "app")
    machine.good(*job)
    place = machine.store / "app"
    _earlier(place, str((place / "latest").readlink()), "20260101T000000Z")
    rotten = place / "20260101T000000Z/etc/part-2/a file.conf"
    times = rotten.stat()
    rotten.write_text("setting = 3\n")
    os.utime(rotten, ns=(times.st_atime_ns, times.st_mtime_ns))
    machine.bad("is damaged", *job)
    assert (place / "latest").readlink() == Path("20260101T000000Z")
    rotten.write_text("setting = 2\n")
    os.utime(rotten, ns=(times.st_atime_ns, times.st_mtime_ns))
    machine.bad("", *job, **machine.broken("sort"))  # what cannot be compared is not taken for the same
    machine.good(*job)
    shutil.rmtree(machine.tree)
    machine.tree.mkdir()
    machine.bad("is not there, or empty", *job)


def test_containers_run_again_whatever_happens(
    machine: Machine, volume: str, stand_in: Callable[[str], str], require_program: Callable[[str], str]
) -> None:
    require_program("docker")
    image = stand_in("python")
    machine.bad("there is no volume", "docker-volume.sh", "uplaods", "uploads", IMAGE=image)
    assert "uplaods" not in docker("volume", "ls", "--quiet").split()
    user = docker("run", "--detach", "--rm", "--network=none", f"--volume={volume}:/data", image, "sleep", "600")
    try:
        machine.good("docker-volume.sh", volume, "uploads", IMAGE=image)
        assert docker("inspect", "--format={{.State.Status}}", user) == "running"
        machine.bad("", "docker-volume.sh", volume, "uploads", IMAGE=image, AGE_RECIPIENTS="/dev/null")
        assert docker("inspect", "--format={{.State.Status}}", user) == "running"
        assert not list((machine.store / "uploads").glob(".part-*"))
        # Who uses the volume is not known: that is not nobody.
        machine.bad("", "docker-volume.sh", volume, "uploads", IMAGE=image, **machine.broken("docker", "' ps '"))
    finally:
        docker("rm", "--force", user)


def test_a_signal_ends_what_reads_the_volume_and_nothing_stays_halted(
    machine: Machine, volume: str, stand_in: Callable[[str], str], require_program: Callable[[str], str]
) -> None:
    require_program("docker")
    image = stand_in("python")
    reads_on = f"""[ "$1" = run ] || exec "$REAL" "$@"
        while [ "$1" != --label ]; do shift; done
        reader=$("$REAL" run --detach --rm --network none --label "$2" {image} sleep 600) && : >"$HOLD"
        exec "$REAL" wait "$reader" >/dev/null
    """
    variables = {**machine.instead("docker", reads_on), "IMAGE": image}
    place = machine.store / "uploads"
    user = docker("run", "--detach", "--rm", "--network=none", f"--volume={volume}:/data", image, "sleep", "600")

    def state() -> tuple[str, int]:
        readers = docker("ps", "--all", "--quiet", f"--filter=label=restore-drill.backup={place.resolve()}")
        return docker("inspect", "--format={{.State.Status}}", user), len(readers.split())

    def emptied() -> None:
        """Of two backups in one second the second would have the name of the first."""
        for path in place.glob("*_uploads*"):
            path.unlink()

    try:
        process = machine.begun("docker-volume.sh", volume, "uploads", **variables)
        assert state() == ("paused", 1)
        process.terminate()
        assert process.wait(timeout=300) != 0
        assert state() == ("running", 0)
        process = machine.begun("docker-volume.sh", volume, "uploads", **variables)
        process.kill()  # no trap is asked
        process.wait(timeout=300)
        assert state() == ("paused", 1)
        docker("rm", "--force", docker("ps", "--quiet", f"--filter=label=restore-drill.backup={place.resolve()}"))
        with (place / ".lock").open() as lock:  # held until what was left of the job has ended
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Another day, another way to halt: what is paused goes on by being unpaused. Until it does, it is remembered.
        cannot = machine.broken("docker", "' unpause '")
        machine.bad("does not go on", "docker-volume.sh", volume, "uploads", IMAGE=image, **cannot)
        machine.bad("QUIESCE=stpo", "docker-volume.sh", volume, "uploads", IMAGE=image, QUIESCE="stpo")
        assert state() == ("paused", 0) and (place / ".halted").read_text().split() == ["pause", user]
        machine.good("docker-volume.sh", volume, "uploads", IMAGE=image, QUIESCE="none")
        assert state() == ("running", 0)
        assert len(machine.snapshots("uploads")) == 2 and not (place / ".halted").exists()
        # One that does not go on after a good backup: the backup stays, and the job fails.
        emptied()
        done = machine.job("docker-volume.sh", volume, "uploads", IMAGE=image, **cannot)
        assert done.returncode != 0 and "the backup is good, but these do not go on" in done.stderr
        assert state() == ("paused", 0) and (place / ".halted").exists()
        assert len(machine.snapshots("uploads")) == 2
        emptied()
        docker("rm", "--force", user)
        machine.good("docker-volume.sh", volume, "uploads", IMAGE=image)
        assert not (place / ".halted").exists(), "what is gone needs not go on"
        assert len(machine.snapshots("uploads")) == 2
    finally:
        docker("rm", "--force", user)


def _earlier(place: Path, generation: str, name: str) -> None:
    """Have a generation be an earlier one."""
    (place / generation).rename(place / name)
    (place / "latest").unlink()
    (place / "latest").symlink_to(name)


# --- pruning ----------------------------------------------------------------------------------------------------------


def test_only_what_the_gate_names_and_is_of_this_job_goes(
    machine: Machine, require_program: Callable[[str], str]
) -> None:
    require_program("rsync")
    job = ("rsync-link-dest.sh", machine.tree, "app")
    place = machine.store / "app"
    for name in ("20260101T000000Z", "20260102T000000Z"):
        (place / name).mkdir(parents=True)
    (machine.store / "precious").mkdir()
    gate = machine.root / "gate"

    def asked(answer: str, status: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        gate.write_text(f'#!/bin/sh\necho "$*" >"$0.asked"\nprintf "{answer}"\nexit {status}\n')
        gate.chmod(0o755)
        if (place / "latest").exists():  # the next one may come in the same second
            shutil.rmtree(place / (place / "latest").readlink())
        return machine.job(*job, PRUNE="", GATE=str(gate), **variables)

    assert asked("app/20260101T000000Z/\\n", 75).returncode == 75
    assert asked("app/20260101T000000Z/\\n", 1).returncode == 0
    assert (machine.root / "gate.asked").read_text() == "retention app --copy nas --prune-list\n"
    assert {"20260101T000000Z", "20260102T000000Z"} < set(machine.snapshots("app"))
    for outside in (
        "precious/\\n",
        "app/../precious/\\n",
        "/etc/\\n",
        "app/\\n",
        "app/20260101T000000Z/../../precious\\n",
        "app/20260101T000000Z/\\n/etc/\\n",
    ):
        done = asked(outside)
        assert (done.returncode, "not of this job" in done.stderr) == (75, True)
        assert (place / "latest").resolve().is_dir()  # the backup is made
    assert (machine.store / "precious").exists() and (place / "20260101T000000Z").exists()
    assert asked("app/20260101T000000Z/\\n").returncode == 0
    assert "20260101T000000Z" not in machine.snapshots("app") and "20260102T000000Z" in machine.snapshots("app")
    # What cannot be removed wholly is not seen as a generation any more.
    (place / "20260102T000000Z/file").touch()
    assert asked("app/20260102T000000Z/\\n", **machine.broken("rm", ".part-gone")).returncode == 75
    assert "20260102T000000Z" not in machine.snapshots("app") and (place / ".part-gone/file").exists()
    assert asked("").returncode == 0
    assert not (place / ".part-gone").exists()


def test_what_no_drill_has_proved_a_successor_of_stays(machine: Machine, require_program: Callable[[str], str]) -> None:
    require_program("age")
    job = ("sqlite-online.sh", machine.database, "shop")
    gate = {
        "PRUNE": "", "GATE": f"{sys.executable} -m restore_drill", "PYTHONPATH": str(ROOT / "src"),
        "RESTORE_DRILL_CATALOGUE": str(machine.project.path),
    }  # fmt: skip
    del machine.project.targets["app"], machine.project.targets["uploads"]
    promised = machine.project.catalogue["defaults"].pop("retention")
    machine.project.write()
    for hours in (20, 10):
        machine.good(*job)
        taken = datetime.now(UTC) - timedelta(hours=hours)
        _renamed(machine.newest("shop"), f"{taken:%Y%m%dT%H%M%SZ}_shop.db.gz.age")
    assert "no drill has proved a snapshot yet" in machine.good(*job, **gate)
    _renamed(machine.newest("shop"), f"{datetime.now(UTC) - timedelta(minutes=5):%Y%m%dT%H%M%SZ}_shop.db.gz.age")
    proved = machine.newest("shop")
    assert len(machine.snapshots("shop")) == 6
    run = machine.project.run()
    assert run.status == 0, run.screen
    # The gate lets go of the two that are older; they are not old.
    assert "removed: 0" in machine.good(*job, **gate)
    _renamed(machine.newest("shop"), f"{datetime.now(UTC) - timedelta(minutes=1):%Y%m%dT%H%M%SZ}_shop.db.gz.age")
    assert len(machine.snapshots("shop")) == 8
    done = machine.job(*job, **gate, KEEP_DAYS="a week")
    assert (done.returncode, "no number of days" in done.stderr) == (75, True)
    _renamed(machine.newest("shop"), f"{datetime.now(UTC) - timedelta(seconds=30):%Y%m%dT%H%M%SZ}_shop.db.gz.age")
    machine.project.catalogue["defaults"]["retention"] = {**promised, "at_least": 9}
    machine.project.write()
    assert "removed: 0" in machine.good(*job, **gate, KEEP_DAYS="0")
    _renamed(machine.newest("shop"), f"{datetime.now(UTC) - timedelta(seconds=20):%Y%m%dT%H%M%SZ}_shop.db.gz.age")
    del machine.project.catalogue["defaults"]["retention"]  # nothing is promised: one that is proved is enough
    machine.project.write()
    assert "removed: 2" in machine.good(*job, **gate, KEEP_DAYS="0")
    assert proved.name in machine.snapshots("shop")
    assert len(machine.snapshots("shop")) == 10


def _renamed(artifact: Path, name: str) -> None:
    """Have a backup be one of another time."""
    sidecar = artifact.with_name(f"{artifact.name}.sha256")
    sidecar.write_text(sidecar.read_text().replace(artifact.name, name))
    sidecar.rename(artifact.with_name(f"{name}.sha256"))
    artifact.rename(artifact.with_name(name))
