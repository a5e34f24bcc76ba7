"""The record of drills while they run: a file to which every stage appends what it measured.

``reports/<run id>/facts/<process>.jsonl``, one JSON object a line, each with its drill's target and copy, written when
a stage ends: what a crash leaves is everything that was measured before it. One file for all drills of a process, since
making a file takes longer than a small drill's bytes do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path, PurePath
from typing import Any

from restore_drill.errors import CouldNotVerify, RestoreDrillError
from restore_drill.facts import Located, RestoreFacts
from restore_drill.model import Snapshot, Stage
from restore_drill.plan import PlannedCase
from restore_drill.printable import printable_values
from restore_drill.repositories.base import Transfer
from restore_drill.sandboxes.base import Disposal
from restore_drill.secrets import redact


class FactsFile:
    """The file in which one process records its drills.

    Args:
        directory: The run's directory.
    """

    def __init__(self, directory: PurePath) -> None:
        self.path = os.path.join(directory, "facts", f"{os.getpid()}.jsonl")  # noqa: PTH118 - hot path
        self._descriptor = -1
        self._torn = False

    def append(self, lines: Sequence[str]) -> None:
        """Write whole lines.

        Raises:
            CouldNotVerify: They cannot be written.
        """
        left = memoryview(("\n" * self._torn + "\n".join(lines) + "\n").encode())
        self._torn = True
        try:
            if self._descriptor < 0:
                self._descriptor = _open(self.path)
            while left:  # a disk that fills up takes a part, and refuses the next
                left = left[os.write(self._descriptor, left) :]
        except OSError as problem:
            raise CouldNotVerify(
                f"what was measured cannot be recorded: {problem.strerror}",
                looked_at=self.path,
                remedy="Make room there, or give --reports-dir another directory, and run it again.",
            ) from problem
        self._torn = False

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class DrillRecord:
    """Appends what one drill measures.

    Args:
        file: Its process's file.
        target: The target's name.
        copy: The copy's name.
    """

    def __init__(self, file: FactsFile, target: str, copy: str) -> None:
        self._file = file
        self._drill = [target, copy]
        self._begun = False
        self._lines: list[str] = []

    def begin(self, stage: Stage, started: datetime) -> None:
        """A stage begins; only the first of a drill is written, as proof that it was started."""
        if not self._begun:
            self._append({"started": _stamp(started), "stage": stage})
            self._flush()

    def end(self, stage: Stage, started: datetime, seconds: float, result: Any) -> None:
        """A stage ended, with what it measured or with nothing when it broke before it measured anything."""
        self._append(
            {"stage": stage, "started": _stamp(started), "seconds": round(seconds, 6), "facts": stage_facts(result)}
        )
        self._flush()

    def check(self, case: PlannedCase, started: datetime, seconds: float, facts: Mapping[str, Any]) -> None:
        """A content case was measured; its details stay out."""
        public = {key: value for key, value in facts.items() if key != "details"}
        entry = {"check": [case.case, case.detail], "started": _stamp(started), "seconds": round(seconds, 6)}
        self._append({**entry, "facts": public})

    def disposed(self, started: datetime, seconds: float, disposal: Disposal) -> None:
        """The restored copy is gone, or is not."""
        facts = {"left": len(disposal.left), "reason": disposal.reason, "kept": disposal.kept}
        if disposal.confirmed:
            facts["confirmed"] = disposal.confirmed
        self._append({"stage": Stage.DISPOSE, "started": _stamp(started), "seconds": round(seconds, 6), "facts": facts})
        self._flush()

    def close(self) -> None:
        """Write what is left."""
        self._flush()

    def _append(self, entry: Mapping[str, Any]) -> None:
        self._begun = True
        self._lines.append(redact(encode({"drill": self._drill, **entry}, (",", ":"))))

    def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self._file.append(lines)


def read(directory: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """What the processes of a run recorded, by (target, copy), in order; a line that a crash cut short is left out.

    Of a drill that was begun again, because the process that had begun it ended, only the last beginning counts.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for path in (directory / "facts").glob("*.jsonl"):
        for drill, lines in _read(path).items():
            if drill not in found or _begun(lines) > _begun(found[drill]):
                found[drill] = lines
    return found


def _read(path: Path) -> dict[tuple[str, str], list[dict[str, Any]]]:
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in path.read_text("utf-8").splitlines():
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            target, copy = entry.pop("drill")
            found.setdefault((target, copy), []).append(entry)
    return found


def _begun(lines: Sequence[Mapping[str, Any]]) -> str:
    return str(lines[0].get("started", ""))


def _open(path: str) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        return os.open(path, flags, 0o644)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - hot path
        return os.open(path, flags, 0o644)


def stage_facts(result: Any) -> Any:
    """What is recorded of a stage's result; live handles, local paths and file names inside a tree are not."""
    if isinstance(result, Located):
        return {**_fields(result, "snapshot", "times"), "snapshot": snapshot_facts(result.snapshot)}
    if isinstance(result, Transfer):
        return {
            **_fields(result, "payloads", "broken", "unusable"),
            "payloads": [
                {"form": each.form, "format": each.format, "size": each.size, "sha256": each.digest}
                for each in result.payloads
            ],
            "broken": {stage: _problem(problem) for stage, problem in result.broken.items()},
            "unusable": _problem(result.unusable) if result.unusable else None,
        }
    if isinstance(result, RestoreFacts):
        return _fields(result)
    return result


def snapshot_facts(snapshot: Snapshot) -> dict[str, Any]:
    """A snapshot as evidence names it."""
    return {
        "id": snapshot.id,
        "kind": snapshot.kind,
        "taken_at": snapshot.taken_at,
        "resolution_seconds": snapshot.resolution.total_seconds(),
        "artifacts": [artifact.key for artifact in snapshot.artifacts],
        "size": snapshot.size,
        "version": snapshot.main.version,
        "parents": [parent.id for parent in snapshot.parents],
    }


def encode(value: Any, separators: tuple[str, str] | None = None) -> str:
    """Write a value as JSON in ASCII; numbers that JSON does not have (an infinite answer of a query) become words.

    Raises:
        TypeError: A part of it has no place in evidence.
    """
    try:
        return json.dumps(value, default=to_json, separators=separators, allow_nan=False)
    except ValueError:
        plain = json.loads(json.dumps(value, default=to_json), parse_constant=str)
        return json.dumps(plain, separators=separators, allow_nan=False)


def encode_printable(value: Any, separators: tuple[str, str] | None = None) -> str:
    """The same, with nothing in any text or name of a field that is not printed: see ``printable``.

    What is written in ASCII without an escape holds nothing else; looking at every value takes longer than writing it.
    """
    told = encode(value, separators)
    if "\\" not in told and "\x7f" not in told:
        return told
    return encode(printable_values(value), separators)


def to_json(value: Any) -> Any:
    """Turn what the standard encoder does not know into JSON values."""
    if isinstance(value, datetime):
        return _stamp(value)
    if isinstance(value, date | PurePath):
        return str(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    if isinstance(value, set | frozenset):
        return sorted(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    raise TypeError(f"{type(value).__name__} has no place in evidence")


def _fields(value: Any, *without: str) -> dict[str, Any]:
    return {each.name: getattr(value, each.name) for each in dataclasses.fields(value) if each.name not in without}


def _problem(problem: RestoreDrillError) -> dict[str, str]:
    return {"verdict": problem.verdict, "cause": problem.cause, "looked_at": problem.looked_at}


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
