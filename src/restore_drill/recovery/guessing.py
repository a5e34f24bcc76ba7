"""What can be said of a snapshot that no drill has proved: from the catalogue alone, and marked as a guess."""

from __future__ import annotations

from typing import Any, Final

from restore_drill.plan import PlannedCopy, PlannedTarget
from restore_drill.recovery.book import CHOSEN, Drilled
from restore_drill.repositories.names import peeled

_FILES: Final = ("files", "volume")
#: Codecs that hold trees, too: for what restores trees they are no encoding.
_TREES: Final = ("zip", "7z")


def guessed(target: PlannedTarget, copy: PlannedCopy) -> Drilled:
    """A snapshot as its path in the catalogue describes it; a person has to choose which."""
    if copy.pattern.is_directory:
        layers = [{"format": "directory"}]
        local, form = f"{target.name}/", "tree"
        key = f"{CHOSEN}/"
    else:
        layers, bare = _layers(target.model.engine, copy)
        inner, form = _inner(target.model.engine, bare)
        layers.append({"format": inner})
        local, key = copy.pattern.text.rpartition("/")[2], CHOSEN
        local = target.name + local[local.rfind("}") + 1 :]
    payload = {"form": form, "format": layers[-1]["format"]}
    facts: dict[str, Any] = {"artifacts": [{"key": key, "local": local, "layers": layers}], "payloads": [payload]}
    return Drilled(target, copy, None, {"stages": [{"stage": "fetch", "facts": facts}]})


def _layers(engine: str, copy: PlannedCopy) -> tuple[list[dict[str, Any]], str]:
    """Encodings by the endings of the path, from the outside in, and what is left of the path."""
    name, codecs = copy.pattern.text, list[str]()
    for codec, rest in peeled(name):
        if engine in _FILES and codec in _TREES:
            break
        codecs.append(codec)
        name = rest
    return [_settings(copy, codec) for codec in (copy.model.codecs if copy.model.codecs is not None else codecs)], name


def _settings(copy: PlannedCopy, codec: str) -> dict[str, Any]:
    """A layer with what the catalogue says of it beside the keys."""
    given = copy.decrypt.get(codec, {})
    return {"format": codec, **{name: value for name, value in given.items() if isinstance(value, str | int)}}


def _inner(engine: str, name: str) -> tuple[str, str]:
    """The innermost format and the form in which an engine is given it."""
    lowered = name.lower()
    if engine in _FILES:
        return next((kind for kind in _TREES if lowered.endswith(f".{kind}")), "tar"), "tree"
    is_text = lowered.endswith(".sql")
    formats = {"sqlite": ("sql-text", "sqlite-database"), "postgres": ("postgres-script", "postgres-custom")}
    text, binary = formats.get(engine, (f"{engine}-dump", f"{engine}-dump"))
    if engine not in formats and lowered.endswith(".tar"):
        return "tar", "tree"
    return text if is_text else binary, "file"
