"""For people who install the package instead of cloning it: what is shipped, begun, drilled, upgraded."""

from __future__ import annotations

import email
import gzip
import hashlib
import json
import re
import sqlite3
import tarfile
import zipfile
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.installed import ROOT, VERSION, Environment, build, copy_sources, environment, wheel

CATALOGUE = """\
version: 1
state: file:../.restore-drill/state
stores:
  nas: {{url: "file://{backups}", media: disk}}
defaults: {{timezone: UTC, three_two_one: false}}
targets:
  orders-db:
    tier: critical
    engine: sqlite
    copies: {{nas: {{path: "orders/{{time:%Y%m%d_%H%M%S}}_orders.db.gz"}}}}
    expect:
      rows: {{customers: 59, orders: {{min: 100, max_drop: 5%}}}}
      queries: [{{name: environment, sql: select 'production', equals: production}}]
"""


def back_up(directory: Path, *, customers: int = 59, age: timedelta = timedelta(minutes=5)) -> Path:
    """What a backup job leaves: a gzipped database, and its digest beside it."""
    stamp = datetime.now(UTC) - age
    path = directory / "orders" / f"{stamp:%Y%m%d_%H%M%S}_orders.db.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = directory / "copy.db"
    with closing(sqlite3.connect(plain)) as connection:
        connection.execute("create table customers (id integer primary key, name text)")
        connection.execute("create table orders (id integer primary key, cents integer)")
        connection.executemany("insert into customers values (?, 'somebody')", ((n,) for n in range(customers)))
        connection.executemany("insert into orders values (?, 100)", ((n,) for n in range(200)))
        connection.commit()
    path.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    plain.unlink()
    path.with_name(f"{path.name}.sha256").write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    return path


def digest_of(*trees: Path) -> dict[str, str]:
    """Every file with its digest."""
    files = (path for tree in trees for path in sorted(tree.rglob("*")) if path.is_file())
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if "__pycache__" not in path.parts
    }


def latest_evidence(project: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((project / "reports" / "latest" / "evidence.json").read_text())
    return found


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project that was begun with ``init`` and has a catalogue and a backup."""
    directory = tmp_path / "project"
    directory.mkdir()
    environment().run("restore-drill", "init", cwd=directory)
    (directory / "drills/targets.yaml").write_text(CATALOGUE.format(backups=tmp_path / "backups"))
    back_up(tmp_path / "backups")
    return directory


# --- what is shipped --------------------------------------------------------------------------------------------------


def test_the_wheel_holds_what_users_need() -> None:
    with zipfile.ZipFile(wheel()) as archive:
        names = set(archive.namelist())
        cases = {path.name: path.read_bytes() for path in (ROOT / "drills").glob("test_*.py")}
        assert len(cases) == 5
        for name, text in cases.items():
            assert archive.read(f"restore_drill/standard/{name}") == text
        information = f"pytest_restore_drill-{VERSION}.dist-info"
        assert archive.read(f"{information}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
        metadata = email.message_from_bytes(archive.read(f"{information}/METADATA"))
        points = archive.read(f"{information}/entry_points.txt").decode()
    assert "restore_drill/py.typed" in names
    package = ROOT / "src" / "restore_drill"
    kinds = ("*.py", "controls/*.yaml", "reporting/templates/*.j2", "evidence/schema.json", "ledger/bundle/*.*")
    found = {kind: {str(path.relative_to(ROOT / "src")) for path in package.rglob(kind)} for kind in kinds}
    assert all(found.values())
    assert set().union(*found.values()) <= names
    assert {name.partition("/")[0] for name in names} == {"restore_drill", information}
    assert not [name for name in names if name.endswith(".pyc")]
    assert {name for name in names if name.endswith(".yaml")} == found["controls/*.yaml"], "no catalogue of the demo's"
    assert (metadata["Version"], metadata["License-Expression"]) == (VERSION, "Apache-2.0")
    assert metadata["Requires-Python"] == ">=3.11"
    assert "restore-drill = restore_drill.cli:main" in points
    assert "restore_drill.pytest_plugin = restore_drill.pytest_plugin" in points


def test_a_wheel_of_the_sdist_is_the_same(tmp_path: Path) -> None:
    checkout = copy_sources(tmp_path / "checkout")
    with tarfile.open(build(tmp_path / "sdist", "sdist", checkout)) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    (sources,) = (tmp_path / "unpacked").iterdir()
    assert {"CHANGELOG.md", "LICENSE", "README.md", "docs", "drills", "src"} <= {
        path.name for path in sources.iterdir()
    }
    contents = []
    for name, directory in (("of-sdist", sources), ("of-checkout", checkout)):
        with zipfile.ZipFile(build(tmp_path / name, "wheel", directory)) as archive:
            contents.append({member: archive.read(member) for member in archive.namelist()})
    assert contents[0] == contents[1]


# --- begun ------------------------------------------------------------------------------------------------------------


def test_init_in_an_empty_directory(tmp_path: Path) -> None:
    done = environment().run("restore-drill", "init", "--store", f"file://{tmp_path}/backups", cwd=tmp_path)
    assert done.stdout.count("wrote") == 2
    assert "initialised file://" in done.stdout
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert {name for name in written if not name.startswith(".restore-drill/")} == {
        "drills/targets.yaml",
        "drills/test_standard.py",
    }
    assert "from restore_drill.standard_cases import *" in (tmp_path / "drills/test_standard.py").read_text()
    assert "1 targets" in environment().run("restore-drill", "validate", cwd=tmp_path).stdout


def test_init_keeps_what_exists(project: Path) -> None:
    (project / "drills/test_standard.py").write_text("# mine\n")
    (project / "README").write_text("mine\n")
    before = digest_of(project)
    done = environment().run("restore-drill", "init", cwd=project)
    assert done.stdout.count("kept ") == 2
    assert "initialised" not in done.stdout
    assert digest_of(project) == before
    (project / "drills/test_standard.py").unlink()
    done = environment().run("restore-drill", "init", cwd=project)
    assert (done.stdout.count("kept "), done.stdout.count("wrote ")) == (1, 1)
    after = digest_of(project)
    assert after.pop(str(project / "drills/test_standard.py")) != before.pop(str(project / "drills/test_standard.py"))
    assert after == before


def test_init_does_not_write_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "drills").mkdir()
    (tmp_path / "drills/targets.yaml").symlink_to("../elsewhere.yaml")
    done = environment().run("restore-drill", "init", cwd=tmp_path, status=None)
    assert done.returncode == 1
    assert not (tmp_path / "elsewhere.yaml").exists()
    assert "Traceback" not in done.stderr


# --- drilled ----------------------------------------------------------------------------------------------------------


def test_the_first_drill_and_a_reported_node_id(project: Path, tmp_path: Path) -> None:
    run = environment().run
    assert "good: 1 targets, 1 copies" in run("restore-drill", "validate", cwd=project).stdout
    assert "orders-db (critical, engine sqlite)" in run("restore-drill", "plan", cwd=project).stdout
    assert "PROBLEM" not in run("restore-drill", "doctor", cwd=project).stdout
    done = run("pytest", "drills/", "-v", cwd=project)
    assert latest_evidence(project)["verdict"] == "passed"
    ids = re.findall(r"^(drills/\S+::\S+\[.*?\]) PASSED", done.stdout, re.MULTILINE)
    (reported,) = [each for each in ids if "/customers]" in each]
    again = run("pytest", reported, cwd=project)
    assert "1 passed" in again.stdout
    assert "demo" not in (done.stdout + again.stdout).lower()


def test_a_damaged_backup_and_the_node_id_of_its_failure(project: Path, tmp_path: Path) -> None:
    back_up(tmp_path / "backups", customers=58, age=timedelta(minutes=1))
    done = environment().run("pytest", "drills/", cwd=project, status=1)
    (reported,) = re.findall(r"^FAILED (drills/\S+::\S+\[.*?\])", done.stdout, re.MULTILINE)
    assert reported.endswith("test_row_count[critical/orders-db/nas/customers]")
    again = environment().run("pytest", reported, cwd=project, status=1)
    assert "58 rows" in again.stdout
    assert "expected exactly 59" in again.stdout


def test_a_catalogue_elsewhere(project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (project / "drills/targets.yaml").rename(tmp_path / "catalogue.yaml")
    elsewhere.mkdir()
    cases = str(project / "drills/test_standard.py")
    run = environment().run
    catalogue = tmp_path / "catalogue.yaml"
    run("restore-drill", "baseline", "init", "--catalogue", catalogue, cwd=elsewhere)
    run("pytest", cases, "--catalogue", "../catalogue.yaml", cwd=elsewhere)
    run("pytest", cases, cwd=elsewhere, RESTORE_DRILL_CATALOGUE=str(catalogue))
    without = run("pytest", cases, cwd=elsewhere, status=4).stdout
    assert without.count("no catalogue was found") == 1
    assert "Traceback" not in without


def test_without_a_catalogue_the_plugin_is_inert(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(
        "import sys\n\n\n"
        "def test_nothing_was_imported():\n"
        "    ours = {name for name in sys.modules if name.partition('.')[0] == 'restore_drill'}\n"
        "    assert ours == {'restore_drill', 'restore_drill.pytest_plugin'}\n"
        "    assert not {'yaml', 'pydantic', 'boto3', 'cryptography', 'isal'} & set(sys.modules)\n"
    )
    done = environment().run("pytest", cwd=tmp_path)
    assert "1 passed" in done.stdout
    assert "catalogue:" not in done.stdout
    assert not (tmp_path / "reports").exists()


# --- upgraded ---------------------------------------------------------------------------------------------------------


def test_an_upgrade_touches_no_file_of_the_users(project: Path, tmp_path: Path) -> None:
    mine = Environment(tmp_path / "venv")
    mine.install(wheel())
    mine.run("pytest", "drills/", cwd=project)
    before = digest_of(project, tmp_path / "backups")
    mine.install(wheel("99.1.0"))
    assert digest_of(project, tmp_path / "backups") == before
    assert mine.run("restore-drill", "--version", cwd=project).stdout == "restore-drill 99.1.0\n"
    done = mine.run("pytest", "drills/", cwd=project)
    assert "restore-drill 99.1.0" in done.stdout
    after = digest_of(project, tmp_path / "backups")
    changed = {name for name in after | before if before.get(name) != after.get(name)}
    assert not [name for name in changed if "/reports/" not in name and "/.restore-drill/state/" not in name]
    assert f'"restore-drill": "{VERSION}"' not in (project / "reports/latest/evidence.json").read_text()
