"""The HTML report: one file that needs no script, asks nothing of a network, and can be printed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill.cases import CASES
from restore_drill.printable import printable
from restore_drill.reporting import charts, words
from restore_drill.reporting.page import run_page
from restore_drill.sampling import chance

if TYPE_CHECKING:
    from jinja2 import Environment

    from restore_drill.policy.population import Population
    from restore_drill.reporting.page import Controls, LedgerState
    from restore_drill.reporting.period import PeriodPage


def render(
    document: Mapping[str, Any],
    *,
    population: Population | None = None,
    controls: Controls | None = None,
    ledger: LedgerState | None = None,
) -> str:
    """The report of one run.

    Args:
        document: The run's evidence, form 2.
        population: What the ledger knows of all copies up to this run (``policy.population.Population``); without it
            the report says nothing of earlier drills, and says so.
        controls: What the run supports (``controls.mapping``), or ``None``.
        ledger: What the ledger says of the run's entry (``page.LedgerState``), or ``None`` where none was asked.
    """
    page = run_page(document, population=population, controls=controls, ledger=ledger)
    return _environment().get_template("run.html.j2").render(page=page, **_stylesheet())


def render_period(page: PeriodPage) -> str:
    """The report of a period: see ``reporting.period``."""
    return _environment().get_template("period.html.j2").render(page=page, **_stylesheet())


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from restore_drill.reporting.compiled import BesideSources

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        bytecode_cache=BesideSources(),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_harmless,
    )
    environment.filters |= {
        "instant": words.instant,
        "day": words.day,
        "span": words.span,
        "took": words.took,
        "size": words.size,
        "number": words.number,
        "shown": words.value,
        "listed": words.listed,
        "sentence": words.sentence,
        "state_word": {**words.WORDS, words.GONE: "no longer kept"}.__getitem__,
    }
    environment.globals |= {"charts": charts, "cases": CASES, "counted": words.counted, "write": words, "by": _Measures}
    environment.globals["chance"] = chance
    return environment


class _Measures:
    """What trends are drawn of."""

    seconds = attrgetter("seconds")
    age = attrgetter("age")
    size = attrgetter("size")
    rows = attrgetter("rows")


def _harmless(found: Any) -> Any:
    """Marks that turn the direction of text, and other characters that are not printed, are written as escapes."""
    return printable(found) if type(found) is str else found


@cache
def _stylesheet() -> Mapping[str, str]:
    """The style sheet, and the digest by which the page's policy lets it in."""
    from markupsafe import Markup

    text = (Path(__file__).parent / "templates" / "report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return {"style": Markup(text), "style_digest": Markup(digest)}  # noqa: S704 - our own
