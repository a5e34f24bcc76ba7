"""One look at a restored tree: counts, globs and the manifest, with the work spread over processes."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from restore_drill.checksums import MANIFEST_NAMES
from restore_drill.engines.trees.globs import Globs
from restore_drill.engines.trees.manifest import Manifest, Span, Verifier, read_manifest
from restore_drill.engines.trees.walk import Summary, walk
from restore_drill.errors import BackupFailed
from restore_drill.forks import spread

#: Names of files beside the manifest that are told apart; more are only counted.
_MOST_EXTRA = 100_000
#: Names that reach the terminal, of each kind.
_MOST_SHOWN = 50
_WALK = "walk"


@dataclass(slots=True)
class Examination:
    """A tree and what is asked of it. The walk is one task among the slices of the manifest: whoever is free takes it.

    Args:
        root: Descriptor of the tree's root.
        must_exist: Globs whose matches are counted.
        must_not_exist: Likewise, and the matches are named among the details.
        ignore: Globs of files that the manifest need not list.
    """

    root: int
    must_exist: Globs
    must_not_exist: Globs
    ignore: Globs
    manifest: Manifest | None = None
    verifier: Verifier | None = None
    problem: str = ""
    details: list[str] = field(default_factory=list)

    def compare_with(self, name: str) -> None:
        """Read a manifest of the tree; one that cannot be used becomes a fact."""
        try:
            self.manifest = read_manifest(self.root, name)
        except BackupFailed as problem:
            self.problem = problem.cause
            self.details += problem.details
            return
        self.verifier = Verifier(self.root, self.manifest)

    def run(self, threads: int, until: float) -> dict[str, Any]:
        """Walk and hash; see :func:`restore_drill.engines.files_probe.examine` for what comes back."""
        walked: dict[str, Any] = {}
        hashed = Summary()
        compared: Counter[str] = Counter()
        wrong: dict[str, list[str]] = {"mismatched": [], "missing": [], "through": []}
        for answer in self._answers(threads if self.manifest else 1, until):
            if "walked" in answer:
                walked = answer["walked"]
                continue
            compared.update(verified=answer["verified"], bytes=answer["bytes"])
            hashed.add(answer["seen"], answer["newest"])
            for kind, names in wrong.items():
                names += answer.get(kind, ())  # noqa: PLW2901 - the list itself is meant
        summary = Summary(**walked.pop("summary"))
        summary.add(hashed.bytes, hashed.newest)
        return self._conclude({**summary.facts(), **walked}, compared, wrong)

    def _answers(self, workers: int, until: float) -> Iterator[dict[str, Any]]:
        try:
            yield from spread(self._tasks(workers), self._work, workers=workers, until=until)
        finally:
            if self.verifier is not None:
                self.verifier.close()

    def _tasks(self, workers: int) -> Iterator[Any]:
        yield _WALK
        if self.manifest:
            yield from self.manifest.spans(workers)

    def _work(self, task: str | Span) -> dict[str, Any]:
        if isinstance(task, str):
            visitor = _Visitor(self)
            walk(self.root, visitor.visit)
            return {"walked": visitor.answer()}
        assert self.verifier is not None  # noqa: S101 - slices are only of a manifest
        return self.verifier.verify(task)

    def _conclude(self, walked: dict[str, Any], compared: Counter[str], wrong: dict[str, list[str]]) -> dict[str, Any]:
        surplus, names = walked.pop("surplus"), walked.pop("surplus_names")
        facts = {**walked, "notes": self.manifest.notes() if self.manifest else []}
        facts["details"] = self.details + walked["details"]
        if self.problem:
            facts["manifest"] = {"problem": self.problem}
        if self.manifest is None:
            return facts
        through = set(wrong["through"]) & set(names)
        facts["details"] += [
            *_shown("differs from the manifest", wrong["mismatched"]),
            *_shown("is listed but missing", wrong["missing"]),
            *_shown("is not in the manifest", [name for name in names if name not in through]),
        ]
        facts["manifest"] = {
            "algorithm": self.manifest.algorithm,
            "listed": len(self.manifest.order),
            "verified": compared["verified"],
            "bytes": compared["bytes"],
            "mismatched": len(wrong["mismatched"]),
            "missing": len(wrong["missing"]),
            "extra": surplus - len(through),
        }
        return facts


class _Visitor:
    """What the walk collects."""

    def __init__(self, asked: Examination) -> None:
        self._asked = asked
        self._listed = asked.manifest.listed if asked.manifest else None
        own = asked.manifest.name if asked.manifest else ""
        # No manifest can list itself, and of two beside each other the first cannot list the second.
        self._manifests = {own, *(f"{own.rpartition('/')[0]}/{name}".lstrip("/") for name in MANIFEST_NAMES)}
        self._summary = Summary()
        self._exist = dict.fromkeys(asked.must_exist.patterns, 0)
        self._not_exist = dict.fromkeys(asked.must_not_exist.patterns, 0)
        self._top: Counter[str] = Counter()
        self._has_globs = bool(asked.must_exist.patterns or asked.must_not_exist.patterns)
        self._forbidden: list[str] = []
        self._surplus = 0
        self._surplus_names: list[str] = []

    def visit(self, path: str, entry: os.DirEntry[str]) -> None:
        """Take in one entry; of a listed file only that it is there: who hashes it has looked at it."""
        is_listed = self._listed is not None and path in self._listed
        if is_listed and entry.is_file(follow_symlinks=False):
            self._summary.files += 1
        else:
            self._summary.count(entry.stat(follow_symlinks=False))
        is_directory = entry.is_dir(follow_symlinks=False)
        if self._has_globs:
            self._match(path, is_directory=is_directory)
        if is_directory:
            return
        head, slash, _ = path.partition("/")
        self._top[head if slash else "."] += 1
        if self._listed is not None and not is_listed:
            self._not_listed(path, entry)

    def _match(self, path: str, *, is_directory: bool) -> None:
        for pattern in self._asked.must_exist.matches(path, is_directory=is_directory):
            self._exist[pattern] += 1
        for pattern in self._asked.must_not_exist.matches(path, is_directory=is_directory):
            self._not_exist[pattern] += 1
            if len(self._forbidden) < _MOST_SHOWN:
                self._forbidden.append(f"{readable(path)} matches {pattern}")

    def _not_listed(self, path: str, entry: os.DirEntry[str]) -> None:
        if path in self._manifests or not entry.is_file(follow_symlinks=False):
            return
        if self._asked.ignore.matches(path, is_directory=False):
            return
        self._surplus += 1
        if len(self._surplus_names) < _MOST_EXTRA:
            self._surplus_names.append(path)

    def answer(self) -> dict[str, Any]:
        """It as JSON values."""
        return {
            "summary": dataclasses.asdict(self._summary),
            "must_exist": self._exist,
            "must_not_exist": self._not_exist,
            "details": [
                *self._forbidden,
                *(f"{count} files and links in {readable(name)}" for name, count in self._top.most_common(20)),
            ],
            "surplus": self._surplus,
            "surplus_names": self._surplus_names,
        }


def readable(name: str) -> str:
    """A file's name as one line of printable ASCII."""
    return ascii(name)[1:-1]


def _shown(what: str, names: list[str]) -> list[str]:
    lines = [f"{readable(name)} {what}" for name in sorted(names)[:_MOST_SHOWN]]
    return [*lines, f"and {len(names) - _MOST_SHOWN} more that {what}"] if len(names) > _MOST_SHOWN else lines
