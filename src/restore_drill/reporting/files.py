"""The files in which a run is reported, each rendered when it is asked for, so that one that fails costs no other."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from restore_drill.reporting.page import LedgerState

#: File → module that renders it, and what else than the document it is told.
FILES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "report.html": ("html", ("population", "controls", "ledger")),
    "summary.md": ("markdown", ("population", "ledger")),
    "metrics.prom": ("metrics", ("population", "ledger", "undelivered")),
    "ctrf.json": ("ctrf", ()),
}


def renderers(
    document: Mapping[str, Any],
    *,
    population: Any = None,
    controls: Any = None,
    ledger: LedgerState | None = None,
    undelivered: int | None = None,
) -> dict[str, Callable[[], bytes]]:
    """What makes each file of a run.

    Args:
        document: The run's evidence.
        population: What the ledger knows of all copies up to this run.
        controls: Which requirements the run supports.
        ledger: What the ledger says of the run's entry.
        undelivered: Alert channels that could not be reached.
    """
    told = {"population": population, "controls": controls, "ledger": ledger, "undelivered": undelivered}
    return {
        file: partial(_render, module, document, {name: told[name] for name in wanted})
        for file, (module, wanted) in FILES.items()
    }


def _render(module: str, document: Mapping[str, Any], told: Mapping[str, Any]) -> bytes:
    text: str = importlib.import_module(f"restore_drill.reporting.{module}").render(document, **told)
    return text.encode("utf-8", "backslashreplace")
