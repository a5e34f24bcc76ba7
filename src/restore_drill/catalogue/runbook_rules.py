"""Contradictions in a target's ``runbook``: a document that is not there, or has no steps; a copy that is not one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from restore_drill import runbooks
from restore_drill.catalogue.gather import Draft, Loc
from restore_drill.catalogue.problems import suggest
from restore_drill.catalogue.references import copies, mapping
from restore_drill.errors import CouldNotVerify


def check_runbook(draft: Draft, loc: Loc, target: Mapping[str, Any]) -> None:
    """Note what is wrong with the runbook of a target.

    Args:
        draft: The catalogue.
        loc: Where the target stands.
        target: Its raw mapping, defaults merged in.
    """
    rule = target.get("runbook")
    if not isinstance(rule, Mapping):
        return
    loc = (*loc, "runbook")
    copy, known = rule.get("copy"), [name for name, _ in copies(target)]
    if isinstance(copy, str) and copy not in known:
        draft.report((*loc, "copy"), f"there is no copy {copy!r} of {loc[1]}", suggest(copy, known))
    if rule.get("generated") is True:
        _check_library(draft, loc)
    document, section = rule.get("document"), rule.get("section")
    if isinstance(document, str) and document:
        _check_document(draft, loc, document, section if isinstance(section, str) else None, rule)


def _check_library(draft: Draft, loc: Loc) -> None:
    try:
        runbooks.parse("")
    except CouldNotVerify as problem:
        draft.report((*loc, "generated"), problem.cause, problem.remedy)


def _check_document(draft: Draft, loc: Loc, name: str, section: str | None, rule: Mapping[str, Any]) -> None:
    try:
        text = runbooks.read(draft.base / name, name, cast("Any", None)).text
    except ValueError as problem:
        draft.report((*loc, "document"), str(problem), "write its path relative to this file")
        return
    listed = rule.get("stubs")
    names = [mapping(stub).get("command", stub) for stub in (listed if isinstance(listed, list) else [])]
    stubs = [stub for stub in names if isinstance(stub, str)]
    where = f"the section {section!r} of {name}" if section else name
    try:
        procedure = runbooks.parse(text, section, stubs)
    except ValueError as problem:
        draft.report((*loc, "section" if section else "document"), f"{name}: {problem}", "name one of its headings")
    except CouldNotVerify as problem:
        draft.report((*loc, "document"), problem.cause, problem.remedy)
    else:
        if not procedure.steps:
            hint = "steps are fenced blocks of a shell (```sh), and commands in the items of numbered lists"
            draft.report((*loc, "document"), f"{where} has no step that could be executed", hint)
