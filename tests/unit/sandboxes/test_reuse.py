"""When the emptied directory and the process of a sandbox serve another one, and when they must not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from restore_drill.errors import CouldNotVerify, DeadlineExceeded, SandboxDied
from restore_drill.sandboxes import directory
from restore_drill.sandboxes.base import Limits
from restore_drill.sandboxes.directory import DirectorySandbox, close_all

TRIALS = "restore_drill.sandboxes.trials"
Make = Callable[..., DirectorySandbox]


@pytest.fixture
def enter(tmp_path: Path) -> Iterator[Make]:
    """Enter a sandbox of one run."""
    made: list[DirectorySandbox] = []

    def make(
        name: str = "target.copy", *, run: str = "test", limits: Limits | None = None, circle: str = ""
    ) -> DirectorySandbox:
        sandbox = DirectorySandbox(tmp_path, run=run, name=name, limits=limits or Limits(), circle=circle)
        made.append(sandbox.__enter__())
        return made[-1]

    yield make
    for sandbox in made:
        sandbox.dispose()
    assert close_all() == []
    assert list(tmp_path.glob("*/*")) == []


def met(sandbox: DirectorySandbox, name: str) -> list[str]:
    """Whom the process of a sandbox served before."""
    found: list[str] = sandbox.call(f"{TRIALS}:remember", {"value": name}, deadline=60)
    return found


def leave(sandbox: DirectorySandbox, **how: Any) -> None:
    assert sandbox.dispose(reuse=True, **how).left == ()


def test_the_next_sandbox_finds_an_empty_directory_and_the_same_process(enter: Make) -> None:
    first = enter("one")
    assert met(first, "one") == []
    (first.work / "restored" / "deep").mkdir(parents=True)
    (first.work / "restored" / "deep" / "file").write_text("x")
    (first.work.parent / "tmp" / "file").write_text("x")
    leave(first)
    second = enter("two")
    assert second.work == first.work
    assert sorted(second.work.parent.rglob("*")) == [second.work.parent / "tmp", second.work]
    assert met(second, "two") == ["one"]


def test_it_is_over_for_the_one_that_left(enter: Make) -> None:
    first = enter()
    met(first, "one")
    leave(first)
    second = enter()
    (second.work / "file").write_text("x")
    assert first.dispose().left == ()
    assert met(second, "two") == ["one"] and (second.work / "file").exists()


def test_without_being_told_nothing_is_left_to_the_next(enter: Make) -> None:
    first = enter()
    met(first, "one")
    first.dispose()
    assert not first.work.exists()
    assert met(enter(), "two") == []


def _fails(sandbox: DirectorySandbox) -> None:
    with pytest.raises(CouldNotVerify, match="raised TypeError"):
        sandbox.call(f"{TRIALS}:fail", {}, deadline=60)


def _fails_and_goes_on(sandbox: DirectorySandbox) -> None:
    _fails(sandbox)
    met(sandbox, "after")


def _dies(sandbox: DirectorySandbox) -> None:
    with pytest.raises(SandboxDied):
        sandbox.call(f"{TRIALS}:crash", {}, deadline=60)


def _dies_and_goes_on(sandbox: DirectorySandbox) -> None:
    _dies(sandbox)
    met(sandbox, "after")


def _hangs(sandbox: DirectorySandbox) -> None:
    with pytest.raises(DeadlineExceeded):
        sandbox.call(f"{TRIALS}:hang", {}, deadline=0.1)


def _is_still_at_work(sandbox: DirectorySandbox) -> None:
    sandbox.submit(f"{TRIALS}:hang", {}, deadline=60)


def _leaves_a_daemon(sandbox: DirectorySandbox) -> None:
    assert sandbox.call(f"{TRIALS}:leave_daemon", {"marker": "left-to-the-next"}, deadline=60)
    met(sandbox, "after")


def _leaves_a_thread(sandbox: DirectorySandbox) -> None:
    sandbox.call(f"{TRIALS}:leave_thread", {}, deadline=60)


def _runs_a_program(sandbox: DirectorySandbox) -> None:
    sandbox.exec(["true"], deadline=60)


def _starts_a_server(sandbox: DirectorySandbox) -> None:
    up = sandbox.work / "up"
    sandbox.start(["sh", "-c", ": > up; sleep 3600"], ready=up.exists, deadline=60).stop()


@pytest.mark.parametrize(
    "what",
    [
        _fails, _fails_and_goes_on, _dies, _dies_and_goes_on, _hangs, _is_still_at_work, _runs_a_program,
        _starts_a_server, _leaves_a_daemon, _leaves_a_thread,
    ],
)  # fmt: skip
def test_a_process_that_met_anything_but_calls_that_gave_a_result_serves_nobody_else(
    enter: Make, what: Callable[[DirectorySandbox], None]
) -> None:
    first = enter()
    met(first, "one")
    what(first)
    leave(first)
    assert not first.work.exists()
    assert met(enter(), "two") == []


def test_what_is_kept_is_not_used_again(enter: Make) -> None:
    first = enter("db.nas")
    met(first, "one")
    leave(first)
    second = enter("db.offsite")
    (second.work / "file").write_text("x")
    kept = Path(second.dispose(keep=True, reuse=True).kept)
    assert (kept / "file").exists() and kept.parent.name.endswith("-db.offsite"), "it is named after what is in it"
    third = enter()
    assert third.work != second.work and met(third, "three") == []
    third.dispose()
    for path in (kept / "file", kept, kept.parent, kept.parents[1]):
        path.unlink() if path.is_file() else path.rmdir()


def test_other_limits_need_another_process(enter: Make) -> None:
    first = enter()
    met(first, "one")
    leave(first)
    second = enter(limits=Limits(memory=1 << 30))
    assert met(second, "two") == [] and second.work != first.work


def test_another_circle_needs_another_process(enter: Make) -> None:
    first = enter(circle="nas")
    met(first, "one")
    leave(first)
    second = enter(circle="offsite")
    assert met(second, "two") == [] and second.work != first.work


def test_another_run_has_its_own(enter: Make) -> None:
    first = enter()
    met(first, "one")
    leave(first)
    assert met(enter(run="other"), "two") == []
    assert not first.work.exists()


def test_a_process_that_ended_meanwhile_is_not_used(enter: Make) -> None:
    first = enter()
    met(first, "one")
    leave(first)
    spare = first._directory.spare  # type: ignore[union-attr]
    assert spare is not None
    spare.end()
    assert met(enter(), "two") == []


def test_of_two_at_a_time_one_is_left(enter: Make) -> None:
    first, second = enter(), enter()
    met(first, "one")
    met(second, "two")
    leave(first)
    leave(second)
    assert first.work.exists() and not second.work.exists()
    assert met(enter(), "three") == ["one"]


def test_no_process_serves_for_ever(enter: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "_SERVES", 3)
    served = []
    for number in range(5):
        sandbox = enter()
        served.append(len(met(sandbox, str(number))))
        leave(sandbox)
    assert served == [0, 1, 2, 0, 1]


def test_what_cannot_be_emptied_is_told_and_not_used(enter: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first = enter()
    met(first, "one")
    (first.work / "file").write_text("x")
    with monkeypatch.context() as patch:
        patch.setattr(directory.workspace, "empty_tree", lambda path: [f"{path}/file: busy"])
        patch.setattr(directory.workspace, "remove_tree", lambda path, **_: [f"{path}/file: busy"])
        assert first.dispose(reuse=True).left
    assert met(enter(), "two") == []


def test_a_process_that_waits_ends_with_the_run(enter: Make) -> None:
    first = enter()
    met(first, "one")
    leave(first)
    spare = first._directory.spare  # type: ignore[union-attr]
    assert spare is not None and spare.worker.usable  # type: ignore[attr-defined]
    close_all()
    assert spare.worker.ended  # type: ignore[attr-defined]
    assert not first.work.exists()
