"""The catalogue as text: what was guessed, with the reason beside it, and below what was left out, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from restore_drill.discovery.describe import Proposal
from restore_drill.discovery.model import LeftOut
from restore_drill.printable import printable
from restore_drill.quantities import format_size

#: Lines of what was left out; the others are counted.
_LISTED = 200
_WIDTH = 116


@dataclass(slots=True)
class Sheet:
    """Lines, and which target each belongs to.

    Attributes:
        owners: The target of each line, ``""`` for none.
    """

    lines: list[str] = field(default_factory=list)
    owners: list[str] = field(default_factory=list)
    _owner: str = ""

    def begin(self, owner: str) -> None:
        """What follows belongs to this target."""
        self._owner = owner

    def add(self, line: str = "") -> None:
        """One more line."""
        self.lines.append(line.rstrip())
        self.owners.append(self._owner)

    def comment(self, text: str, indent: int = 0) -> None:
        """A comment, in as many lines as it needs."""
        for line in _wrapped(printable(text), _WIDTH - indent - 2):
            self.add(f"{' ' * indent}# {line}")

    @property
    def text(self) -> str:
        """Everything."""
        return "\n".join(self.lines) + "\n"


def write(
    header: Sequence[str],
    stores: Mapping[str, Mapping[str, Any]],
    defaults: Mapping[str, tuple[object, str]],
    proposals: Sequence[Proposal],
    left_out: Sequence[LeftOut],
    state: str,
) -> Sheet:
    """Write a whole catalogue.

    Args:
        header: The first lines, as comments.
        stores: By name, as the catalogue has them.
        defaults: Key → value and reason.
        proposals: The targets.
        left_out: What none was made of.
        state: Where baselines are kept.
    """
    sheet = Sheet()
    for line in header:
        sheet.comment(line)
    sheet.add("version: 1")
    sheet.add()
    sheet.comment(
        "Where earlier drills leave what they measured. In a pipeline whose machines are thrown away: s3://bucket/prefix"
    )
    sheet.add(f"state: {scalar(state)}")
    sheet.add()
    sheet.comment(
        "Say what is away from the site of the original (offsite: true), and what cannot be changed (immutable: true)."
    )
    sheet.add("stores:")
    for name, keys in stores.items():
        sheet.add(f"  {name}: {flow(keys)}")
    sheet.add()
    sheet.comment("Merged into every target that does not say otherwise.")
    sheet.add("defaults:")
    for key, (value, why) in defaults.items():
        sheet.add(f"  {key}: {flow(value)}" + (f" # {printable(why)}" if why else ""))
    sheet.add()
    sheet.add("targets:" if any(not each.missing for each in proposals) else "targets: {}")
    for proposal in proposals:
        if not proposal.missing:
            _target(sheet, proposal)
    sheet.begin("")
    _unfinished(sheet, [each for each in proposals if each.missing])
    _others(sheet, left_out)
    return sheet


def _target(sheet: Sheet, proposal: Proposal) -> None:
    sheet.begin(proposal.name)
    sheet.add(f"  {proposal.name}:")
    for line in _lines(proposal):
        sheet.add(f"    {line}" if line else "")
    sheet.begin("")
    sheet.add()


def _lines(proposal: Proposal) -> Iterator[str]:
    yield from (f"# {line}" for line in _wrapped(printable(proposal.head), _WIDTH - 6))
    for warning in proposal.warnings:
        first, *rest = _wrapped(printable(warning), _WIDTH - 8)
        yield f"# - {first}"
        yield from (f"#   {line}" for line in rest)
    for key, (value, why) in proposal.keys.items():
        reason = f" # {printable(why)}" if why else ""
        if key == "expect" and isinstance(value, dict) and len(flow(value)) > 60:
            yield f"expect:{reason}"
            yield from _block(value, "  ")
        else:
            yield f"{key}: {flow(value)}{reason}"
    yield "copies:"
    for store, keys in proposal.copies.items():
        reasons = "; ".join(printable(why) for _, why in keys.values() if why)
        yield f"  {store}: {flow({key: value for key, (value, _) in keys.items()})}" + (
            f" # {reasons}" if reasons else ""
        )


def _block(value: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, inner in value.items():
        if isinstance(inner, dict) and len(flow(inner)) > 80:
            yield f"{indent}{scalar(key)}:"
            yield from _block(inner, indent + "  ")
        else:
            yield f"{indent}{scalar(key)}: {flow(inner)}"


def _unfinished(sheet: Sheet, proposals: Sequence[Proposal]) -> None:
    if not proposals:
        return
    sheet.comment(
        "Backups that need a word from you before they can be drilled: complete them, and remove the comment signs."
    )
    for proposal in proposals:
        sheet.add("#")
        sheet.add(f"#  {proposal.name}: # {printable(proposal.missing)}")
        for line in _lines(proposal):
            sheet.add(f"#    {line}")
    sheet.add()


def _others(sheet: Sheet, left_out: Sequence[LeftOut]) -> None:
    if not left_out:
        return
    sheet.comment("Left out, and why; nothing below is drilled:")
    for each in left_out[:_LISTED]:
        count = f" ({each.count} objects{f', {format_size(each.size)}' if each.size else ''})" if each.count > 1 else ""
        sheet.comment(f"- {printable(each.what)}{count}: {each.why}")
    if len(left_out) > _LISTED:
        sheet.comment(f"- and {len(left_out) - _LISTED} more, {sum(each.count for each in left_out[_LISTED:])} objects")


def flow(value: object) -> str:
    """A value on one line, as YAML."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


_DURATION = re.compile(r"\d+(?:[smhdw]|%)")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./%")


def scalar(value: object) -> str:
    """One value; a text is quoted wherever YAML could take it for anything else."""
    if not isinstance(value, str):
        return str(yaml.safe_dump(value)).removesuffix("\n").removesuffix("...").strip()
    plain = value and set(value) <= _PLAIN and (value[0].isalpha() or _DURATION.fullmatch(value))
    if plain and yaml.safe_load(value) == value:
        return value
    written: str = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=1 << 30)
    return written.strip()


def _wrapped(text: str, width: int) -> list[str]:
    words, lines = text.split(" "), [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return lines
