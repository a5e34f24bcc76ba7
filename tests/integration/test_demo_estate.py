"""The demo estate: built, refreshed, killed and built again, and read back with tools that are not ours."""

from __future__ import annotations

import gzip
import json
import lzma
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from restore_drill.errors import CouldNotVerify

CHECKOUT = Path(__file__).resolve().parents[2]
if str(CHECKOUT / "fixtures") not in sys.path:
    sys.path.append(str(CHECKOUT / "fixtures"))

from demo_estate import orders_db  # noqa: E402
from demo_estate.estate import JOBS, OPTIONAL_JOBS, is_fresh  # noqa: E402
from demo_estate.estate import ensure as build  # noqa: E402
from demo_estate.places import BUCKET, PREFIX, Estate, sha256  # noqa: E402

NOW = datetime(2026, 11, 23, 10, 40, tzinfo=UTC).timestamp()
#: What may differ between two builds: keys, and what age encrypts under a fresh file key each time.
_RANDOM = ("keys/", ".age", ".age.sha256", "estate.json", ".lock")


def ensure(root: Path, now: float, *, rebuild: bool = False) -> Estate:
    """Building is tried with the jobs that run everywhere; those that need a server have tests of their own."""
    return build(root, now, rebuild=rebuild, servers=False)


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    return ensure(tmp_path_factory.mktemp("checkout"), NOW)


@pytest.fixture(scope="module")
def tomorrow(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    return ensure(tmp_path_factory.mktemp("checkout"), NOW + 86400)


def _copy(estate: Estate, checkout: Path) -> Estate:
    """The same estate in another checkout, sooner than it could be built."""
    copied = Estate(checkout / "fixtures" / "estate")
    shutil.copytree(estate.root, copied.root, symlinks=True)
    return copied


def _files(estate: Estate, *tops: str) -> Iterator[tuple[str, Path]]:
    for top in tops or ("live", "nas", "offsite"):
        for path in sorted((estate.root / top).rglob("*")):
            yield str(path.relative_to(estate.root)), path


def _stored(estate: Estate) -> dict[str, object]:
    """Everything under the estate that does not depend on chance: type, mode, time and bytes by name."""
    found: dict[str, object] = {}
    for name, path in _files(estate):
        if name.startswith(_RANDOM[0]) or name.endswith(_RANDOM[1:]):
            found[name] = "random"
        elif path.is_symlink():
            found[name] = path.readlink()
        elif path.is_file():
            written = 0.0 if name.endswith(".db") else path.stat().st_mtime  # a live database is dated by the clock
            content = path.read_bytes().replace(bytes(estate.root), b"ESTATE")
            found[name] = (path.stat().st_mode, written, content)
    return found


def _objects(estate: Estate) -> Path:
    return estate.objects / BUCKET / PREFIX


def _decrypted(estate: Estate, path: Path) -> bytes:
    import pyrage

    lines = estate.age_identity.read_text("utf-8").splitlines()
    identity = pyrage.x25519.Identity.from_str(lines[-1])
    return gzip.decompress(pyrage.decrypt(path.read_bytes(), [identity]))


def _rows(database: bytes | Path, scratch: Path) -> str:
    """A database's content as text: two files may hold the same rows on other pages."""
    if isinstance(database, bytes):
        scratch.write_bytes(database)
        database = scratch
    with closing(sqlite3.connect(database)) as connection:
        return "\n".join(sorted(connection.iterdump()))


def _content(estate: Estate, scratch: Path) -> dict[str, object]:
    """What every backup holds, by name: rows of databases, members of archives, bytes of everything else."""
    found: dict[str, object] = {}
    for name, path in _files(estate, "nas", "offsite"):
        if name.endswith(".gz.age"):
            found[name] = _rows(_decrypted(estate, path), scratch)
        elif name.endswith(".db.gz"):
            found[name] = _rows(gzip.decompress(path.read_bytes()), scratch)
        elif name.endswith((".tar", ".tar.gz")):
            with tarfile.open(path) as archive:
                found[name] = [
                    (member.name, member.mtime, member.mode, member.linkname) for member in archive.getmembers()
                ]
        elif not name.endswith(".sha256"):
            found[name] = path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else "directory"
    return found


# Building


def test_every_target_has_both_copies_and_no_file_is_dated_in_the_future(estate: Estate) -> None:
    targets = {"app-config", "legacy", "metrics", "orders", "reports", "uploads"}
    assert {path.name for path in estate.nas.iterdir()} == targets
    assert {path.name for path in _objects(estate).iterdir()} == targets
    written = {name: path.lstat().st_mtime for name, path in _files(estate, "nas", "offsite") if not path.is_dir()}
    assert max(written.values()) <= NOW
    assert min(written.values()) < NOW - 86400  # the archives: dates were really set


def test_it_is_small_and_its_secrets_are_private(estate: Estate) -> None:
    assert sum(path.lstat().st_size for path in estate.root.rglob("*")) < 5_000_000
    modes = {path.name: path.stat().st_mode & 0o777 for path in estate.keys.iterdir()}
    private = {"orders-age.txt": 0o600, "s3-access-key-id": 0o600, "s3-secret-access-key": 0o600}
    assert {name: modes[name] for name in private} == private
    assert (estate.state / "restore-drill.json").is_file()


def test_two_builds_for_the_same_time_are_identical(estate: Estate, tmp_path: Path) -> None:
    other = ensure(tmp_path, NOW)
    assert _stored(other) == _stored(estate)
    backups = [path.relative_to(estate.root) for _, path in _files(estate) if path.suffix == ".age"]
    assert len(backups) >= 8
    for path in backups:
        assert _decrypted(other, other.root / path) == _decrypted(estate, estate.root / path)
    later = ensure(tmp_path / "later", NOW + 3600)
    assert _stored(later) != _stored(estate)


def test_a_fresh_estate_is_confirmed_without_importing_a_job(estate: Estate) -> None:
    heavy = {"pyrage", "sqlite3", "tarfile", "moto", "boto3", "demo_estate.orders_db"}
    code = (
        "import sys; before = set(sys.modules); "  # coverage brings some of its own
        "from pathlib import Path; from demo_estate.estate import ensure; "
        f"ensure(Path({str(estate.root.parents[1])!r}), {NOW}, servers=False); "
        f"print(sorted({heavy} & (set(sys.modules) - before)))"
    )
    assert _python(code).stdout.strip() == "[]"


def test_without_programs_it_is_the_same(estate: Estate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for program in ("sqlite3", "rsync", "sha256sum"):
        assert shutil.which(program) is not None, f"{program} must be there for the comparison to mean something"
    (tmp_path / "tar").symlink_to(shutil.which("tar") or "tar")  # nothing else writes incremental archives
    monkeypatch.setenv("PATH", str(tmp_path))
    bare = ensure(tmp_path, NOW)
    scratch = tmp_path / "scratch.db"
    assert _content(bare, scratch) == _content(estate, scratch)
    assert _links(bare) == _links(estate)


def test_a_checkout_that_cannot_be_written_to_is_named() -> None:
    with pytest.raises(CouldNotVerify, match="cannot be built") as caught:
        ensure(Path("/sys"), NOW)
    assert "checkout" in caught.value.remedy


# Time passing


@pytest.mark.parametrize(
    ("pause", "kept"),
    [
        (timedelta(minutes=10), True),
        (timedelta(minutes=35), True),
        (timedelta(hours=2), True),
        (timedelta(days=3), False),
        (timedelta(days=120), False),
    ],
    ids=str,
)
def test_after_a_pause_it_is_what_never_sleeping_jobs_would_have_left(
    estate: Estate, tmp_path: Path, pause: timedelta, kept: bool
) -> None:
    old = _copy(estate, tmp_path / "old")
    before = {name: path.lstat().st_ino for name, path in _files(old, "nas/orders", "nas/uploads") if path.is_file()}
    key = old.age_identity.read_bytes()
    (old.state / "baseline").write_text("kept")
    later = NOW + pause.total_seconds()
    ensure(tmp_path / "old", later)
    scratch = tmp_path / "scratch.db"
    assert _content(old, scratch) == _content(ensure(tmp_path / "new", later), scratch)
    assert old.age_identity.read_bytes() == key
    assert (old.state / "baseline").exists()
    after = {name: path.lstat().st_ino for name, path in _files(old, "nas/orders", "nas/uploads") if path.is_file()}
    survivors = set(before) & set(after)
    assert bool(survivors) is kept
    assert all(before[name] == after[name] for name in survivors)  # not taken again


def test_it_is_fresh_until_the_next_job_and_rebuilt_when_the_clock_goes_back(estate: Estate, tmp_path: Path) -> None:
    assert is_fresh(estate, NOW) and is_fresh(estate, NOW + 21 * 60)
    assert not is_fresh(estate, NOW + 22 * 60)  # 11:02, when the job of 11:00 is done
    back = _copy(estate, tmp_path)
    ensure(tmp_path, NOW - 86400)
    names = [path.name for path in (back.nas / "orders").glob("*.age")]
    assert names and all(name.startswith("20261122_") for name in names)


@pytest.mark.parametrize("earlier", [0.3, 60.0])
def test_a_second_start_that_read_the_clock_first_leaves_the_estate_alone(tmp_path: Path, earlier: float) -> None:
    done = datetime(2026, 11, 23, 10, 32, tzinfo=UTC).timestamp()  # the moment at which the job of 10:30 is done
    estate = ensure(tmp_path, done)
    key, names = estate.age_identity.read_bytes(), sorted(path.name for path in (estate.nas / "orders").iterdir())
    ensure(tmp_path, done - earlier)
    assert estate.age_identity.read_bytes() == key
    assert sorted(path.name for path in (estate.nas / "orders").iterdir()) == names


def test_what_somebody_damaged_stays_damaged_until_it_is_rebuilt(estate: Estate, tmp_path: Path) -> None:
    damaged = _copy(estate, tmp_path)
    newest = max((damaged.nas / "uploads").rglob("*.tar.gz"))
    missing = max((damaged.nas / "metrics").glob("*.db.gz"))
    newest.write_bytes(b"damaged")
    missing.unlink()
    ensure(tmp_path, NOW + 30 * 60)
    assert newest.read_bytes() == b"damaged"
    assert not missing.exists()
    ensure(tmp_path, NOW, rebuild=True)
    assert missing.exists()
    with tarfile.open(newest) as archive:
        assert len(archive.getmembers()) > 200


# Servers


def test_the_inventory_is_dumped_where_there_is_postgresql(
    estate: Estate, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    """It joins an estate that was built without it, one server serves all of its recovery points, and they differ."""
    pg_restore = require_program("pg_restore")
    joined = _copy(estate, tmp_path)
    assert not is_fresh(joined, NOW, ["inventory-db"])
    build(tmp_path, NOW)
    assert is_fresh(joined, NOW, ["inventory-db"])
    dumps = sorted((joined.nas / "inventory").glob("*.dump"))
    assert len(dumps) == len(OPTIONAL_JOBS["inventory-db"][1].due(NOW))
    assert sorted(path.name for path in (_objects(joined) / "inventory").iterdir()) == sorted(
        name for path in dumps for name in (path.name, f"{path.name}.sha256")
    )
    data = [
        subprocess.run([pg_restore, "--data-only", "-f", "-", path], capture_output=True, check=True).stdout
        for path in dumps
    ]
    assert len({*data}) == len(data)
    for path, text in zip(dumps, data, strict=True):
        assert len([line for line in text.splitlines() if line.count(b"\t") == 5]) == 3 * 24 * 60 + 1
        assert path.with_name(f"{path.name}.sha256").read_text() == f"{sha256(path)}  {path.name}\n"


def test_a_machine_without_a_server_is_told_what_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    from demo_estate import inventory_db, postgres_server

    monkeypatch.setattr(postgres_server, "_PLACE", "/nowhere/{major}")
    monkeypatch.setattr(postgres_server, "_SOCKETS", ())
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert "apt-get install postgresql" in inventory_db.unavailable()
    monkeypatch.undo()


# Killed, and started twice

_KILLED = """
import os, signal, sys
from pathlib import Path
from demo_estate import {module} as job
from demo_estate.estate import ensure
original, calls = job.{function}, 0
def killing(*arguments):
    global calls
    calls += 1
    if calls == {call}:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)
job.{function} = killing
ensure(Path({root!r}), {now}, servers=False)
"""


@pytest.mark.parametrize(
    ("first", "module", "function", "call"),
    [
        (True, "orders_db", "upload", 2),
        (True, "app_config", "_point_latest_at", 2),
        (False, "orders_db", "upload", 5),
        (False, "metrics_db", "at", 1),
        (False, "uploads_volume", "remove", 1),  # a first build prunes nothing
        (False, "app_config", "_point_latest_at", 1),
        (False, "legacy_dump", "_write_manifests", 1),
        (True, "reports_archive", "_write_manifest", 12),
    ],
)
def test_a_build_killed_half_way_is_done_again(
    estate: Estate, tomorrow: Estate, tmp_path: Path, first: bool, module: str, function: str, call: int
) -> None:
    later = NOW + 86400
    killed = Estate(tmp_path / "killed" / "fixtures" / "estate")
    if not first:
        _copy(estate, tmp_path / "killed")
    script = _KILLED.format(module=module, function=function, call=call, root=str(tmp_path / "killed"), now=later)
    assert _python(script, check=False).returncode == -signal.SIGKILL
    assert not is_fresh(killed, later)
    ensure(tmp_path / "killed", later)
    scratch = tmp_path / "scratch.db"
    assert _content(killed, scratch) == _content(tomorrow, scratch)
    assert not killed.tmp.exists()


def test_two_builders_at_once_build_one_estate(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from demo_estate.estate import ensure; "
        f"sys.stdin.read(); print(ensure(Path({str(tmp_path)!r}), {NOW}, servers=False).age_identity.read_text())"
    )
    builders = [_start(code) for _ in range(2)]
    for builder in builders:
        assert builder.stdin
        builder.stdin.close()  # both wait for this
    answers = [builder.stdout.read() for builder in builders if builder.stdout]
    assert [builder.wait() for builder in builders] == [0, 0]
    assert answers[0] == answers[1] and "AGE-SECRET-KEY-" in answers[0]
    estate = Estate(tmp_path / "fixtures" / "estate")
    for path in (estate.nas / "orders").glob("*.age"):
        assert _decrypted(estate, path).startswith(b"SQLite format 3\0")


# The jobs


def test_the_shop_is_written_to_while_it_is_copied(tmp_path: Path) -> None:
    when = datetime.fromtimestamp(NOW, UTC).replace(minute=30)
    database, copy = tmp_path / "shop.db", tmp_path / "copy.db"
    orders_db.bring_up_to(database, when)
    before = _numbers(database)
    seen = orders_db.online_backup(database, copy, when)
    assert len(seen.written) == 3
    assert seen.restarts >= 1 and len(seen.steps) > 5  # SQLite noticed, and began again
    assert set(seen.written).isdisjoint(before)
    assert _numbers(copy) == before | set(seen.written) == _numbers(database)
    assert orders_db.examine(copy)["orders"] == len(before) + 3


def test_the_orders_job_refuses_a_copy_with_orphans(tmp_path: Path) -> None:
    database = tmp_path / "shop.db"
    orders_db.bring_up_to(database, datetime.fromtimestamp(NOW, UTC))
    assert orders_db.examine(database)["customers"] == 59
    with closing(sqlite3.connect(database)) as shop, shop:
        shop.execute("DELETE FROM customers WHERE id = 7")
    with pytest.raises(orders_db.JobFailed, match="missing rows"):
        orders_db.examine(database)


def test_orders_hold_what_the_catalogue_asks_for(estate: Estate, tmp_path: Path) -> None:
    nas = sorted((estate.nas / "orders").glob("*.gz.age"))
    offsite = sorted((_objects(estate) / "orders").glob("*.gz.age"))
    assert [path.read_bytes() for path in nas] == [path.read_bytes() for path in offsite]
    plain = tmp_path / "orders.db"
    plain.write_bytes(_decrypted(estate, nas[-1]))
    counts = json.loads(nas[-1].with_name(nas[-1].name.replace(".gz.age", ".counts.json")).read_text())
    with closing(sqlite3.connect(plain)) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        tables = {name: database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in counts}
        newest = database.execute("SELECT max(created_at) FROM orders").fetchone()[0]
        value = database.execute("SELECT avg(cents) FROM order_totals").fetchone()[0]
    assert tables == counts
    assert tables["customers"] == 59 and tables["orders"] >= 1000 and 30 <= tables["products"] <= 40
    assert newest == "2026-11-23T10:30:03Z"
    assert 1000 < value < 100_000


def test_the_rows_of_a_target_do_not_shrink_from_one_recovery_point_to_the_next(estate: Estate, tmp_path: Path) -> None:
    found: list[list[int]] = []
    for path in sorted((estate.nas / "metrics").glob("*.db.gz")):
        (tmp_path / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        with closing(sqlite3.connect(tmp_path / path.stem)) as database:
            tables = ("hosts", "series", "samples")
            found.append([database.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables])
    assert len(found) >= 4
    assert found[0][:2] == [5, 20] and found[0][2] >= 1500
    assert found == [found[0]] * len(found)


def test_generations_share_what_did_not_change_and_latest_is_the_newest(estate: Estate) -> None:
    store = estate.nas / "app-config"
    generations = sorted(path for path in store.iterdir() if not path.is_symlink())
    assert [path.name for path in generations] == [f"2026-11-{day}_033000" for day in (19, 20, 21, 22, 23)]
    assert (store / "latest").readlink() == Path("2026-11-23_033000")
    assert _links(estate) == {"etc/shop/shop.toml": 5, "etc/shop/release.toml": 1, "SHA256SUMS": 1}


def test_reference_tools_agree(estate: Estate, require_program: Callable[[str], str]) -> None:
    for program, pattern in (("gzip", "*.gz"), ("xz", "*.xz"), ("zstd", "*.zst")):
        paths = [path for _, path in _files(estate, "nas", "offsite") if path.match(pattern)]
        assert len(paths) >= 4
        subprocess.run([require_program(program), "-tq", *map(str, paths)], check=True)
    tars = [*estate.nas.rglob("*.tar.gz"), *estate.objects.rglob("*.tar"), *estate.nas.rglob("*.tar.zst")]
    assert len(tars) >= 10
    for path in tars:
        subprocess.run([require_program("tar"), "-tf", str(path)], check=True, stdout=subprocess.DEVNULL)


def test_the_volume_is_archived_as_docker_documents_it(estate: Estate) -> None:
    with tarfile.open(max((estate.nas / "uploads").rglob("*.tar.gz"))) as archive:
        members = {member.name: member for member in archive.getmembers()}
    assert next(iter(members)) == "." and all(name == "." or name.startswith("./") for name in members)
    assert {(member.uid, member.uname) for member in members.values()} == {(33, "www-data")}
    assert members["./scans/this-year"].issym() and members["./scans/this-year"].linkname == "2026"
    scans = [member for name, member in members.items() if name.endswith(".bin")]
    assert len(scans) == 48 and max(member.mtime for member in scans) == NOW - 33 * 60


def test_sha256sum_succeeds_beside_every_backup_but_the_common_job(
    estate: Estate, require_program: Callable[[str], str]
) -> None:
    def check(path: Path) -> int:
        command = [require_program("sha256sum"), "--strict", "--status", "-c", str(path)]
        return subprocess.run(command, check=False, cwd=path.parent, stderr=subprocess.DEVNULL).returncode

    good = [path for name, path in _files(estate, "nas", "offsite") if path.name.endswith((".sha256", "SHA256SUMS"))]
    common = [path for path in good if "metrics" in path.parts]
    good = [path for path in good if "metrics" not in path.parts]
    assert len(good) >= 25 and len(common) >= 8
    assert [path for path in good if check(path)] == []
    assert [path for path in common if not check(path)] == []
    line = common[0].read_text()
    digest, name = line.rstrip("\n").split("  ")
    assert name == f"{estate.nas}/metrics/{common[0].stem}"
    assert digest == sha256(gzip.decompress((estate.nas / "metrics" / f"{common[0].stem}.gz").read_bytes()))


def test_a_legacy_dump_reads_back_into_the_same_rows(estate: Estate, tmp_path: Path) -> None:
    newest = max((estate.nas / "legacy").rglob("*.xz"))
    text = lzma.decompress(newest.read_bytes()).decode()
    assert text.startswith("BEGIN TRANSACTION;\n") and text.endswith("COMMIT;\n")
    with closing(sqlite3.connect(tmp_path / "crm.db")) as database:
        database.executescript(text)
        assert database.execute("SELECT count(*) FROM contacts").fetchone() == (240,)
        assert database.execute("SELECT count(*) FROM notes").fetchone()[0] >= 400
        assert database.execute("SELECT count(*) FROM contacts WHERE remark LIKE '%' || char(10) || '%'").fetchone()[0]
        assert database.execute("PRAGMA foreign_key_check").fetchall() == []
        assert database.execute("SELECT max(written_at) FROM notes").fetchone()[0].startswith("2026-11-22T15:")
    objects = sorted((_objects(estate) / "legacy").rglob("*.xz"))
    assert objects[-1].read_bytes() == newest.read_bytes()
    metadata = json.loads((estate.metadata / BUCKET / PREFIX / "legacy/2026/crm-327.sql.xz.json").read_text())
    assert metadata == {"taken-at": "2026-11-23T02:15:00Z"}


def test_without_gnu_tar_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CouldNotVerify, match="GNU tar is needed: nothing else writes"):
        ensure(tmp_path, NOW)
    program = tmp_path / "tar"
    program.write_text("#!/bin/sh\necho unknown option >&2; exit 64\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    with pytest.raises(CouldNotVerify, match="GNU tar is needed, and this one said: unknown option"):
        ensure(tmp_path, NOW)


def test_gnu_tar_restores_every_chain_of_the_archive(
    estate: Estate, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    names = sorted(path.name for path in (estate.nas / "reports").glob("*.tar.zst"))
    chains = [[name for name in names if f"_2026{month}" in name] for month in (10, 11)]
    assert [[name.rpartition("_")[2] for name in chain] for chain in chains] == [
        ["full-00.tar.zst", *(f"inc-{number:02}.tar.zst" for number in range(1, links))] for links in (9, 7)
    ]
    for number, chain in enumerate(chains):
        into = tmp_path / f"{number}"
        into.mkdir()
        for name in chain:
            command = f"zstd -dcq {estate.nas / 'reports' / name} | tar -x --listed-incremental=/dev/null -C {into}"
            subprocess.run([require_program("bash"), "-o", "pipefail", "-c", command], check=True)
    restored, live = (
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "1", estate.live / "reports")
    )
    assert restored == live and "2026/2026-10/summary.txt" in live
    before = [path for path in (tmp_path / "0").rglob("*") if path.parent.name == "2026-10"]
    assert sum(path.name.startswith("draft-") for path in before) == 4
    assert not list((tmp_path / "1").rglob("2026-10/draft-*"))


def test_the_shipped_catalogue_describes_what_is_there(estate: Estate) -> None:
    from restore_drill.catalogue.load import load

    plan = load(CHECKOUT / "drills" / "targets.yaml")
    assert plan.demo and {target.name for target in plan.targets} == {*JOBS, *OPTIONAL_JOBS}
    for target in (target for target in plan.targets if target.name in JOBS):
        due = JOBS[target.name][1].due(NOW)
        for copy in target.copies:
            root = estate.nas if copy.name == "nas" else _objects(estate)
            keys = [
                f"{path.relative_to(root)}/" if path.is_dir() else str(path.relative_to(root))
                for path in root.rglob("*")
            ]
            found = sorted(match.taken_at.timestamp() for key in keys if (match := copy.pattern.match(key)))
            if copy.model.time_metadata:
                assert len(found) == len(due)
            else:
                assert found == due


def _links(estate: Estate) -> dict[str, int]:
    latest = estate.nas / "app-config" / "latest"
    return {
        name: (latest / name).stat().st_nlink for name in ("etc/shop/shop.toml", "etc/shop/release.toml", "SHA256SUMS")
    }


def _numbers(database: Path) -> set[int]:
    with closing(sqlite3.connect(database)) as connection:
        return {number for (number,) in connection.execute("SELECT id FROM orders")}


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT / "fixtures", CHECKOUT / "src")))}


def _python(code: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=_environment(), capture_output=True, text=True, check=check)


def _start(code: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", code]
    return subprocess.Popen(command, env=_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_it_is_discovered_as_its_own_catalogue_describes_it(estate: Estate, tmp_path: Path) -> None:
    """The paths, engines and zones that a person wrote for it; the encrypted one as far as it can be seen."""
    import yaml

    from restore_drill.discovery.catalogue import discover
    from restore_drill.discovery.place import Place

    found = discover(
        [Place("nas", {"url": f"file://{estate.root / 'nas'}", "media": "disk"})], tmp_path / "drills" / "targets.yaml",
        "file:../state", references={}, timezone="", most=500, now=NOW,
    )  # fmt: skip
    guessed = {str(each.copies["nas"]["path"][0]): each for each in found.proposals}
    written = yaml.safe_load((CHECKOUT / "drills" / "targets.yaml").read_text("utf-8"))["targets"]
    paths = {target["copies"]["nas"]["path"]: target for target in written.values() if "nas" in target["copies"]}
    built = {path for path in paths if (estate.root / "nas" / path.partition("/")[0]).is_dir()}
    assert len(built) >= 6
    assert built <= guessed.keys()
    assert {path: guessed[path].engine for path in built} == {path: paths[path]["engine"] for path in built}
    assert guessed["app-config/{time:%Y-%m-%d_%H%M%S}/"].keys["timezone"][0] == "Europe/Berlin"
    assert [each.keys["sensitive"][0] for each in found.proposals if "sensitive" in each.keys] == [True]
