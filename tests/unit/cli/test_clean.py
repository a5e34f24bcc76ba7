"""``restore-drill clean``: what dead runs left goes, what is held or kept on purpose stays."""

from __future__ import annotations

from pathlib import Path

from tests.unit.cli.conftest import Command

from restore_drill.registry import load
from restore_drill.sandboxes.base import Limits
from restore_drill.sandboxes.workspace import KEPT, safe_root


def test_nothing_to_remove(command: Command, tmp_path: Path) -> None:
    said = command("clean", "--work-dir", tmp_path)
    assert (said.status, said.out) == (0, "0 leftovers removed\n")


def test_what_a_dead_run_left_is_removed(command: Command, tmp_path: Path) -> None:
    left = safe_root(tmp_path) / "20261122T020000Z-aaaaaa"
    (left / "orders-db.nas").mkdir(parents=True)
    (left / "orders-db.nas" / "payload-0").write_text("rows")
    said = command("clean", "--work-dir", tmp_path)
    assert said.out == f"removed {left}\n1 leftover removed\n"
    assert not left.exists()


def test_what_a_run_holds_stays(command: Command, tmp_path: Path) -> None:
    with load("sandboxes", "directory")(tmp_path, run="alive", name="db", limits=Limits()) as sandbox:
        assert command("clean", "--work-dir", tmp_path).out == "0 leftovers removed\n"
        assert sandbox.work.is_dir()


def test_what_was_kept_goes_when_it_is_asked_for(command: Command, tmp_path: Path) -> None:
    kept = safe_root(tmp_path) / KEPT / "20261122T020000Z-aaaaaa.orders-db"
    kept.mkdir(parents=True)
    assert command("clean", "--work-dir", tmp_path).out == "0 leftovers removed\n"
    assert kept.is_dir()
    assert command("clean", "--work-dir", tmp_path, "--kept").out.endswith("1 leftover removed\n")
    assert not kept.exists()


def test_a_work_directory_that_cannot_be_used(command: Command, tmp_path: Path) -> None:
    said = command("clean", "--work-dir", tmp_path / "nowhere")
    assert said.status == 1
    assert said.err.startswith("restore-drill clean: ")
