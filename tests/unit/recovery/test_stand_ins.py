"""What stands in for clients of stores: the forms that runbooks use, and nothing that passes by doing nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from restore_drill.recovery.stand_ins import STAND_INS

URL = "s3://bucket/db"


def asked(tmp_path: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    stored = tmp_path / "stored"
    (stored / "orders").mkdir(parents=True, exist_ok=True)
    (stored / "orders" / "new.sql").write_text("select 1;\n")
    script = tmp_path / name
    script.write_text(STAND_INS[name])
    variables = {"PATH": "/usr/bin:/bin", "BACKUP_DIR": str(stored), "BACKUP_URL": URL}
    return subprocess.run(
        ["bash", str(script), *arguments], env=variables, cwd=tmp_path, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((f"{URL}/orders/new.sql", "-"), 0, "select 1;\n"),
        ((f"{URL}/orders/new.sql", "here.sql"), 0, ""),
        ((f"{URL}/orders/old.sql", "-"), 1, ""),
        (("s3://another/db/orders/new.sql", "-"), 64, ""),
        ((f"{URL}/../stored/orders/new.sql", "-"), 64, ""),
        ((f"{URL}/orders", "-"), 1, ""),
    ],
    ids=["pipe", "file", "absent", "another bucket", "out of it", "a prefix"],
)
def test_an_object_is_handed_over_and_nothing_else(
    tmp_path: Path, arguments: tuple[str, str], status: int, said: str
) -> None:
    done = asked(tmp_path, "aws", "s3", "cp", *arguments)
    assert (done.returncode, done.stdout) == (status, said), done.stderr
    assert bool(done.stderr) is bool(status)
    assert (tmp_path / "here.sql").exists() is (arguments[1] == "here.sql")
    assert not (tmp_path / "-").exists()


@pytest.mark.parametrize("arguments", [("s3", "ls", f"{URL}/"), ("sts", "get-caller-identity"), ("s3", "cp", URL)])
def test_what_is_not_stood_in_for_fails(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    assert asked(tmp_path, "aws", *arguments).returncode == 64
