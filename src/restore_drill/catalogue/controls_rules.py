"""What must hold of files of controls: they are there, can be read, and define each framework once."""

from __future__ import annotations

from pathlib import Path

from restore_drill.catalogue.controls import control_files
from restore_drill.catalogue.gather import Draft
from restore_drill.catalogue.references import mapping
from restore_drill.controls import loading


def check_controls(draft: Draft) -> None:
    """Note files that are no controls, patterns that match none, and frameworks that are not there."""
    part = mapping(draft.raw.get("controls"))
    patterns = _texts(part.get("include"))
    found = control_files(draft.base, [pattern for _, pattern in patterns])
    known = {path.stem for path in loading.BUILT_IN.glob("*.yaml")}
    owners: dict[str, str] = {}
    for index, pattern in patterns:
        if not found[pattern]:
            draft.report(("controls", "include", index), f"no file matches {pattern!r}", "correct it, or remove it")
        for path in found[pattern]:
            framework, problems = loading.read(Path(path))
            for problem in problems:
                draft.report(("controls", "include", index), problem, "docs/auditors.md says what such a file holds")
            if framework is None:
                continue
            if owners.setdefault(framework.id, path) != path:
                both = f"{path} and {owners[framework.id]} both define the framework {framework.id!r}"
                draft.report(("controls", "include", index), both, "give one of them another id")
            known.add(framework.id)
    for index, name in _texts(part.get("frameworks")):
        if name not in known:
            message, _, hint = loading.unknown_framework(name, known).partition("; ")
            draft.report(("controls", "frameworks", index), message, hint)


def _texts(value: object) -> list[tuple[int, str]]:
    members = enumerate(value if isinstance(value, list) else ())
    return [(index, each) for index, each in members if isinstance(each, str) and each]
