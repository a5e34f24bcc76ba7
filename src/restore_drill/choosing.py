"""Which kind of sandbox a target is restored in, when the catalogue leaves it open."""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass

from restore_drill.errors import CouldNotVerify
from restore_drill.registry import load, names
from restore_drill.sandboxes.base import SandboxOptions


@dataclass(frozen=True, slots=True)
class Choice:
    """A kind of sandbox, and why it is that one."""

    kind: str
    reason: str


def choose(
    named: str | None,
    kinds: Iterable[str],
    options: SandboxOptions,
    given: frozenset[str],
    known: MutableMapping[str, str],
) -> Choice:
    """The kind that was named, or the first that this machine has and that understands what is asked of it.

    Args:
        named: What the catalogue says, if it says so.
        kinds: What the engine runs in, best first.
        options: What the catalogue asks of it.
        given: The names of those options that are set.
        known: Why kinds cannot be used here (``""``: they can), by kind and engine; what is found out is added, so
            that a run decides only once.

    Raises:
        CouldNotVerify: This machine has none.
    """
    if named is not None:
        return Choice(named, "the catalogue names it")
    passed: list[str] = []
    for kind in kinds:
        if kind not in names("sandboxes"):
            continue
        if not given <= load("sandboxes", kind).understands:
            passed.append(f"no {kind}: the catalogue asks for {', '.join(sorted(given))}")
            continue
        why = unavailable(kind, options, known)
        if not why:
            return Choice(kind, "; ".join(passed) or "the first that the engine runs in")
        passed.append(f"no {kind}: {why}")
    raise CouldNotVerify(
        "this machine has no sandbox to restore it in: " + "; ".join(passed),
        remedy="Start a container engine, or name another kind under sandbox.",
    )


def unavailable(kind: str, options: SandboxOptions, known: MutableMapping[str, str]) -> str:
    """Why a kind cannot be used on this machine, or ``""``; asked once for each container engine."""
    key = f"{kind} {options.host}".strip()
    if key not in known:
        known[key] = load("sandboxes", kind).unavailable(options)
    return known[key]
