"""From a place full of backups to verdicts without an edit: what is good is green, what is bad red, for its reason."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from tests.support.backups import database
from tests.support.bucket import age_key, bucket
from tests.support.documents import follow
from tests.support.installed import ROOT, environment
from tests.support.project import Project
from tests.support.servers import KEYS, S3Server

_CASES = ("located", "rpo", "fetched", "checksum", "unpacks", "integrity")


def _project(root: Path) -> Project:
    project = Project(root, targets=1)
    project.path.unlink()
    project.environment["BACKUP_AGE_IDENTITY"] = age_key()[0]
    return project


def _paths(catalogue: Path) -> dict[str, str]:
    targets: Mapping[str, Any] = yaml.safe_load(catalogue.read_text("utf-8"))["targets"]
    return {name: copy["path"] for name, target in targets.items() for copy in target["copies"].values()}


def test_a_grown_bucket_is_judged_rightly_without_an_edit(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    require_program("openssl")
    made = bucket(datetime.now(UTC), photos=20)
    made.write(tmp_path / "store")
    project = _project(tmp_path / "p")
    begun = project.command("init", "--discover", str(tmp_path / "store"))
    assert begun.returncode == 0, begun.stderr
    outcome = project.run()
    paths = _paths(project.path)
    red = {key.split("/")[0]: key.rpartition("/")[2] for key, verdict in outcome.causes.items() if verdict == "failed"}
    good = {name for name, path in paths.items() if path.startswith(tuple(made.good))}
    assert len(good) >= len(made.good)
    unknown = {key.split("/")[0] for key, verdict in outcome.causes.items() if verdict == "error"}
    assert unknown & good == set()
    assert {name: red[name] for name in good & red.keys()} == {}
    bad = {start: name for name, path in paths.items() for start in made.bad if path.startswith(start)}
    assert {start: red.get(name) for start, name in bad.items()} == made.bad
    assert outcome.status == 1
    assert paths.keys() == good | set(bad.values())


def test_a_bucket_in_the_cloud_is_described_as_on_a_disk(tmp_path: Path, cloud: S3Server) -> None:
    made = bucket(datetime.now(UTC), size=12, photos=2)
    made.write(tmp_path / "store")
    client = cloud.client()
    client.create_bucket(Bucket="grown")
    for key, (data, _) in made.files.items():
        if key.startswith(("orders/", "sales/", "events/", "keys/", "nightly/", "shop/", "vm/", "archive/")):
            client.put_object(Bucket="grown", Key=f"old/{key}", Body=data)
    project = _project(tmp_path / "p")
    project.environment |= dict(zip(("READ_ID", "READ_SECRET"), KEYS["reader"], strict=True))
    found = {}
    for place, options in {
        str(tmp_path / "store"): [],
        "s3://grown/old": [
            f"--store=endpoint={cloud.endpoint}", "--store=region=us-east-1", "--store=path_style=true",
            "--store=credentials.access_key_id=env:READ_ID", "--store=credentials.secret_access_key=env:READ_SECRET",
        ],
    }.items():  # fmt: skip
        said = project.command("discover", place, *options)
        assert said.returncode == 0, said.stderr
        targets = yaml.safe_load(said.stdout)["targets"]
        found[place] = {
            next(iter(target["copies"].values()))["path"]: (target["tier"], target["engine"])
            for target in targets.values()
        }
    disk, remote = found.values()
    assert len(remote) >= 9
    assert remote.items() <= disk.items()


def _shop(root: Path, rows: int, when: datetime) -> None:
    path = root / when.strftime("shop/%Y%m%dT%H%M%SZ_shop.db")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(database(rows))
    os.utime(path, (when.timestamp(), when.timestamp()))


def test_a_baseline_expects_what_one_restore_held(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    for hours in range(6):
        _shop(tmp_path / "store", 500, now - timedelta(hours=hours, minutes=20))
    broken = bytearray(database(400))
    broken[-4096:] = bytes(4096)
    (tmp_path / "store" / "old.db").write_bytes(broken)
    with closing(sqlite3.connect(tmp_path / "store" / "half.db")) as half:
        half.executescript("create table kept (a); insert into kept values (1); create table emptied (a)")
    project = _project(tmp_path / "p")
    assert project.command("init", "--discover", str(tmp_path / "store"), "--baseline").returncode == 0
    text = project.path.read_text("utf-8")
    expect = yaml.safe_load(text)["targets"]["shop"]["expect"]
    assert expect == {"rows": {"tables": {"orders": {"min": 400, "max_drop": "20%"}}}}
    assert "# - its integrity, in the trial restore: " in text
    assert "without a row in the trial restore: emptied; is it so?" in text
    first = project.run("-k", "shop")
    assert (first.status, first.verdicts["shop/store/rows/orders"]) == (0, "passed")
    _shop(tmp_path / "store", 390, now - timedelta(minutes=1))
    second = project.run("-k", "shop")
    assert (second.status, second.causes) == (1, {"shop/store/rows/orders": "failed"})


def test_the_document_is_right(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    for program in ("sqlite3", "gzip", "sha256sum"):
        require_program(program)
    assert follow(ROOT / "docs/discover.md", tmp_path, environment().variables)[-1] == "pytest drills/"
