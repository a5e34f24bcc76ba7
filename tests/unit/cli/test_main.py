"""What holds of every command: exit statuses, messages with a remedy, and never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.cli.conftest import CATALOGUE, Command, change

import restore_drill
from restore_drill import __version__
from restore_drill.catalogue.schema import json_schema
from restore_drill.cli import main

NEEDS_A_CATALOGUE = [
    ("validate",), ("plan",), ("doctor",), ("baseline", "init"), ("baseline", "show", "orders-db"),
    ("baseline", "accept", "orders-db", "--size", "--reason", "less is kept"), ("ledger", "show"),
    ("ledger", "export", "--out", "x.tar"), ("sign-off", "latest", "--reviewer", "alice"),
]  # fmt: skip


def test_without_a_command_it_shows_its_help(command: Command) -> None:
    said = command()
    assert said.status == 2
    assert all(name in said.out for name in ("validate", "plan", "doctor", "init", "baseline", "clean", "schema"))


def test_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"restore-drill {__version__}\n"


@pytest.mark.parametrize("arguments", [["rehearse"], ["validate", "--nonsense"], ["baseline"], ["baseline", "accept"]])
def test_what_it_does_not_know_is_a_wrong_use(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: restore-drill" in capsys.readouterr().err


@pytest.mark.parametrize("words", NEEDS_A_CATALOGUE, ids=" ".join)
def test_a_catalogue_that_is_not_there(command: Command, tmp_path: Path, words: tuple[str, ...]) -> None:
    said = command(*words, "--catalogue", tmp_path / "none.yaml")
    assert said.status == 1
    assert "none.yaml:1:1: the file cannot be read" in said.err and "hint: " in said.err


@pytest.mark.parametrize("words", NEEDS_A_CATALOGUE, ids=" ".join)
def test_a_catalogue_with_mistakes_says_all_of_them(command: Command, catalogue: Path, words: tuple[str, ...]) -> None:
    change(catalogue, "engine: sqlite", "engine: sqlit")
    change(catalogue, "tier: critical", "teir: critical")
    said = command(*words)
    assert said.status == 1
    assert "there is no engine 'sqlit'" in said.err and "did you mean 'sqlite'?" in said.err
    assert "'teir'" in said.err
    assert "targets.yaml:9:13" in said.err


@pytest.mark.parametrize("content", [b"\xff\xfe\0", b"", b"- a\n- b\n", b"a: &a [*a]\n", b"{" * 10_000])
def test_a_catalogue_that_is_none(command: Command, catalogue: Path, content: bytes) -> None:
    catalogue.write_bytes(content)
    said = command("validate")
    assert said.status == 1
    assert said.err.startswith("restore-drill validate: ") and "targets.yaml:" in said.err


def test_a_directory_is_no_catalogue(command: Command, catalogue: Path) -> None:
    said = command("validate", "--catalogue", catalogue.parent)
    assert said.status == 1 and "cannot be read" in said.err


def test_the_catalogue_is_named_by_option_before_environment(
    command: Command, catalogue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(CATALOGUE.replace("orders-db", "other-db"))
    monkeypatch.setenv("RESTORE_DRILL_CATALOGUE", str(other))
    assert "other-db" in command("plan").out
    assert "orders-db" in command("plan", "--catalogue", catalogue).out


def test_the_schema_is_the_published_one(command: Command) -> None:
    said = command("schema")
    assert said.status == 0
    assert json.loads(said.out) == json_schema()


# --- as a program -----------------------------------------------------------------------------------------------------


def program(*arguments: str, **options: object) -> subprocess.Popen[str]:
    source = str(Path(restore_drill.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": source, **dict(options.pop("env", {}))}  # type: ignore[call-overload]
    argv = [sys.executable, "-m", "restore_drill", *arguments]
    return subprocess.Popen(argv, env=environment, stderr=subprocess.PIPE, text=True, **options)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("words", [("schema",), ("plan",), ("validate",)], ids=" ".join)
def test_a_reader_that_went_away_is_no_error_of_ours(project: Path, words: tuple[str, ...]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        child = program(*words, stdout=writing, cwd=project)
    finally:
        os.close(writing)
    _, complaint = child.communicate(timeout=60)
    assert complaint == ""
    assert child.returncode == 1


def test_what_the_terminal_cannot_show_is_escaped(project: Path) -> None:
    change(project / "drills" / "targets.yaml", "what was sold", "verkaufte Güter")
    child = program("plan", stdout=subprocess.PIPE, cwd=project, env={"PYTHONIOENCODING": "ascii"})
    shown, complaint = child.communicate(timeout=60)
    assert (child.returncode, complaint) == (0, "")
    assert "verkaufte G\\xfcter" in shown


def test_a_full_disk_is_told_in_one_line(project: Path) -> None:
    with Path("/dev/full").open("w") as full:
        child = program("plan", stdout=full, cwd=project)
        _, complaint = child.communicate(timeout=60)
    assert child.returncode == 1
    assert complaint.startswith("restore-drill plan: No space left on device. ")
    assert complaint.count("\n") == 1
