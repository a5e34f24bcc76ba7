"""Files of controls to frameworks: the built-in ones and a catalogue's own; all mistakes at once, with file and key."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from restore_drill.controls.model import KINDS, OF, OF_THE_RECORDS, READ, Cadence, Framework, Requirement, Support
from restore_drill.errors import UsageProblem

if TYPE_CHECKING:
    from restore_drill.plan import Plan

#: Where the built-in ones are, one file a framework.
BUILT_IN = Path(__file__).parent
_LARGEST = 1 << 20
_DEEPEST = 20
_LONGEST = 36_600  # days: a century
_Made = TypeVar("_Made")


def load_frameworks(files: Sequence[str | Path] = (), only: Sequence[str] = ()) -> tuple[Framework, ...]:
    """The frameworks to report, ordered by id.

    Args:
        files: Files beside the built-in ones; one of the same id takes a built-in one's place.
        only: Ids of those to report; all when empty.

    Raises:
        UsageProblem: A file is wrong, or an id unknown; everything that is wrong, with file and key.
    """
    found = {each.id: each for each in built_in()}
    own: dict[str, Path] = {}
    problems: list[str] = []
    for path in map(Path, files):
        framework, wrong = read(path)
        problems += wrong
        if framework is None:
            continue
        if framework.id in own:
            problems.append(f"{path}: id: {framework.id!r} is defined by {own[framework.id]}, too")
        own[framework.id] = path
        found[framework.id] = framework
    problems += [unknown_framework(name, found) for name in only if name not in found]
    if problems:
        raise UsageProblem(
            "the controls cannot be read: " + "; ".join(problems),
            remedy="Mend these files; docs/auditors.md says what they hold.",
        )
    return tuple(found[name] for name in sorted(found) if not only or name in only)


def of_plan(plan: Plan) -> tuple[Framework, ...]:
    """The frameworks that a catalogue asks to report.

    Raises:
        UsageProblem: A file of its own is wrong.
    """
    return load_frameworks(plan.control_files, plan.controls)


def unknown_framework(name: str, known: Iterable[str]) -> str:
    """The complaint about an id that no framework has."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"there is no framework {name!r}; " + (
        f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
    )


@cache
def built_in() -> tuple[Framework, ...]:
    """The frameworks that this package comes with."""
    found = []
    for path in sorted(BUILT_IN.glob("*.yaml")):
        framework, problems = read(path)
        if framework is None:
            raise AssertionError("; ".join(problems))
        found.append(framework)
    return tuple(found)


def read(path: Path) -> tuple[Framework | None, list[str]]:
    """One file; ``None`` and what is wrong when something is."""
    form = _Form(str(path))
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except OSError as problem:
        return None, [f"{path}: it cannot be read: {problem.strerror or problem}"]
    if len(data) > _LARGEST:
        return None, [f"{path}: it is larger than {_LARGEST} bytes"]
    framework = _framework(form, _parse(form, data, quickly=path.parent == BUILT_IN))
    return (None if form.problems else framework), form.problems


def _parse(form: _Form, data: bytes, *, quickly: bool) -> Any:
    """The file's tree. The quick reader, in C, ends the whole process over a file that is nested deeply."""
    import yaml

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader) if quickly else yaml.SafeLoader):  # type: ignore[misc]
        """Values are what is written: no bare word or number is anything but text; no key stands twice."""

        _depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self._depth += 1
            if self._depth > _DEEPEST:
                raise yaml.composer.ComposerError(None, None, "it is nested too deeply", self.peek_event().start_mark)
            node = super().compose_node(parent, index)
            self._depth -= 1
            return node

    Loader.yaml_implicit_resolvers = {}
    Loader.add_constructor("tag:yaml.org,2002:map", _mapping)
    try:
        return yaml.load(data, Loader=Loader)  # noqa: S506 - a safe loader's subclass
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        said = " ".join(str(problem).split()).replace('in "<byte string>", ', "at ")
        form.problems.append(f"{form.file}: it is not YAML: {said}")
        return {}


def _mapping(loader: Any, node: Any) -> dict[Any, Any]:
    import yaml

    found: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, Hashable) or key in found:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        found[key] = loader.construct_object(value_node, deep=True)
    return found


@dataclass
class _Form:
    """Reads values by key, and notes what is wrong with them."""

    file: str
    problems: list[str] = field(default_factory=list)

    def wrong(self, key: str, message: str) -> None:
        self.problems.append(f"{self.file}: {key}: {message}" if key else f"{self.file}: {message}")

    def mapping(self, value: Any, key: str, required: Sequence[str], optional: Sequence[str]) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            self.wrong(key, "it must be a mapping")
            return {}
        known = [*required, *optional]
        for name in value:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, 1)
                self.wrong(_beneath(key, str(name)), f"unknown key{f', did you mean {near[0]}?' if near else ''}")
        for name in required:
            if name not in value:
                self.wrong(_beneath(key, name), "it is missing")
        return value

    def text(self, value: Mapping[str, Any], key: str, name: str) -> str:
        found = value.get(name, "")
        if not isinstance(found, str) or (name in value and not found.strip()):
            self.wrong(_beneath(key, name), "it must be a text that says something")
            return ""
        return " ".join(found.split())

    def items(self, value: Mapping[str, Any], key: str, name: str) -> list[Any]:
        found = value.get(name, [])
        if not isinstance(found, list):
            self.wrong(_beneath(key, name), "it must be a list")
            return []
        return found

    def texts(self, value: Mapping[str, Any], key: str, name: str) -> tuple[str, ...]:
        found = self.items(value, key, name)
        at = _beneath(key, name)
        return tuple(self.text({f"[{n}]": each}, at, f"[{n}]") for n, each in enumerate(found))

    def one_of(self, value: str, key: str, known: Sequence[str]) -> None:
        if value and value not in known:
            near = difflib.get_close_matches(value, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"it may be {', '.join(known)}"
            self.wrong(key, f"{value!r} is not known: {hint}")


def _beneath(key: str, name: str) -> str:
    return f"{key}{name}" if name.startswith("[") else f"{key}.{name}" if key else name


def _framework(form: _Form, raw: Any) -> Framework | None:
    if form.problems:
        return None
    raw = form.mapping(raw, "", ("id", "title", "version", "source", "read"), ("requirements", "note"))
    texts = {name: form.text(raw, "", name) for name in ("id", "title", "version", "source", "read", "note")}
    form.one_of(texts["read"], "read", READ)
    requirements = _each(form, raw, "", "requirements", _requirement)
    seen: set[str] = set()
    for number, requirement in enumerate(requirements):
        if requirement.id in seen:
            form.wrong(f"requirements[{number}].id", f"{requirement.id!r} stands twice")
        seen.add(requirement.id)
    if not requirements and not texts["note"]:
        form.wrong("note", "a framework without requirements says why")
    return Framework(**texts, requirements=requirements)


def _each(
    form: _Form, raw: Mapping[str, Any], key: str, name: str, make: Callable[[_Form, Any, str], _Made]
) -> tuple[_Made, ...]:
    at = _beneath(key, name)
    return tuple(make(form, each, f"{at}[{number}]") for number, each in enumerate(form.items(raw, key, name)))


def _requirement(form: _Form, raw: Any, key: str) -> Requirement:
    raw = form.mapping(raw, key, ("id", "title", "asks", "supports"), ("tested_by", "cadence", "asks_also", "oscal"))
    supports = _each(form, raw, key, "supports", _support)
    if not supports:
        form.wrong(_beneath(key, "supports"), "it must name at least one kind of evidence")
    named = [each.evidence for each in supports]
    for number, name in enumerate(named):
        if name and name in named[:number]:
            form.wrong(f"{key}.supports[{number}].evidence", f"{name!r} stands twice")
    tested_by = form.texts(raw, key, "tested_by")
    for number, name in enumerate(tested_by):
        form.one_of(name, f"{key}.tested_by[{number}]", [each for each in named if each not in OF_THE_RECORDS])
    return Requirement(
        id=form.text(raw, key, "id"),
        title=form.text(raw, key, "title"),
        asks=form.text(raw, key, "asks"),
        supports=supports,
        tested_by=tested_by,
        cadence=_cadence(form, raw["cadence"], _beneath(key, "cadence")) if "cadence" in raw else None,
        asks_also=form.texts(raw, key, "asks_also"),
        oscal=form.text(raw, key, "oscal"),
    )


def _support(form: _Form, raw: Any, key: str) -> Support:
    raw = form.mapping(raw, key, ("evidence", "how"), ())
    found = Support(evidence=form.text(raw, key, "evidence"), how=form.text(raw, key, "how"))
    form.one_of(found.evidence, _beneath(key, "evidence"), KINDS)
    return found


def _cadence(form: _Form, raw: Any, key: str) -> Cadence:
    raw = form.mapping(raw, key, ("words", "days"), ("of",))
    days, of = form.text(raw, key, "days"), form.text(raw, key, "of") or OF[0]
    number = int(days) if days.isascii() and days.isdigit() and len(days) < 6 else 0
    if days and not 0 < number <= _LONGEST:
        form.wrong(_beneath(key, "days"), f"{days!r} is no number of days between 1 and {_LONGEST}")
    form.one_of(of, _beneath(key, "of"), OF)
    return Cadence(words=form.text(raw, key, "words"), days=number, of=of)
