"""Every registered name has its conformance suite: a plug that nobody checks against its contract fails here."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from restore_drill.registry import BUILT_IN

#: Plug → the suite that its implementations subclass (or a suite derived from it).
SUITES = {
    "stores": "StoreConformance",
    "codecs": "CodecConformance",
    "archives": "ArchiveConformance",
    "manifests": "ManifestConformance",
    "signatures": "SignatureConformance",
    "repositories": "RepositoryConformance",
    "sandboxes": "SandboxConformance",
    "engines": "EngineConformance",
    "checks": "CheckConformance",
}
TESTS = Path(__file__).parents[1]
SHIPPED = Path(__file__).parents[2] / "src" / "restore_drill" / "testing"


@dataclass(frozen=True)
class Suite:
    """A class that pytest collects.

    Attributes:
        bases: The names of what it derives from, directly or not.
        imported: The classes by whole name that its module imports.
        used: The names that its body mentions, and those of its module that these rest on.
    """

    name: str
    bases: frozenset[str]
    imported: Mapping[str, str]
    used: frozenset[str]

    @property
    def checks(self) -> set[str]:
        """The whole names (``package.module:Class``) of what it makes."""
        return {self.imported[name] for name in self.used if name in self.imported}


def suites(source: str) -> Iterator[Suite]:
    tree = ast.parse(source)
    imported = {
        alias.asname or alias.name: f"{node.module}:{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    helpers: dict[str, ast.stmt] = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    helpers |= {ast.unparse(node.targets[0]): node for node in tree.body if isinstance(node, ast.Assign)}
    for name, node in classes.items():
        if not name.startswith("Test"):
            continue
        bases: set[str] = set()
        used: set[str] = set()
        pending: list[ast.stmt] = [node]
        while pending:
            each = pending.pop()
            for base in map(ast.unparse, each.bases) if isinstance(each, ast.ClassDef) else ():
                bases.add(base.rpartition(".")[2])
                pending += [classes[base]] if base in classes else []
            mentioned = {inner.id for inner in ast.walk(each) if isinstance(inner, ast.Name)}
            pending += [helpers[helper] for helper in mentioned & (helpers.keys() - used)]
            used |= mentioned
        yield Suite(name, frozenset(bases), imported, frozenset(used))


def suite_names(plug: str) -> set[str]:
    """A plug's suite and those that the package derives from it."""
    names = {SUITES[plug]}
    for path in SHIPPED.glob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & names:
                names.add(node.name)
    return names


def unchecked(sources: list[str]) -> list[str]:
    found = [suite for source in sources for suite in suites(source)]
    missing = []
    for plug, registered in BUILT_IN.items():
        names = suite_names(plug)
        checked = {whole for suite in found if suite.bases & names for whole in suite.checks}
        missing += [f"{plug}: {name}" for name, (target, _) in registered.items() if target not in checked]
    return missing


def sources() -> list[str]:
    return [path.read_text("utf-8") for path in sorted(TESTS.rglob("test_*.py"))]


def test_every_plug_has_a_suite() -> None:
    assert SUITES.keys() == BUILT_IN.keys()
    shipped = "".join(path.read_text("utf-8") for path in SHIPPED.glob("*.py"))
    assert [suite for suite in SUITES.values() if f"class {suite}" not in shipped] == []


def test_every_registered_name_is_checked_against_its_contract() -> None:
    assert unchecked(sources()) == []


def test_every_sandbox_is_checked_with_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "sandboxes", "ProgramsConformance")
    assert [missing for missing in unchecked(sources()) if missing.startswith("sandboxes")] == []
    monkeypatch.setitem(BUILT_IN, "sandboxes", {"forgotten": ("restore_drill.sandboxes.forgotten:Forgotten", "")})
    assert "sandboxes: forgotten" in unchecked(sources())


@pytest.mark.parametrize("plug", BUILT_IN)
def test_a_name_without_a_suite_is_missed(plug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    more = {**BUILT_IN[plug], "forgotten": (f"restore_drill.{plug}.forgotten:Forgotten", "")}
    monkeypatch.setitem(BUILT_IN, plug, more)
    assert unchecked(sources()) == [f"{plug}: forgotten"]


def test_a_suite_of_another_plug_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.unit.test_conformance_drift.BUILT_IN", {"codecs": {"gzip": BUILT_IN["codecs"]["gzip"]}})
    with_suite = (
        "from restore_drill.codecs.gzip import GzipCodec\n"
        "class TestGzip(CodecConformance):\n    def codec(self): return GzipCodec()\n"
    )
    assert unchecked([with_suite]) == []
    assert unchecked([with_suite.replace("CodecConformance", "StoreConformance")]) == ["codecs: gzip"]
    assert unchecked([with_suite.replace("class Test", "class Un")]) == ["codecs: gzip"]
