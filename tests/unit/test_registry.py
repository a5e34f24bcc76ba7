"""Plug-ins by name: what is built in loads, what is missing says how to get it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from restore_drill import registry
from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.registry import BUILT_IN, load, names, store_class
from restore_drill.stores.local import LocalStore
from restore_drill.stores.s3 import S3Store

Register = Callable[..., None]


@pytest.fixture
def register(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Register]:
    """Make an entry point known, as an installed package would."""
    monkeypatch.syspath_prepend(tmp_path)
    found: dict[str, EntryPoint] = {}

    def make(name: str, target: str, **modules: str) -> None:
        found[name] = EntryPoint(name, target, "restore_drill.engines")
        for module, code in modules.items():
            (tmp_path / f"{module}.py").write_text(code)

    third_party = registry._third_party
    monkeypatch.setattr(registry, "_third_party", lambda plug: found if plug == "engines" else third_party(plug))
    registry._import.cache_clear()
    yield make
    registry._import.cache_clear()


@pytest.mark.parametrize(("plug", "name"), [(plug, name) for plug, known in BUILT_IN.items() for name in known])
def test_what_is_built_in_loads_and_is_called_so(plug: str, name: str) -> None:
    found = load(plug, name)
    if plug == "stores":
        assert name in found.schemes
    else:
        assert getattr(found, "name", None) == name or found.short == name


def test_a_wrong_name_suggests_the_nearest() -> None:
    with pytest.raises(UsageProblem, match="engines has nothing called 'sqlight'") as raised:
        load("engines", "sqlight")
    assert raised.value.remedy == "Did you mean sqlite?"
    with pytest.raises(UsageProblem) as raised:
        load("engines", "zzz")
    assert raised.value.remedy.startswith("Registered are sqlite, files, csv")


def test_a_third_party_is_known_and_never_hides_what_is_built_in(register: Register) -> None:
    register("mumps", "mumps_engine:Mumps [fast]", mumps_engine="class Mumps:\n    name = 'mumps'\n")
    register("sqlite", "mumps_engine:Mumps")
    assert names("engines") == [*registry.BUILT_IN["engines"], "mumps"]
    assert load("engines", "mumps").name == "mumps"
    assert load("engines", "sqlite").__module__ == "restore_drill.engines.sqlite"


def test_urls_name_their_store_by_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_class("file:///srv") is LocalStore
    assert store_class("s3://bucket") is S3Store
    with pytest.raises(UsageProblem, match="nothing called 'mirrors'"):
        store_class("mirrors://there")

    class Mirror:
        schemes = ("mirror", "mirrors")

    known = registry.load
    monkeypatch.setattr(registry, "names", lambda plug: [*registry.BUILT_IN[plug], "mirror"])
    monkeypatch.setattr(registry, "load", lambda plug, name: Mirror if name == "mirror" else known(plug, name))
    assert store_class("mirrors://there") is Mirror
    with pytest.raises(UsageProblem, match="nothing called 'elsewhere'"):
        store_class("elsewhere://there")


def test_a_missing_library_says_what_installs_it(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    register("needy", "needy_engine:Engine", needy_engine="import a_library_nobody_has\n")
    with pytest.raises(CouldNotVerify, match="a_library_nobody_has, which is not installed") as raised:
        load("engines", "needy")
    assert raised.value.remedy == "Install the package that has a_library_nobody_has."
    monkeypatch.setitem(registry.BUILT_IN["engines"], "needy", ("needy_engine:Engine", "needy"))
    with pytest.raises(CouldNotVerify) as raised:
        load("engines", "needy")
    assert raised.value.remedy == "pip install 'pytest-restore-drill[needy]'"


def test_a_registration_that_leads_nowhere_is_told(register: Register) -> None:
    register("old", "old_engine:Renamed", old_engine="class Engine: ...\n")
    with pytest.raises(CouldNotVerify, match="old_engine has no Renamed"):
        load("engines", "old")


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    code = (
        "import sys; from restore_drill.registry import load, names; names('codecs'); "
        "print(sorted(name for name in sys.modules if name.startswith('restore_drill.codecs')))"
    )
    source = str(Path(registry.__file__).parents[1])
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source}, capture_output=True, check=True)
    assert done.stdout.decode().strip() == "[]"
