"""Contradictions between a target's sandbox, what it is asked to be, and its engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from restore_drill.catalogue.gather import Draft, Loc
from restore_drill.catalogue.references import mapping
from restore_drill.catalogue.sandboxing import SandboxModel
from restore_drill.registry import load, names


def check_sandbox(draft: Draft, loc: Loc, target: Mapping[str, Any], engine: Any) -> None:
    """Note a sandbox that the engine does not run in, and options that mean nothing where it does.

    Args:
        draft: The catalogue.
        loc: Where the target stands.
        target: Its raw mapping, defaults merged in.
        engine: Its engine's class.
    """
    raw = target.get("sandbox")
    written = mapping(raw)
    at: Loc = (*loc, "sandbox", "kind") if "kind" in written else (*loc, "sandbox")
    kind = written.get("kind") if written else raw
    known = [name for name in engine.sandboxes if name in names("sandboxes")]
    if isinstance(kind, str):
        if kind not in names("sandboxes"):
            return  # a name that nothing has is told where names are looked at
        if kind not in engine.sandboxes:
            hint = f"it runs in {', '.join(engine.sandboxes)}"
            draft.report(at, f"the engine {engine.name!r} does not run in a {kind} sandbox", hint)
            return
        known = [kind]
    elif kind is not None:
        return  # its type is told elsewhere
    _check_options(draft, (*loc, "sandbox"), written, known, engine)


def check_required(draft: Draft, loc: Loc, target: Mapping[str, Any], engine: Any) -> None:
    """Note what a target's engine cannot do without and the target does not say.

    Args:
        draft: The catalogue.
        loc: Where the target stands.
        target: Its raw mapping, defaults merged in.
        engine: Its engine's class.
    """
    if getattr(engine, "image_required", False) and not mapping(target.get("sandbox")).get("image"):
        hint = "add sandbox: {image: registry.example.net/app:1}"
        draft.report((*loc, "engine"), f"the engine {engine.name!r} needs the image of the application", hint)
    given = target.get("engine_options")
    for name, example in getattr(engine, "required_options", {}).items():
        if given is None or (isinstance(given, Mapping) and given.get(name) is None):
            hint = f"add engine_options: {{{name}: {example}}}"
            draft.report((*loc, "engine"), f"the engine {engine.name!r} needs the option {name!r}", hint)


def _check_options(draft: Draft, at: Loc, written: Mapping[str, Any], known: list[str], engine: Any) -> None:
    options = [name for name in written if name in SandboxModel.model_fields and name != "kind"]
    options = [name for name in options if written[name] is not None]
    understood = {kind: load("sandboxes", kind).understands for kind in known}
    if any(set(options) <= understands for understands in understood.values()):
        return
    for option in options:
        if any(option in understands for understands in understood.values()):
            continue
        hint = "remove it"
        if "container" in engine.sandboxes and "container" not in known:
            hint = "remove it, or write kind: container"
        kinds = " or ".join(f"a {kind}" for kind in known)
        draft.report((*at, option), f"{option!r} means nothing in {kinds} sandbox", hint, at_key=True)
