"""What can be plugged in, by name: built-ins listed lazily here, third parties through entry points.

A third party registers ``[project.entry-points."restore_drill.engines"] name = "package.module:Class"``.
Nothing is imported before it is asked for.
"""

from __future__ import annotations

import difflib
import importlib
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from restore_drill.errors import CouldNotVerify, UsageProblem

#: plug → name → ("module:Class", the extra that installs what it needs, or "").
BUILT_IN: dict[str, dict[str, tuple[str, str]]] = {
    "stores": {
        "file": ("restore_drill.stores.local:LocalStore", ""),
        "s3": ("restore_drill.stores.s3:S3Store", ""),
    },
    "codecs": {
        "gzip": ("restore_drill.codecs.gzip:GzipCodec", ""),
        "xz": ("restore_drill.codecs.xz:XzCodec", ""),
        "zstd": ("restore_drill.codecs.zstd:ZstdCodec", ""),
        "age": ("restore_drill.codecs.age:AgeCodec", ""),
    },
    "archives": {
        "tar": ("restore_drill.archives.tar:TarArchive", ""),
    },
    "repositories": {
        "objects": ("restore_drill.repositories.objects:ObjectRepository", ""),
        "generations": ("restore_drill.repositories.generations:GenerationRepository", ""),
    },
    "sandboxes": {
        "directory": ("restore_drill.sandboxes.directory:DirectorySandbox", ""),
    },
    "engines": {
        "sqlite": ("restore_drill.engines.sqlite:SqliteEngine", ""),
        "files": ("restore_drill.engines.files:FilesEngine", ""),
    },
    "checks": {
        "integrity": ("restore_drill.checks.integrity:IntegrityCheck", ""),
        "structure": ("restore_drill.checks.structure:StructureCheck", ""),
        "rows": ("restore_drill.checks.rows:RowCountCheck", ""),
        "query": ("restore_drill.checks.query:QueryCheck", ""),
        "files": ("restore_drill.checks.files:FilesCheck", ""),
        "newest": ("restore_drill.checks.newest:NewestRecordCheck", ""),
    },
}


@cache
def _installed() -> Any:
    return entry_points()  # reads what is known of every installed package: once is enough


@cache
def _third_party(plug: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in _installed().select(group=f"restore_drill.{plug}")}


def names(plug: str) -> list[str]:
    """The registered names of a plug, built-ins first."""
    return [*BUILT_IN[plug], *(name for name in _third_party(plug) if name not in BUILT_IN[plug])]


def load(plug: str, name: str) -> Any:
    """Import the class registered under a name.

    Raises:
        UsageProblem: Nothing is registered under it; the message suggests the nearest name.
        CouldNotVerify: The library it needs is not installed (the remedy names the extra), or what is registered does
            not exist.
    """
    if name in BUILT_IN[plug]:
        target, extra = BUILT_IN[plug][name]
        return _import(plug, name, target, extra)
    if name in _third_party(plug):
        return _import(plug, name, _third_party(plug)[name].value, "")
    near = difflib.get_close_matches(name, names(plug), 1)
    hint = f"Did you mean {near[0]}?" if near else f"Registered are {', '.join(names(plug))}."
    raise UsageProblem(f"{plug} has nothing called {name!r}", remedy=hint)


@cache
def _import(plug: str, name: str, target: str, extra: str) -> Any:
    # An entry point may name extras behind its target: "package.module:Class [extra]".
    module, _, attribute = target.partition("[")[0].strip().partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except AttributeError as problem:
        raise CouldNotVerify(
            f"{plug} {name!r} cannot be used: {module} has no {attribute}", remedy="Update the package that brings it."
        ) from problem
    except ImportError as problem:
        missing = problem.name or str(problem)
        remedy = f"pip install 'pytest-restore-drill[{extra}]'" if extra else f"Install the package that has {missing}."
        raise CouldNotVerify(f"{plug} {name!r} needs {missing}, which is not installed", remedy=remedy) from problem
