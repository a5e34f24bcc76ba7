"""Charts as inline SVG: no script, no style attribute (the page's policy forbids them), colours by class.

States differ by shape, too, so that a printout without colours and an eye that sees none can tell them apart. What is
said by a drawing alone is said in its text alternative as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from restore_drill.reporting.past import Point
from restore_drill.reporting.words import WORDS, counted, instant, listed

#: The shapes of a strip, drawn into a cell 4 wide and 14 high from its left edge: passed is low and slim, failed fills.
_SHAPES = {
    "passed": "M{0} 9h3v5h-3z",
    "failed": "M{0} 0h3v14h-3z",
    "error": "M{0} 0h3v14h-3zm1 1v12h1v-12z",
    "excepted": "M{0} 5h3v2h-3zm0 4h3v5h-3z",
    "missed": "M{0} 12.5h3v1.5h-3z",
}
#: What a renderer paints that leaves the page's style sheet out of drawings (WeasyPrint); a browser goes by the class.
_PAINT = {"passed": "#1c6f41", "failed": "#b3201a", "error": "#8a5200", "excepted": "#5546ad", "missed": "#bbb"}
_LINE = 'fill="none" stroke="#8a5200"'
_STEP = 5
_LAST = 30


def strip(outcomes: Sequence[str]) -> Markup:
    """The last 30 outcomes, oldest first."""
    shown = outcomes[-_LAST:]
    paths: dict[str, list[str]] = {}
    for place, outcome in enumerate(shown):
        paths.setdefault(outcome, []).append(_SHAPES[outcome].format(place * _STEP))
    drawn = "".join(
        f'<path class="f-{outcome}" fill="{_PAINT[outcome]}" d="{"".join(path)}"/>' for outcome, path in paths.items()
    )
    width = max(len(shown), 1) * _STEP
    return Markup(  # noqa: S704 - numbers, and words of this module
        f'<svg class="strip" width="{width}" height="14" viewBox="0 0 {width} 14" role="img" '
        f'aria-label="{strip_words(shown)}">{drawn}</svg>'
    )


def sample(outcome: str) -> Markup:
    """One shape of a strip, for its key."""
    path = _SHAPES[outcome].format(0)
    drawn = f'<path class="f-{outcome}" fill="{_PAINT[outcome]}" d="{path}"/>'
    return Markup(f'<svg class="strip" width="4" height="14" viewBox="0 0 4 14" aria-hidden="true">{drawn}</svg>')  # noqa: S704


def strip_words(outcomes: Sequence[str]) -> str:
    """What a strip shows, in words."""
    if not outcomes:
        return "no earlier drill"
    counts = Counter(outcomes)
    told = listed([f"{counts[each]} {WORDS[each]}" for each in WORDS if counts[each]])
    return f"last {counted(len(outcomes), 'drill')}, oldest first: {told}; the last {WORDS[outcomes[-1]]}"


def bar(start: float, length: float, whole: float) -> Markup:
    """One bar of a waterfall; the figures stand beside it in its table."""
    scale = 100 / whole if whole > 0 else 0.0
    left = min(start * scale, 99.0)
    return Markup(  # noqa: S704 - numbers
        '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect fill="#555" x="{left:.2f}" width="{max(length * scale, 0.6):.2f}" height="8"/></svg>'
    )


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a whole: its state, what it is called, and how many."""

    state: str
    label: str
    count: int


def population(parts: Iterable[Part]) -> Markup:
    """A bar of parts, each as long as its share; nothing that exists is too small to be seen."""
    there = [part for part in parts if part.count]
    whole = sum(part.count for part in there)
    if not whole:
        return Markup("")
    widths = [max(part.count / whole * 100, 1.5) for part in there]
    scale, left, drawn = 100 / sum(widths), 0.0, []
    for part, width in zip(there, widths, strict=True):
        paint, length = f'class="f-{part.state}" fill="{_PAINT[part.state]}"', max(width * scale - 0.3, 0.3)
        drawn.append(f'<rect {paint} x="{left:.2f}" width="{length:.2f}" height="10"/>')
        left += width * scale
    told = escape(", ".join(f"{part.count} {part.label}" for part in there), quote=True)
    return Markup(  # noqa: S704 - numbers, and escaped words
        '<svg class="share" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" '
        f'aria-label="{told}">{"".join(drawn)}</svg>'
    )


def trend(
    points: Sequence[Point],
    measure: Callable[[Point], float | None],
    write: Callable[[float | None], str],
    *,
    name: str,
    objective: float | None = None,
) -> Markup:
    """One measure of the last drills as a line, the objective dashed; beyond the scale it stands at the upper edge."""
    found = [(place, given) for place, point in enumerate(points) if (given := measure(point)) is not None]
    if len(found) < 2:
        return Markup("")
    values = [given for _, given in found]
    low, high = min(values), max(values)
    within = objective is not None and objective <= high * 3
    top = max(high, objective) if within and objective is not None else high
    floor = min(low, top) - (top - low) * 0.1
    rise = (top - floor) * 1.1 or 1.0
    across = 118 / max(len(points) - 1 - found[0][0], 1)  # up to this run, where a measure may be missing

    def level(given: float) -> float:
        return 34 - (given - floor) / rise * 30

    line = " ".join(f"{1 + (place - found[0][0]) * across:.0f},{level(given):.1f}" for place, given in found)
    end = 1 + (found[-1][0] - found[0][0]) * across
    last = f'<circle cx="{end:.0f}" cy="{level(values[-1]):.1f}" r="2"/>'
    wanted = _wanted(level(objective) if within and objective is not None else None, objective)
    told = f"{name} of {len(found)} drills: from {write(low)} to {write(high)}, last {write(values[-1])}"
    if objective is not None:
        told += f"; objective {write(objective)}{'' if within else ', beyond the scale'}"
    since = f"{instant(points[found[0][0]].finished)} to {instant(points[found[-1][0]].finished)}"
    text = escape(f"{told}; {since}", quote=True)
    return Markup(  # noqa: S704 - numbers, and escaped words
        f'<svg class="trend" viewBox="0 0 122 36" role="img" aria-label="{text}"><title>{text}</title>'
        f'{wanted}<polyline fill="none" stroke="#000" points="{line}"/>{last}</svg>'
    )


def _wanted(level: float | None, objective: float | None) -> str:
    if objective is None:
        return ""
    if level is None:  # far above: the edge, with the mark of a broken axis
        return (
            f'<path class="wanted" {_LINE} d="M1 1.5h52m6 0h59"/><path class="break" {_LINE} d="M53 3.5l3-4m1 4l3-4"/>'
        )
    return f'<path class="wanted" {_LINE} d="M1 {level:.1f}h118"/>'
