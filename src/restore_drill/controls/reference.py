"""The controls as a table for the auditors' guide: ``python -m restore_drill.controls.reference docs/auditors.md``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from restore_drill.controls.loading import built_in
from restore_drill.controls.model import Framework, Requirement

BEGIN = "<!-- controls: made by python -m restore_drill.controls.reference docs/auditors.md -->"
END = "<!-- end of controls -->"
_READ = {
    "primary": "read in the original",
    "secondary": "**not read in the original**: from what others write about it",
}


def reference() -> str:
    """Every framework with its requirements."""
    return "\n".join(line for framework in built_in() for line in _framework(framework))


def insert(page: str) -> str:
    """The page with the table as it is now.

    Raises:
        ValueError: The page has no place for it.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError("the page has no place for the controls")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


def _framework(framework: Framework) -> Iterator[str]:
    yield f"### {framework.title}"
    yield ""
    yield (
        f"`{framework.id}`, {framework.version}; <{framework.source}>"
        if framework.source.startswith("http")
        else (f"`{framework.id}`, {framework.version}; {framework.source}")
    )
    yield f"({_READ[framework.read]})."
    if framework.note:
        yield framework.note
    yield ""
    if framework.requirements:
        yield "| requirement | it asks | our evidence | what it asks beside |"
        yield "|---|---|---|---|"
        yield from map(_requirement, framework.requirements)
        yield ""


def _requirement(requirement: Requirement) -> str:
    asks = requirement.asks
    if requirement.cadence:
        asks += f" **How often:** {requirement.cadence.words}."
    evidence = ", ".join(f"`{each.evidence}`" for each in requirement.supports)
    if requirement.tested_by:
        evidence += f"; a test when {' and '.join(f'`{name}`' for name in requirement.tested_by)} came to a verdict"
    beside = "; ".join(requirement.asks_also) or "nothing that is known"
    cells = (f"**{requirement.id}** {requirement.title}", asks, evidence, beside)
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.write_text(insert(place.read_text("utf-8")), "utf-8")
