from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from restore_drill import forks
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, RestoreDrillError, SecretUnavailable
from restore_drill.forks import spread
from restore_drill.model import Stage


def square(task: Any) -> Any:
    return [task, task * task, os.getpid()]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_task_is_answered_once(workers: int) -> None:
    answers = list(spread(range(1000), square, workers=workers))
    assert sorted(answer[:2] for answer in answers) == [[number, number * number] for number in range(1000)]
    pids = {answer[2] for answer in answers}
    assert (pids == {os.getpid()}) is (workers == 1)
    assert os.getpid() not in pids or workers == 1


def test_no_task_is_no_answer() -> None:
    assert list(spread([], square, workers=3)) == []


def test_tasks_are_drawn_here_as_workers_come_free() -> None:
    drawn = []

    def tasks() -> Iterator[int]:
        for number in range(100):
            drawn.append((number, os.getpid()))
            yield number

    answers = spread(tasks(), square, workers=2)
    next(answers)
    assert len(drawn) == 5  # two in hand for each worker, and one for the one that answered
    assert len(list(answers)) == 99
    assert [pid for _, pid in drawn] == [os.getpid()] * 100


def test_names_that_are_no_utf8_travel_unharmed() -> None:
    names = [os.fsdecode(bytes([first, second])) for first in (1, 65, 200, 255) for second in (34, 92, 10, 254)]
    assert sorted(spread(names, lambda name: name + "!", workers=2)) == sorted(name + "!" for name in names)


def test_large_answers_and_tasks() -> None:
    answers = spread(["x" * 100_000] * 20, lambda text: text * 10, workers=2)
    assert [len(answer) for answer in answers] == [1_000_000] * 20


def fail(task: int) -> int:
    if task == 7:
        raise BackupFailed("it is bad", looked_at="here", remedy="mend it", stage=Stage.FETCH, details=("name",))
    return task


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_of_a_worker_comes_through_with_all_its_parts(workers: int) -> None:
    with pytest.raises(BackupFailed) as caught:
        list(spread(range(100), fail, workers=workers))
    problem = caught.value
    assert (problem.cause, problem.looked_at, problem.remedy) == ("it is bad", "here", "mend it")
    assert (problem.stage, problem.details) == (Stage.FETCH, ("name",))


def late(task: int) -> None:
    raise DeadlineExceeded("too late") if task else CouldNotVerify("no idea")


def test_kinds_of_errors_are_told_apart() -> None:
    with pytest.raises(DeadlineExceeded, match="too late"):
        list(spread([1], late, workers=2))
    with pytest.raises(CouldNotVerify, match="no idea") as caught:
        list(spread([0], late, workers=2))
    assert type(caught.value) is CouldNotVerify


def test_a_mistake_in_a_worker_is_not_taken_for_a_bad_backup() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        list(spread([0], lambda task: 1 // task, workers=2))


def test_a_worker_that_dies_is_noticed() -> None:
    with pytest.raises(CouldNotVerify, match="ended unexpectedly"):
        list(spread(range(50), lambda _: os.kill(os.getpid(), signal.SIGKILL), workers=2))


def test_the_deadline_ends_workers(tmp_path: Path) -> None:
    def hang(task: int) -> None:
        (tmp_path / str(os.getpid())).touch()
        signal.pause()

    with pytest.raises(DeadlineExceeded):
        list(spread(range(4), hang, workers=2, until=time.monotonic() + 5.0))
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_nothing_stays_behind_when_the_consumer_stops_early() -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    answers = spread(range(100), square, workers=3)
    pid = next(answers)[2]
    answers.close()  # type: ignore[attr-defined]
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_workers_die_with_their_parent(tmp_path: Path) -> None:
    reader, writer = os.pipe()

    def hang(task: int) -> None:
        os.write(writer, b"x")
        signal.pause()

    parent = os.fork()
    if not parent:
        try:
            list(spread(range(2), hang, workers=2))
        finally:
            os._exit(1)
    os.close(writer)
    assert os.read(reader, 1) == b"x"
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    while os.read(reader, 10):  # the end comes only when the last worker has closed its end
        pass
    os.close(reader)


# --- what travels between the processes -------------------------------------------------------------------------------


def answered(work: Any) -> Any:
    """What the parent makes of what a worker would answer."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        forks._send(theirs, forks._answer(work, 3))
        return forks._open(forks._receive(ours))


def test_an_answer_arrives_as_it_was_sent() -> None:
    assert answered(lambda task: {"name\udcff": [task, None]}) == {"name\udcff": [3, None]}


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (BackupFailed("bad", looked_at="x", remedy="r", stage=Stage.UNPACK, details=("d",)), BackupFailed),
        (DeadlineExceeded("late", looked_at="x", remedy="r", stage=Stage.UNPACK, details=("d",)), DeadlineExceeded),
        (SecretUnavailable("none", looked_at="x", remedy="r", stage=Stage.UNPACK, details=("d",)), CouldNotVerify),
    ],
)
def test_an_error_arrives_with_its_parts(raised: RestoreDrillError, kind: type[RestoreDrillError]) -> None:
    def work(task: Any) -> Any:
        raise raised

    with pytest.raises(kind) as caught:
        answered(work)
    assert type(caught.value) is kind
    for part in ("cause", "looked_at", "remedy", "stage", "details"):
        assert getattr(caught.value, part) == getattr(raised, part)


def test_an_error_without_a_stage_and_a_mistake_of_ours() -> None:
    def unknown(task: Any) -> Any:
        raise CouldNotVerify("x")

    with pytest.raises(CouldNotVerify) as caught:
        answered(unknown)
    assert caught.value.stage is None
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        answered(lambda task: 1 // 0)


@pytest.mark.parametrize("sent", [b"", b"\0\0", (10).to_bytes(4, "big") + b"cut"])
def test_an_answer_that_breaks_off_is_none(sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            theirs.sendall(sent)
        assert forks._receive(ours) is None
