"""``restore-drill doctor``: every line that is not good has its remedy, and one does not hide the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.cli.conftest import Command, Said, change

from restore_drill import disk
from restore_drill.engines.parquet import ParquetEngine
from restore_drill.engines.sqlite import SqliteEngine
from restore_drill.sandboxes.container import ContainerSandbox


def problems(said: Said) -> dict[str, str]:
    """Label of each problem → what is said of it, and its remedy."""
    found = re.findall(r"^PROBLEM (.*?): (.*)\n(?: +-> (.*)\n)?", said.out.replace("://", "//"), re.MULTILINE)
    return {label: f"{cause} -> {remedy}" for label, cause, remedy in found}


def test_a_healthy_estate(command: Command, project: Path) -> None:
    command("baseline", "init")
    said = command("doctor", "--work-dir", project / "..")
    assert (said.status, said.err) == (0, "")
    assert "PROBLEM" not in said.out
    for line in (
        r"^ok      restore-drill \S+, Python 3\.\d+\.\d+, \d+ cores$",
        r"^ok      pytest 9\.",
        r"^ok      SQLite 3\.",
        r"^ok      optional programs \(no drill needs them\): rsync (not )?found, sqlite3",
        r"^ok      sandbox: works in .*, network: ",
        r"^ok      disk: .* usable in ",
        r"^ok      catalogue .*targets\.yaml: 1 targets$",
        r"^ok      state file://.*/state: initialised$",
        r"^ok      reports .*/reports: can be written$",
        r"^ok      orders-db/nas: 1 recovery points, the newest \d{8}T\d{6}Z \(30 min .*old\)$",
    ):
        assert re.search(line, said.out, re.MULTILINE), f"{line}\n{said.out}"


def test_everything_that_is_wrong_is_said(command: Command, catalogue: Path, project: Path) -> None:
    change(catalogue, '.db"}', '.db.age", decrypt: {age: {identity: env:NO_SUCH_KEY, passphrase: file:/no/such/file}}}')
    (project / "reports").write_text("a file")
    said = command("doctor")
    assert said.status == 1
    found = problems(said)
    assert found.keys() == {
        f"state file//{project}/state", f"reports {project}/reports", "orders-db/nas", "secret env:NO_SUCH_KEY",
        "secret file:/no/such/file",
    }  # fmt: skip
    assert "restore-drill baseline init" in found[f"state file//{project}/state"]
    assert found[f"reports {project}/reports"].startswith("File exists -> Check its permissions")
    assert "NO_SUCH_KEY" in found["secret env:NO_SUCH_KEY"] and "/no/such/file" in found["secret file:/no/such/file"]
    assert "no snapshot" in found["orders-db/nas"]
    assert [label for label, cause in found.items() if cause.endswith("-> ")] == []


def test_where_targets_are_restored(command: Command, catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command("baseline", "init")
    monkeypatch.setattr(SqliteEngine, "sandboxes", ("container", "directory"))
    monkeypatch.setattr(SqliteEngine, "programs", ("no-such-server",))
    monkeypatch.setattr(ContainerSandbox, "unavailable", classmethod(lambda *_: "no engine answers"))
    said = command("doctor")
    assert "\nok      sandbox directory (for orders-db): no container: no engine answers\n" in said.out
    assert problems(said).keys() == {"program no-such-server (for sqlite)"}
    # An image brings its own programs; a kind that was named is not replaced by another.
    change(catalogue, "engine: sqlite", "engine: sqlite\n    sandbox: container")
    assert problems(command("doctor")) == {
        "sandbox container (for orders-db)": "no engine answers -> Have that mended, or write another kind under "
        "sandbox."
    }
    monkeypatch.setattr(ContainerSandbox, "unavailable", classmethod(lambda *_: ""))
    monkeypatch.setattr(ContainerSandbox, "inspect", classmethod(lambda *_: "Toy Engine 1.0"))
    said = command("doctor")
    assert "\nok      sandbox container (for orders-db): the catalogue names it; Toy Engine 1.0\n" in said.out
    assert problems(said) == {}


def test_a_store_that_is_not_mounted(command: Command, catalogue: Path) -> None:
    command("baseline", "init")
    change(catalogue, "file:../backups", "file:../unmounted")
    assert problems(command("doctor")).keys() == {"orders-db/nas"}
    change(catalogue, "file:../unmounted", "file:../backups")
    assert problems(command("doctor")) == {}


def test_a_secret_is_never_shown(command: Command, catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command("baseline", "init")
    monkeypatch.setenv("ORDERS_KEY", "AGE-SECRET-KEY-1QQQQQQQQQQQ")
    change(catalogue, '.db"}', '.db", decrypt: {age: {identity: env:ORDERS_KEY}}}')
    said = command("doctor")
    assert said.status == 0 and "secret env:ORDERS_KEY: can be read" in said.out
    assert "QQQQ" not in said.out + said.err


def test_secrets_that_look_alike_are_all_tried(command: Command, catalogue: Path) -> None:
    command("baseline", "init")
    fine, broken = ('{command: [sh, -c, "echo AGE-SECRET-KEY-1Q"]}', '{command: [sh, -c, "exit 3"]}')
    change(catalogue, '.db"}', f'.db", decrypt: {{age: {{identity: {broken}, passphrase: {fine}}}}}}}')
    said = command("doctor")
    assert "ok      secret command:sh: can be read" in said.out
    assert problems(said).keys() == {"secret command:sh"}


def test_a_work_directory_that_is_not_there(command: Command, project: Path) -> None:
    command("baseline", "init")
    said = command("doctor", "--work-dir", project / "nowhere")
    assert said.status == 1
    assert problems(said).keys() == {"sandbox", "disk"}
    assert "orders-db/nas: 1 recovery points" in said.out


def test_a_disk_with_little_left(command: Command, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command("baseline", "init")
    monkeypatch.setattr(disk, "free_space", lambda path: disk.reserve(path) + 1000)
    found = problems(command("doctor"))
    assert found["disk"].startswith("only 1.00 kB usable (") and "--work-dir" in found["disk"]


def test_an_old_sqlite(command: Command, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 31, 1))
    said = command("doctor")
    assert "Use a Python that is linked with SQLite 3.37 or newer." in said.out


def test_a_package_that_is_missing(command: Command, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restore_drill.cli.doctor._PACKAGES", ("pytest", "a-package-nobody-has"))
    assert "a-package-nobody-has missing" in command("doctor").out


def test_a_program_that_a_format_needs(
    command: Command, catalogue: Path, monkeypatch: pytest.MonkeyPatch, require_program: Callable[[str], str],
    tmp_path: Path,
) -> None:  # fmt: skip
    command("baseline", "init")
    monkeypatch.setenv("PGP_PASSPHRASE", "correct horse")
    change(catalogue, '.db"}', '.db", decrypt: {openpgp: {passphrase: env:PGP_PASSPHRASE}}}')
    gpg = require_program("gpg")
    assert f"ok      program gpg (for openpgp): {gpg}" in command("doctor").out
    monkeypatch.setenv("PATH", str(tmp_path))
    found = problems(command("doctor"))
    assert found.keys() == {"program gpg (for openpgp)"}
    assert "not found -> Install it" in found["program gpg (for openpgp)"]


def test_a_library_that_an_engine_needs_keeps_nothing_else_from_being_drilled(
    command: Command, catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("baseline", "init")
    change(catalogue, "engine: sqlite", "engine: parquet")
    assert "ok      library pyarrow (for parquet): installed" in command("doctor").out
    monkeypatch.setattr(ParquetEngine, "libraries", ("a_library_nobody_has",))
    assert command("validate").status == 0
    assert problems(command("doctor")) == {
        "library a_library_nobody_has (for parquet)": "engines 'parquet' needs a_library_nobody_has, which is not "
        "installed -> pip install 'pytest-restore-drill[parquet]'"
    }


def test_what_a_signature_needs(
    command: Command, catalogue: Path, project: Path, require_program: Callable[[str], str]
) -> None:
    command("baseline", "init")
    change(catalogue, '.db"}', '.db", checksum: {signature: {kind: gpg, keys: ["file:backup.asc"]}}}')
    gpgv, key = require_program("gpgv"), catalogue.parent / "backup.asc"
    said = command("doctor")
    assert f"ok      program gpgv (for gpg): {gpgv}" in said.out
    assert f"cannot be read ({key})" in problems(said)[f"public key file:{key}"]
    key.write_text("a key")
    said = command("doctor")
    assert f"ok      public key file:{key}: 5 bytes" in said.out and problems(said) == {}
