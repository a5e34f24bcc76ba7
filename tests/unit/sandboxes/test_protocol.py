from __future__ import annotations

import json

import pytest

from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, RestoreDrillError, SandboxDied
from restore_drill.model import Stage
from restore_drill.process import ProgramMissing
from restore_drill.sandboxes import protocol


def _travel(error: RestoreDrillError) -> RestoreDrillError:
    return protocol.decode_error(json.loads(protocol.dump(protocol.encode_error(error))))


@pytest.mark.parametrize(
    "error",
    [
        BackupFailed("bad", looked_at="a page", remedy="Mend it.", stage=Stage.UNPACK, details=("file\udcff", "x")),
        CouldNotVerify("unknown"),
        DeadlineExceeded("late", remedy="Wait."),
        ProgramMissing("no tar", remedy="Install tar."),
        SandboxDied("gone", signal=11, remedy="Again."),
    ],
)
def test_error_travels_with_class_and_parts(error: RestoreDrillError) -> None:
    arrived = _travel(error)
    assert type(arrived) is type(error)
    assert vars(arrived) == vars(error)
    assert str(arrived) == str(error)


def test_unknown_class_becomes_its_nearest_known_base() -> None:
    parts = protocol.encode_error(BackupFailed("bad"))
    parts["classes"].insert(0, "some.plugin:VeryBad")
    assert type(protocol.decode_error(parts)) is BackupFailed


@pytest.mark.parametrize("classes", [[], ["os:system"], ["builtins:SystemExit"], [7, None, ["x"]]])
def test_class_is_never_taken_from_elsewhere(classes: list[object]) -> None:
    assert type(protocol.decode_error({"classes": classes, "cause": "x"})) is CouldNotVerify


def test_hostile_parts_are_made_harmless() -> None:
    more = {"__class__": "x", "_private": 1, "with_traceback": "x", "not a name": 1, "signal": 4}
    error = protocol.decode_error({"classes": [], "cause": ["x"], "stage": "nowhere", "details": [1, {}], "more": more})
    assert error.cause == "['x']" and error.stage is None and error.details == ("1", "{}")
    assert callable(error.with_traceback) and not hasattr(error, "_private") and not hasattr(error, "not a name")
    assert getattr(error, "signal") == 4  # noqa: B009 - an attribute this class does not declare


def test_frames_are_put_together_however_they_are_cut() -> None:
    frames = [(protocol.PROGRESS, b'{"a":1}'), (protocol.RESULT, b"x" * 1000), (protocol.LAST_FAILURE, b"")]
    stream = b"".join(protocol.frame(*each) for each in frames)
    for step in (1, 7, len(stream)):
        inbox, taken = protocol.Inbox(), []
        for start in range(0, len(stream), step):
            inbox.add(stream[start : start + step])
            while (each := inbox.take()) is not None:
                taken.append(each)
        assert taken == frames


@pytest.mark.parametrize(
    "header",
    [
        protocol.HEADER.pack(protocol.CALL, 1),
        protocol.HEADER.pack(0x47, 1),
        protocol.HEADER.pack(protocol.RESULT, protocol.JSON_LIMIT + 1),
        protocol.HEADER.pack(protocol.PROGRESS, protocol.PROGRESS_LIMIT + 1),
    ],
)
def test_frames_that_nobody_sends_are_refused(header: bytes) -> None:
    inbox = protocol.Inbox()
    inbox.add(header)
    with pytest.raises(protocol.ProtocolError):
        inbox.take()


@pytest.mark.parametrize(
    ("name", "right"),
    [
        ("a:b", True),
        ("a.b_c:d", True),
        ("a", False),
        ("a:b.c", False),
        ("a:b:c", False),
        ("ä:b", False),
        ("a:b\n", False),
    ],
)
def test_function_names(name: str, right: bool) -> None:
    assert protocol.is_function_name(name) is right
