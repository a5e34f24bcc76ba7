"""Which kind of sandbox a target gets when the catalogue leaves it open: decided once, with a reason."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import ClassVar

import pytest

from restore_drill import registry
from restore_drill.choosing import Choice, choose
from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.base import SandboxOptions

NOTHING: frozenset[str] = frozenset()


class Boxes:
    """A kind of sandbox that needs an engine, which may not answer."""

    understands = frozenset({"image", "host", "memory"})
    why = ""
    asked: ClassVar[list[str]] = []

    @classmethod
    def unavailable(cls, options: SandboxOptions) -> str:
        cls.asked.append(options.host)
        return cls.why


class Yard:
    """A kind that every machine has."""

    understands = frozenset({"memory"})

    @classmethod
    def unavailable(cls, _options: SandboxOptions) -> str:
        return ""


@pytest.fixture(autouse=True)
def _kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("sandboxes_of_these_tests")
    module.Boxes, module.Yard = Boxes, Yard  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    kinds = {"box": (f"{module.__name__}:Boxes", ""), "yard": (f"{module.__name__}:Yard", "")}
    monkeypatch.setitem(registry.BUILT_IN, "sandboxes", kinds)
    monkeypatch.setattr(Boxes, "asked", [])


def _choose(*kinds: str, named: str | None = None, known: dict[str, str] | None = None, **options: str) -> Choice:
    return choose(named, kinds, SandboxOptions(**options), frozenset(options), {} if known is None else known)  # type: ignore[arg-type]


def test_what_the_catalogue_names_is_taken_unasked() -> None:
    assert _choose("box", "yard", named="yard") == Choice("yard", "the catalogue names it")
    assert _choose("box", "yard", named="box").kind == "box"
    assert Boxes.asked == []


def test_first_that_this_machine_has_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _choose("box", "yard") == Choice("box", "the first that the engine runs in")
    monkeypatch.setattr(Boxes, "why", "no engine answers")
    assert _choose("box", "yard") == Choice("yard", "no box: no engine answers")
    assert _choose("yard", "box") == Choice("yard", "the first that the engine runs in")
    with pytest.raises(CouldNotVerify, match="no sandbox to restore it in: no box: no engine answers"):
        _choose("box")


def test_each_engine_is_asked_once_in_a_run() -> None:
    known: dict[str, str] = {}
    for _ in range(3):
        _choose("box", known=known)
        _choose("box", known=known, host="tcp://elsewhere:2375")
    assert Boxes.asked == ["", "tcp://elsewhere:2375"]
    assert known == {"box": "", "box tcp://elsewhere:2375": ""}
    # What another process of the run found out is as good.
    assert _choose("box", "yard", known={"box": "it was not there"}).reason == "no box: it was not there"


def test_a_kind_that_cannot_do_what_is_asked_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _choose("yard", "box", image="toy:1") == Choice("box", "no yard: the catalogue asks for image")
    monkeypatch.setattr(Boxes, "why", "no engine answers")
    with pytest.raises(CouldNotVerify, match="no box: no engine answers; no yard: the catalogue asks for image"):
        _choose("box", "yard", image="toy:1")
    assert _choose("box", "yard", memory="1").kind == "yard"


def test_a_kind_that_nobody_brings_is_passed_over() -> None:
    assert _choose("forgotten", "yard").kind == "yard"
