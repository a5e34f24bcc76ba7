"""``drills/targets.yaml`` and what it includes to a plan, or every error at once."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from restore_drill.catalogue.explain import explain
from restore_drill.catalogue.gather import Draft, gather
from restore_drill.catalogue.models import CatalogueModel, TargetModel
from restore_drill.catalogue.problems import CatalogueInvalid
from restore_drill.catalogue.references import check_references
from restore_drill.catalogue.resolve import default_reports, resolve
from restore_drill.catalogue.rules import check_rules
from restore_drill.plan import Plan, covers

#: A target that lacks nothing: with the defaults merged in it shows what is wrong with them by themselves.
_WHOLE_TARGET = {"tier": "any", "engine": "any", "copies": {"any": {"path": "any"}}}


def load(path: Path, *, reports: Path | None = None, references: bool = True) -> Plan:
    """Read a catalogue.

    Nothing is contacted, no secret is read, no backup is looked at.

    Args:
        path: The main file; relative paths and includes in it start from its directory.
        reports: Where runs are written; left out, ``reports/`` beside ``drills/`` or beside the catalogue.
        references: Whether the files that ``expect.structure`` names are read.

    Raises:
        CatalogueInvalid: Something is wrong with it; everything that is, with its place.
    """
    reports = default_reports(path) if reports is None else reports.absolute()
    with _collector_paused():
        return _load(path, reports, references=references)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Keep the cyclic garbage collector from walking again and again over a tree that only grows and holds no cycle."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _load(path: Path, reports: Path, *, references: bool) -> Plan:
    draft = gather(path)
    draft.references = references
    if not draft.readable:
        raise _invalid(draft)
    model = _validate(draft)
    check_references(draft)
    check_rules(draft, reports)
    if model is None or draft.problems:
        raise _invalid(draft)
    plan = resolve(path, model, [document.data for document in draft.documents], reports, references=references)
    _check_coverage(draft, model, plan)
    if draft.problems:
        raise _invalid(draft)
    return plan


def _invalid(draft: Draft) -> CatalogueInvalid:
    return CatalogueInvalid(draft.problems.sorted(document.file for document in draft.documents))


def _validate(draft: Draft) -> CatalogueModel | None:
    """The validated models, or ``None`` when there were errors, which are noted."""
    context = {"base": draft.base.absolute()}
    _validate_defaults(draft, context)
    try:
        return CatalogueModel.model_validate(draft.raw, context=context)
    except ValidationError as error:
        explain(draft, error)
        return None


def _validate_defaults(draft: Draft, context: dict[str, Any]) -> None:
    """Look at the defaults by themselves, for what every target overrides."""
    defaults = draft.raw.get("defaults")
    if not isinstance(defaults, dict):
        return
    copies = defaults.get("copies")
    whole = {**_WHOLE_TARGET, **defaults, "copies": copies or _WHOLE_TARGET["copies"]}
    try:
        TargetModel.model_validate(whole, context=context)
    except ValidationError as error:
        explain(draft, error, ("defaults",), partial=True)


def _check_coverage(draft: Draft, model: CatalogueModel, plan: Plan) -> None:
    """An exception that covers no case of the plan is a mistake, or has outlived what it was for."""
    for index, exception in enumerate(model.exceptions):
        target = plan.by_name[exception.target]
        if not any(covers(exception, case) for case in target.cases()):
            draft.report(
                ("exceptions", index),
                f"the exception {exception.id!r} covers no case: {exception.case!r} is not run for this target",
                "remove it, or correct case, copy and detail",
            )
