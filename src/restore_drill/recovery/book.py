"""What a runbook says, before it is Markdown: commands, steps, variables, and what is known of the snapshot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from restore_drill.recovery.prose import quoted

if TYPE_CHECKING:
    from restore_drill.plan import PlannedCopy, PlannedTarget
    from restore_drill.policy.proofs import Proof

_SHA256 = re.compile(r"[0-9a-f]{64}")
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a step.

    Attributes:
        text: What is typed; the next command of the step runs only if it ends well.
        given: Lines of its standard input, passed on as they are.
    """

    text: str
    given: tuple[str, ...] = ()

    def lines(self, *, last: bool) -> list[str]:
        """As a shell reads it."""
        behind = "" if last else " &&"
        if not self.given:
            return [f"{self.text}{behind}"]
        body = [line for each in self.given for line in each.split("\n")]
        word = "END"
        while word in body:
            word += "D"
        return [f"{self.text} <<'{word}'{behind}", *body, word]


@dataclass(frozen=True, slots=True)
class WrittenStep:
    """One thing to do.

    Attributes:
        title: In the imperative.
        about: What a person should know before, in Markdown.
        commands: What is pasted into the shell.
        took: How long it took when it was last measured, in words.
    """

    title: str
    commands: tuple[Command, ...]
    about: str = ""
    took: str = ""

    def script(self) -> str:
        """The commands, each of which needs the one before it."""
        lines: list[str] = []
        for number, command in enumerate(self.commands, 1):
            lines += command.lines(last=number == len(self.commands))
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Variable:
    """What the commands take from the environment: ``example`` is what it was, or may be."""

    name: str
    meaning: str
    example: str = ""


@dataclass(slots=True)
class Parts:
    """What the parts of a runbook add to it while it is put together."""

    programs: list[str] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    cautions: list[str] = field(default_factory=list)
    by_hand: list[str] = field(default_factory=list)

    def needs(self, *programs: str) -> None:
        """Note programs that the commands call."""
        self.programs += [program for program in programs if program not in self.programs]

    def takes(self, variable: Variable) -> None:
        """Note a variable that the commands read."""
        if variable.name not in [known.name for known in self.variables]:
            self.variables.append(variable)


@dataclass(frozen=True, slots=True)
class Stored:
    """One stored object of the snapshot, or one file or directory.

    Attributes:
        key: Where it lies, relative to the store's url.
        name: What it is called in the work directory; safe in a shell.
        sha256: Of the stored bytes, ``""`` when not known (a directory).
        layers: What the bytes were found to be, from the outside in, as evidence has it.
    """

    key: str
    name: str
    sha256: str
    layers: tuple[Mapping[str, Any], ...]

    @property
    def formats(self) -> list[str]:
        """The formats of its layers."""
        return [str(layer.get("format", "")) for layer in self.layers]

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory (a prefix of objects)."""
        return self.key.endswith("/")


class Drilled:
    """What a passed drill measured of a snapshot, as its evidence tells it; or what is guessed where there was none.

    Args:
        target, copy: What was drilled.
        proof: That it passed, ``None`` when no drill has.
        evidence: The drill in the evidence document, with what its stages measured.
    """

    def __init__(
        self, target: PlannedTarget, copy: PlannedCopy, proof: Proof | None, evidence: Mapping[str, Any]
    ) -> None:
        self.target, self.copy, self.proof, self.evidence = target, copy, proof, evidence

    @property
    def is_proved(self) -> bool:
        """Whether a drill of it passed."""
        return self.proof is not None

    def facts(self, stage: str) -> Mapping[str, Any]:
        """What a stage measured."""
        found = (line for line in self.evidence.get("stages", ()) if line.get("stage") == stage)
        return next((line["facts"] for line in found), {})

    def checks(self) -> Iterator[tuple[str, str, Mapping[str, Any], float]]:
        """Check, detail, what it measured, and seconds."""
        for line in self.evidence.get("stages", ()):
            if line.get("check"):
                yield line["check"][0], line["check"][1], line.get("facts") or {}, float(line.get("seconds", 0.0))

    @cached_property
    def stored(self) -> list[Stored]:
        """Everything it was restored from, in the order in which it was."""
        artifacts = self.facts("fetch").get("artifacts", ())
        names = local_names([str(artifact.get("local", artifact.get("key", ""))) for artifact in artifacts])
        return [
            Stored(str(each.get("key", "")), name, self._digest(each), tuple(each.get("layers", ())))
            for each, name in zip(artifacts, names, strict=True)
        ]

    def _digest(self, artifact: Mapping[str, Any]) -> str:
        of_proof = self.proof.sha256 if self.proof else {}
        return digest(artifact.get("sha256") or of_proof.get(str(artifact.get("key", ""))))

    @property
    def form(self) -> str:
        """``file`` or ``tree``: what the engine was given."""
        payloads = self.facts("fetch").get("payloads", ())
        return str(payloads[0].get("form", "file")) if payloads else "file"

    @property
    def format(self) -> str:
        """The format of what the engine was given."""
        payloads = self.facts("fetch").get("payloads", ())
        return str(payloads[0].get("format", "")) if payloads else ""

    def counts(self) -> dict[str, int]:
        """Rows by table."""
        found: dict[str, int] = {}
        for check, _, facts, _ in self.checks():
            if check in ("structure", "rows"):
                found |= {str(table): int(count) for table, count in (facts.get("counts") or {}).items()}
        return found

    @property
    def stored_bytes(self) -> int:
        """Bytes that are fetched."""
        return int(self.facts("fetch").get("stored_bytes", 0))

    @property
    def content_bytes(self) -> int:
        """Bytes they become."""
        return int(self.facts("fetch").get("content_bytes", 0))


def digest(value: object) -> str:
    """A SHA-256 as evidence has it, ``""`` for anything else: a ledger that nobody signed may say what it likes."""
    return value if isinstance(value, str) and _SHA256.fullmatch(value) else ""


def local_names(keys: Sequence[str]) -> list[str]:
    """A file name for each key that every shell and program takes for nothing else; none of them twice."""
    names: list[str] = []
    for number, key in enumerate(keys, 1):
        last = key.rstrip("/").rpartition("/")[2]
        name = _UNSAFE.sub("_", last).lstrip("-.") or "artifact"
        name = name if name == last else f"{number:02d}-{name}"
        while name in names:
            name = f"{number:02d}-{name}"
        names.append(name)
    return names


#: Stands for the key of a snapshot that a person has to choose.
CHOSEN = "$SNAPSHOT_KEY"


def is_chosen(key: str) -> bool:
    """Whether the key is that of a snapshot which a person has to choose."""
    return key.rstrip("/") == CHOSEN


def keyed(prefix: str, key: str) -> str:
    """A key behind what its store puts before it, as one word of bash."""
    return f'{quoted(prefix) if prefix else ""}"{CHOSEN}"' if is_chosen(key) else quoted(prefix + key)


def below(variable: str, path: str) -> str:
    """A path below a directory that a variable names, as a shell reads it."""
    return f'"${variable}"/{keyed("", path)}'
