"""Arrows point down only: which part of the package may know of which, and what an idle plugin loads.

A part imports what stands in a layer below its own, and itself; never its neighbours. Imports for annotations alone
(under ``TYPE_CHECKING``) are no arrows.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import restore_drill
from restore_drill.registry import BUILT_IN

#: Top down. Only on the ground floor do neighbours know each other.
LAYERS: Mapping[str, frozenset[str]] = {
    "the door": frozenset({"__main__"}),
    "commands and pytest": frozenset({"cli", "pytest_plugin"}),
    "pytest's helpers": frozenset({"pytest_support", "standard_cases", "testing"}),
    "what could be drilled": frozenset({"discovery"}),
    "a run on record": frozenset({"recording"}),
    "runs": frozenset({"ahead", "chronicle", "lifecycle"}),
    "one target": frozenset({"target_drill"}),
    "several drills together": frozenset({"sets"}),
    "a drill of another process": frozenset({"handover"}),
    "one drill": frozenset({"drill"}),
    "its parts": frozenset({"content", "drill_sandboxes", "transferring"}),
    "going back by the book": frozenset({"recovery"}),
    "which snapshot": frozenset({"drawing", "locate"}),
    "what a run shares": frozenset({"break_glass", "retaining", "run", "uncovered"}),
    "what is read, and who is told": frozenset({"alerting", "reporting"}),
    "the chain of evidence": frozenset({"ledger"}),
    "memory and evidence": frozenset({"history", "evidence", "sampled"}),
    "judging": frozenset({"checks", "policy", "results"}),
    "measuring": frozenset({"repositories", "engines"}),
    "what is promised": frozenset({"catalogue"}),
    "the plan, and recognising what is stored": frozenset({"controls", "plan", "recognise", "state"}),
    "bytes in passing": frozenset({"archives", "choosing", "manifests", "stream", "facts"}),
    "where bytes lie, what encodes or signs them, where they are opened": frozenset(
        {"stores", "codecs", "signatures", "sandboxes"}
    ),
    "ground floor": frozenset(
        {
            "balancing",
            "cases",
            "checksums",
            "costs",
            "depth",
            "digests",
            "documents",
            "errors",
            "forks",
            "hosts",
            "links",
            "listings",
            "model",
            "older",
            "outline",
            "patterns",
            "plan_file",
            "process",
            "quantities",
            "registry",
            "runbooks",
            "sampling",
            "sharding",
            "statements",
        }
        | {"disk", "printable", "secrets", "sops", "sevenzips", "unpackers", "whole_files", "zips"}
    ),
}
#: Parts whose contract (``base``) is all that others know of them, and who knows more, and why.
PLUGS = ("stores", "codecs", "signatures", "archives", "repositories", "sandboxes", "engines", "checks")
KNOWS_MORE = {
    # A bucket's state is written by a client of its own, made as the store's is.
    ("state", "stores.s3_client"),
    ("state", "stores.s3_requests"),
    # So is a bucket's ledger.
    ("ledger.bucket", "stores.s3_client"),
    ("ledger.bucket", "stores.s3_requests"),
    # What a killed run left is reaped before a run, and by hand.
    ("lifecycle", "sandboxes.reaper"),
    # Where drills would restore to must not be among backups.
    ("lifecycle", "sandboxes.workspace"),
    ("cli.clean", "sandboxes.reaper"),
    # Beside a container, a confined process does what it does without one.
    ("sandboxes.container", "sandboxes.directory"),
    # What may be the name of an image is told where it is written down.
    ("catalogue.sandboxing", "sandboxes.containers.references"),
    # The process that confined ones are forked from must be started early, by whoever starts the run.
    ("pytest_support.running", "sandboxes.directory"),
    ("pytest_support.running", "sandboxes.launcher"),
    # A process that drills ahead has one of its own, and ends it.
    ("ahead", "sandboxes.directory"),
    ("ahead", "sandboxes.launcher"),
    ("locate", "repositories.selection"),
    ("drawing", "repositories.selection"),
    # What stands beside an artifact is called after it, and so is what comes out of it.
    ("recovery.artifacts", "repositories.names"),
    ("recovery.guessing", "repositories.names"),
    ("recovery.opening", "repositories.names"),
    # What belongs to a copy is told by the names that its repository looks for.
    ("uncovered", "repositories.claims"),
    # What a digest is looked for as, and what a name is without its encodings, discovery must not tell otherwise.
    ("discovery.beside", "repositories.recorded"),
    ("discovery.beside", "repositories.names"),
    ("discovery.companions", "repositories.names"),
    ("discovery.describe", "repositories.names"),
    ("discovery.naming", "repositories.names"),
    # A prefix is a directory read object by object: what its name, manifest and marker say is the same.
    ("repositories.prefixes", "repositories.generations"),
    # What a killed run left must be gone after the next has looked.
    ("testing.programs", "sandboxes.reaper"),
    # What is stored beside a tree's digest is shared by the suite that checks it.
    ("testing.archive", "archives.digest"),
    ("testing.archive", "archives.members"),
    ("testing.archive", "archives.tree"),
    # A manifest is worth what a comparison with it finds.
    ("testing.manifest", "engines.files_probe"),
    # The application of a set runs in a container like that of a volume, and what lets it reach servers is one, too.
    ("sets.application", "engines.volume_application"),
    ("sets.application", "sandboxes.container"),
    ("sets.application", "sandboxes.containers.relay"),
    ("sandboxes.containers.relay", "sandboxes.container"),
    # A volume is a tree in a place of its own: what is looked at in it is the same.
    ("engines.volume", "engines.files"),
}
KNOWS_PYTEST = ("pytest_plugin", "pytest_support", "testing", "standard_cases")
ROOT = Path(restore_drill.__file__).parent
SOURCE = str(ROOT.parent)


@dataclass(frozen=True)
class Import:
    """One import: modules by their names below the package, or a foreign module's whole name."""

    importer: str
    imported: str
    line: int
    foreign: bool = False

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


def modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[0] != "standard":  # the cases of a checkout, as the wheel ships them
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, source: str, known: Mapping[str, Path]) -> Iterator[Import]:
    tree = ast.parse(source)
    annotations = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in annotations:
            continue
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno} has a relative import"
            targets = sorted({_target(node.module or "", alias.name, known) for alias in node.names})
        else:
            continue
        for target in targets:
            package, _, rest = target.partition(".")
            yield Import(name, rest if package == "restore_drill" else target, node.lineno, package != "restore_drill")


def _target(module: str, attribute: str, known: Mapping[str, Path]) -> str:
    whole = f"{module}.{attribute}"
    return whole if whole.removeprefix("restore_drill.") in known else module


@pytest.fixture(scope="module")
def found() -> list[Import]:
    known = modules()
    return [each for name, path in known.items() for each in imports(name, path.read_text("utf-8"), known)]


def part(module: str) -> str:
    return module.partition(".")[0]


def upward(found: list[Import]) -> list[str]:
    height = {unit: -number for number, units in enumerate(LAYERS.values()) for unit in units}
    ground = min(height.values())
    wrong = []
    for each in found:
        above, below = part(each.importer), part(each.imported)
        if each.foreign or above == below or not below or not above:  # "" is the package itself: its version
            continue
        if not (height[below] < height[above] or height[below] == height[above] == ground):
            wrong.append(str(each))
    return wrong


def sideways(found: list[Import]) -> list[str]:
    return [
        str(each)
        for each in found
        if not each.foreign
        and part(each.imported) in PLUGS
        and part(each.importer) != part(each.imported)
        and each.imported != f"{part(each.imported)}.base"
        and (each.importer, each.imported) not in KNOWS_MORE
    ]


def named_by_the_registry() -> dict[str, str]:
    """Module of an implementation → its plug."""
    return {
        target.partition(":")[0].removeprefix("restore_drill."): plug
        for plug, names in BUILT_IN.items()
        for target, _ in names.values()
    }


def test_every_part_has_its_layer() -> None:
    parts = {part(name) for name in modules()} - {""}
    assert parts == frozenset().union(*LAYERS.values())
    assert sum(map(len, LAYERS.values())) == len(parts)


def test_arrows_point_down(found: list[Import]) -> None:
    assert upward(found) == []


def test_plugs_are_known_by_their_contract_alone(found: list[Import]) -> None:
    assert sideways(found) == []


def test_every_exception_is_needed(found: list[Import]) -> None:
    assert {(each.importer, each.imported) for each in found} >= KNOWS_MORE


def test_implementations_are_loaded_by_name_only(found: list[Import]) -> None:
    known = named_by_the_registry()
    wrong = [each for each in found if each.imported in known and (each.importer, each.imported) not in KNOWS_MORE]
    assert list(map(str, wrong)) == []
    assert known.keys() <= modules().keys()


def test_no_module_imports_itself_in_a_circle(found: list[Import]) -> None:
    graph: dict[str, set[str]] = {}
    for each in found:
        if not each.foreign:
            graph.setdefault(each.importer, set()).add(each.imported)
    TopologicalSorter(graph).prepare()


def test_only_its_helpers_know_pytest(found: list[Import]) -> None:
    wrong = [
        each
        for each in found
        if each.foreign
        and each.imported.partition(".")[0] in ("pytest", "_pytest", "xdist", "execnet", "pluggy")
        and part(each.importer) not in KNOWS_PYTEST
    ]
    assert list(map(str, wrong)) == []


@pytest.mark.parametrize(
    ("importer", "source", "caught"),
    [
        ("policy.copies", "from restore_drill.drill import Drill", True),
        ("policy.copies", "def late():\n    import restore_drill.pytest_support.running", True),
        ("policy.copies", "from restore_drill import checks", True),
        ("policy.copies", "from restore_drill.repositories.base import Transfer", False),
        ("policy.copies", "if TYPE_CHECKING:\n    from restore_drill.drill import Drill", False),
        ("engines.files", "from restore_drill.repositories.base import Transfer", True),
        ("stores.s3", "from restore_drill.codecs.gzip import GzipCodec", True),
        ("errors", "from restore_drill.model import Stage", False),
        ("errors", "from restore_drill.stores.base import Store", True),
        ("recognise", "from restore_drill.archives.tar import TarArchive", True),
        ("recognise", "from restore_drill.archives.base import Archive", False),
        ("recognise", "import restore_drill", False),
    ],
)
def test_what_points_elsewhere_is_caught(importer: str, source: str, caught: bool) -> None:
    found = list(imports(importer, source, modules() | {"checks": ROOT}))
    assert bool(upward(found) or sideways(found)) is caught


def test_a_circle_is_caught() -> None:
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"a"}}).prepare()


# --- what an idle plugin loads ----------------------------------------------------------------------------------------


def python(*arguments: str, cwd: Path) -> str:
    path = os.pathsep.join(filter(None, [SOURCE, os.environ.get("PYTHONPATH", "")]))
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "RESTORE_DRILL_"))}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env={**kept, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


LOADED = """
import json, sys
import pytest
before = set(sys.modules)
import restore_drill.pytest_plugin
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_the_plugin_brings_nothing_that_pytest_has_not_loaded(tmp_path: Path) -> None:
    assert json.loads(python("-c", LOADED, cwd=tmp_path)) == ["restore_drill", "restore_drill.pytest_plugin"]


CASE = """
import sys
from pathlib import Path

def test_here():
    heavy = {"boto3", "botocore", "pydantic", "yaml", "isal", "cryptography", "pyrage", "moto"}
    loaded = sorted(name for name in sys.modules if name.partition(".")[0] in {"restore_drill", *heavy})
    Path("loaded.txt").write_text(" ".join(loaded))
"""
CATALOGUE = """
version: 1
stores: {nas: {url: "file:../store", media: disk}}
state: file:../state
targets:
  db: {tier: critical, engine: sqlite, timezone: UTC, copies: {nas: {path: "{time:%Y%m%d}.db"}}}
"""


def loaded_by_a_run(directory: Path) -> list[str]:
    (directory / "test_here.py").write_text(CASE)
    python("-m", "pytest", "-q", "-p", "restore_drill.pytest_plugin", "-p", "no:cacheprovider", ".", cwd=directory)
    return (directory / "loaded.txt").read_text().split()


def test_a_project_without_a_catalogue_loads_the_entry_alone(tmp_path: Path) -> None:
    assert loaded_by_a_run(tmp_path) == ["restore_drill", "restore_drill.pytest_plugin"]


def test_a_project_with_a_catalogue_wakes_up(tmp_path: Path) -> None:
    (tmp_path / "drills").mkdir()
    (tmp_path / "drills" / "targets.yaml").write_text(CATALOGUE)
    loaded = loaded_by_a_run(tmp_path)
    assert {"restore_drill.pytest_support.session", "yaml"} <= set(loaded)
