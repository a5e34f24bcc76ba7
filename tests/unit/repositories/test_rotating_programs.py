"""What logrotate(8) and rsnapshot(1) really leave, read as rotations."""

from __future__ import annotations

import gzip
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.backups import MakeRepository, MakeStaging, database, date, sha256

from restore_drill.model import PayloadForm
from restore_drill.repositories.selection import choose

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("written", "directives", "path"),
    [
        ("orders.db.gz", "", "dumps/orders.db.gz{rotation:.}"),
        ("orders.db.gz", "extension .gz", "dumps/orders.db{rotation:.}.gz"),
        ("orders.db", "compress\n shred\n", "dumps/orders.db.{rotation}.gz"),
    ],
    ids=["renamed", "extension kept", "compressed"],
)
def test_logrotate(
    written: str,
    directives: str,
    path: str,
    tmp_path: Path,
    make_repository: MakeRepository,
    make_staging: MakeStaging,
    require_program: Callable[[str], str],
) -> None:
    program = require_program("logrotate")
    place = tmp_path / "store" / "dumps"
    place.mkdir(parents=True, mode=0o755)
    configuration = tmp_path / "logrotate.conf"
    rotation = f"rotate 3\n nodateext\n missingok\n nocreate\n {directives}\n"
    configuration.write_text(f"{place}/{written} {{\n {rotation}}}\n")
    configuration.chmod(0o644)
    for age in range(5, 0, -1):
        content = database(10 * age)
        (place / written).write_bytes(gzip.compress(content) if written.endswith(".gz") else content)
        date(place / written, NOW - age * DAY)
        if age > 1 or "compress" in directives:
            subprocess.run([program, "-f", "-s", tmp_path / "state", configuration], check=True, capture_output=True)
    repository = make_repository(path=path)
    selection = choose(repository.survey(), repository, NOW.timestamp())
    assert selection.failure is None and selection.snapshot is not None
    assert selection.snapshot.taken_at == NOW - DAY
    ages = [(NOW - snapshot.taken_at).days for snapshot in repository.survey().newest]
    assert ages == ([1, 2, 3] if "compress" in directives else [1, 2, 3, 4])
    stored = place.parent / selection.snapshot.main.key
    stored.with_name(f"{stored.name}.sha256").write_text(f"{sha256(stored.read_bytes())}  -\n")
    transfer = repository.fetch(selection.snapshot, make_staging())
    assert (transfer.broken, transfer.absent) == ({}, [])
    assert transfer.payloads[0].path.read_bytes() == database(10)


def test_rsnapshot(
    tmp_path: Path,
    make_repository: MakeRepository,
    make_staging: MakeStaging,
    require_program: Callable[[str], str],
) -> None:
    program = require_program("rsnapshot")
    source, place = tmp_path / "source", tmp_path / "store"
    source.mkdir()
    place.mkdir()
    configuration = tmp_path / "rsnapshot.conf"
    lines = [
        ("config_version", "1.2"), ("snapshot_root", f"{place}/"), ("cmd_rsync", require_program("rsync")),
        ("retain", "daily", "3"), ("lockfile", str(tmp_path / "lock")), ("backup", f"{source}/", "localhost/"),
    ]  # fmt: skip
    configuration.write_text("".join("\t".join(line) + "\n" for line in lines))
    for night in range(4):
        (source / "letter.txt").write_text(f"night {night}\n")
        for path in (source / "letter.txt", source):
            date(path, NOW - (30 - night) * DAY)
        subprocess.run([program, "-c", configuration, "daily"], check=True, capture_output=True)
        assert (place / "daily.0").stat().st_mtime >= NOW.timestamp()  # not the source's
        date(place / "daily.0", NOW - (4 - night) * DAY)
    repository = make_repository(path="daily.{rotation}/", target={"engine": "files"}, checksum="pinned")
    survey = repository.survey()
    assert [snapshot.main.key for snapshot in survey.newest] == ["daily.0/", "daily.1/", "daily.2/"]
    assert [(NOW - snapshot.taken_at).days for snapshot in survey.newest] == [1, 2, 3]
    selection = choose(survey, repository, datetime.now(UTC).timestamp() + 3600)
    assert selection.snapshot is not None and selection.snapshot.rotation == 0
    transfer = repository.fetch(selection.snapshot, make_staging("files"))
    (payload,) = transfer.payloads
    assert transfer.broken == {} and payload.form is PayloadForm.TREE
    assert transfer.artifacts[0]["pin"] == f"daily.{{rotation}}/@{selection.snapshot.id}"  # tomorrow it is daily.1
    (letter,) = payload.path.rglob("letter.txt")
    assert letter.read_text() == "night 3\n"
