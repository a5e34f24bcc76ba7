"""A good catalogue, a place to write bad ones, and engines that exist only here."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest

from restore_drill import registry
from restore_drill.catalogue.load import load
from restore_drill.catalogue.problems import CatalogueInvalid, Problem
from restore_drill.plan import Plan
from restore_drill.stores.base import Address, Credential, Option, Store, Trouble

GOOD = """\
version: 1
stores:
  nas: {url: file:///backups, media: disk}
  offsite: {url: s3://acme-backups/prod, media: object-storage, offsite: true}
defaults: {timezone: Europe/Berlin, grace: 20m}
state: s3://acme-drills/state
targets:
  orders-db:
    tier: critical
    engine: toy
    copies:
      nas: {path: "db/{time:%Y%m%d_%H%M%S}.db.gz"}
      offsite: {path: "db/{time:%Y%m%dT%H%M%S%z}.db.gz"}
    expect:
      rows: {customers: 59, orders: {min: 1000, max_drop: 5%}}
  wiki:
    tier: important
    engine: tree
    copies:
      nas: {path: "wiki/{time:%Y-%m-%d%z}/", latest: wiki/latest}
    expect:
      files: {min: 100}
"""


class ToyEngine:
    """A database."""

    name = "toy"
    checks = frozenset({"integrity", "structure", "rows", "query", "newest"})
    sandboxes = ("directory",)
    depths = ("full", "sample")
    strictness: ClassVar[Mapping[str, str]] = {"sequences": "low ones"}
    chains = False


class TreeEngine:
    """A file tree."""

    name = "tree"
    checks = frozenset({"files", "newest"})
    sandboxes = ("directory",)
    chains = False


class ChainEngine(ToyEngine):
    """A database with increments, which needs more than a directory."""

    name = "chained"
    sandboxes = ("container",)
    chains = True


class BoxCodec:
    """An encryption with a key of its own."""

    keys = ("x",)


class MirrorStore(Store):
    """A store that a plug-in brings, with an option of every kind."""

    schemes = ("mirror", "mirrors")
    options: ClassVar[Mapping[str, Option]] = {
        "depth": Option(int, "How deep.", 2, least=1),
        "known_hosts": Option(Path, "Whom it trusts.", "ssh/known_hosts"),
        "order": Option(str, "Which first.", "newest", choices=("newest", "oldest")),
        "through": Option(tuple, "What it goes through.", ["a", "b"]),
        "whole": Option(bool, "Whether all of it.", True),
    }
    credentials: ClassVar[Mapping[str, Credential]] = {
        "word": Credential("The word.", required=True),
        "other": Credential("Another one."),
    }

    @classmethod
    def check(cls, address: Address) -> Iterator[Trouble]:
        """It does not like threes."""
        if "3" in address.url:
            yield Trouble("no three in a url", "count to two")
        if address.options.get("depth") == 3 and "other" in address.credentials:
            yield Trouble("three deep needs no other", "take it out", at="other")

    @classmethod
    def hosts(cls, address: Address) -> Iterator[tuple[str, str]]:
        """And what it goes through."""
        yield from super().hosts(address)
        for host in address.options.get("through", ()):
            yield "through", f"//{host}"


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("toys_of_the_catalogue_tests")
    for toy in (ToyEngine, TreeEngine, ChainEngine, BoxCodec, MirrorStore):
        setattr(module, toy.__name__, toy)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    engines = {
        "toy": (f"{module.__name__}:ToyEngine", ""),
        "tree": (f"{module.__name__}:TreeEngine", ""),
        "chained": (f"{module.__name__}:ChainEngine", ""),
        "elsewhere": ("a_library_nobody_has:Engine", "elsewhere"),
    }
    monkeypatch.setitem(registry.BUILT_IN, "engines", engines)
    codecs = {
        **registry.BUILT_IN["codecs"],
        "box": (f"{module.__name__}:BoxCodec", ""),
        "exotic": ("a_library_nobody_has:Codec", "exotic"),
    }
    monkeypatch.setitem(registry.BUILT_IN, "codecs", codecs)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory that is the current one, so that messages hold relative names."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def plan(here: Path) -> Callable[..., Plan]:
    """Write files (the catalogue first) and load them."""

    def write_and_load(text: str, **included: str) -> Plan:
        (here / "targets.yaml").write_text(text, "utf-8")
        for name, content in included.items():
            path = here / "more" / f"{name}.yaml"
            path.parent.mkdir(exist_ok=True)
            path.write_text(textwrap.dedent(content), "utf-8")
        return load(Path("targets.yaml"))

    return write_and_load


@pytest.fixture
def problems(plan: Callable[..., Plan]) -> Callable[..., list[Problem]]:
    """Write files, load them, and return what is wrong with them."""

    def find(text: str, **included: str) -> list[Problem]:
        with pytest.raises(CatalogueInvalid) as caught:
            plan(text, **included)
        return list(caught.value.problems)

    return find


@pytest.fixture
def only_problem(problems: Callable[..., list[Problem]]) -> Callable[..., str]:
    """Write files with one mistake, load them, and return what is printed of it."""

    def find(text: str, **included: str) -> str:
        found = problems(text, **included)
        assert len(found) == 1, "\n".join(map(str, found))
        return str(found[0])

    return find


@pytest.fixture
def good() -> str:
    """A catalogue without any mistake."""
    return GOOD
