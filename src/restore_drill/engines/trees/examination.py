"""One look at a restored tree: counts, globs and the manifest, with the work spread over processes."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from restore_drill.digests import is_weak
from restore_drill.engines.trees.globs import Globs
from restore_drill.engines.trees.manifest import Span, Verifier, read_manifest, spans
from restore_drill.engines.trees.walk import Summary, walk
from restore_drill.errors import BackupFailed
from restore_drill.forks import spread
from restore_drill.manifests.base import DIRECTORY, FILE, Manifest, usual_names

#: Names of files beside the manifest that are told apart; more are only counted.
_MOST_EXTRA = 100_000
#: Names that reach the terminal, of each kind.
_MOST_SHOWN = 50
_WALK = "walk"
_ALIKE = "{} names differ only in case from another of their directory: Windows and macOS cannot hold both"
#: What adds up over the slices of a manifest.
_COUNTED = ("verified", "bytes", "counted", "modes")


@dataclass(slots=True)
class Examination:
    """A tree and what is asked of it. The walk is one task among the slices of the manifest: whoever is free takes it.

    Args:
        root: Descriptor of the tree's root.
        must_exist: Globs whose matches are counted.
        must_not_exist: Likewise, and the matches are named among the details.
        ignore: Globs of files that the manifest need not list.
        below: Directories to count the files below, each with a slash at its end.
    """

    root: int
    must_exist: Globs
    must_not_exist: Globs
    ignore: Globs
    below: Sequence[str] = ()
    manifest: Manifest | None = None
    verifier: Verifier | None = None
    problem: BackupFailed | None = None
    details: list[str] = field(default_factory=list)

    def compare_with(self, name: str) -> None:
        """Read a manifest of the tree; one that cannot be used becomes a fact."""
        try:
            self.manifest = read_manifest(self.root, name)
        except BackupFailed as problem:
            self.problem = problem
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
            compared.update({key: answer[key] for key in _COUNTED})
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
        if self.verifier:
            yield from spans(len(self.verifier.order), workers)

    def _work(self, task: str | Span) -> dict[str, Any]:
        if isinstance(task, str):
            visitor = _Visitor(self)
            walk(self.root, visitor.visit)
            return {"walked": visitor.answer()}
        assert self.verifier is not None  # noqa: S101 - slices are only of a manifest
        return self.verifier.verify(task)

    def _conclude(self, walked: dict[str, Any], compared: Counter[str], wrong: dict[str, list[str]]) -> dict[str, Any]:
        surplus, names = walked.pop("surplus"), walked.pop("surplus_names")
        unlisted, alike = walked.pop("unlisted"), walked.pop("alike")
        facts = {**walked, "notes": [_ALIKE.format(alike)] if alike else []}
        facts["details"] = self.details + walked["details"]
        if self.problem:
            facts["manifest"] = {"problem": self.problem.cause, "remedy": self.problem.remedy}
        if self.manifest is None:
            return facts
        through = set(wrong["through"]) & set(names)
        facts["details"] += [
            *_shown("differs from the manifest", wrong["mismatched"]),
            *_shown("is listed but missing", wrong["missing"]),
            *_shown("is not in the manifest", [name for name in names if name not in through]),
        ]
        strongest = self.manifest.strongest()
        facts["notes"] += [*_worth(strongest), *self.manifest.notes, *_remarks(compared["modes"], unlisted)]
        facts["manifest"] = {
            "algorithm": min(strongest, key=lambda name: (not is_weak(name), name), default=""),
            "listed": len(self.manifest.listed),
            "verified": compared["verified"],
            "bytes": compared["bytes"],
            "mismatched": len(wrong["mismatched"]),
            "missing": len(wrong["missing"]),
            "extra": surplus - len(through),
        }
        if self._total_differs(facts["manifest"], compared["counted"]):
            facts["manifest"] = {
                "problem": "its Payload-Oxum states another number of bytes than its files have",
                "remedy": "Find out what changed bag-info.txt; make the bag again.",
            }
        return facts

    def _total_differs(self, compared: Mapping[str, int], counted: int) -> bool:
        """Whether everything matches but the sum: what differs or is missing explains another sum by itself."""
        assert self.manifest is not None  # noqa: S101 - asked of a manifest only
        total = self.manifest.total
        return total is not None and compared["verified"] == compared["listed"] and total[0] != counted


def _worth(strongest: Counter[str]) -> list[str]:
    """What its algorithms are worth."""
    return [
        f"the manifest has {count} digests of {name}: collisions can be made"
        for name, count in sorted(strongest.items())
        if is_weak(name)
    ]


def _remarks(modes: int, unlisted: int) -> list[str]:
    notes = [f"{modes} entries have other permission bits than the manifest says"] if modes else []
    return [*notes, f"{unlisted} files beside the payload are in no manifest"] if unlisted else notes


class _Visitor:
    """What the walk collects."""

    def __init__(self, asked: Examination) -> None:
        self._asked = asked
        self._listed = asked.manifest.listed if asked.manifest else None
        own = asked.manifest.name if asked.manifest else ""
        # No manifest can list itself, and of two beside each other the first cannot list the second.
        self._manifests = {own, *(f"{own.rpartition('/')[0]}/{name}".lstrip("/") for name in usual_names())}
        self._summary = Summary()
        self._exist = dict.fromkeys(asked.must_exist.patterns, 0)
        self._not_exist = dict.fromkeys(asked.must_not_exist.patterns, 0)
        self._top: Counter[str] = Counter()
        self._directory, self._folded, self._alike = "", set[str](), 0
        self._below = dict.fromkeys(asked.below, 0)
        self._has_globs = bool(asked.must_exist.patterns or asked.must_not_exist.patterns)
        self._forbidden: list[str] = []
        self._kinds = asked.manifest.kinds if asked.manifest else FILE
        self._unlisted = 0
        self._surplus = 0
        self._surplus_names: list[str] = []

    def visit(self, path: str, entry: os.DirEntry[str]) -> None:
        """Take in one entry; of a listed file only that it is there: who hashes it has looked at it."""
        is_listed = self._listed is not None and path in self._listed
        is_directory = False
        if is_listed and entry.is_file(follow_symlinks=False):
            self._summary.files += 1
        else:
            self._summary.count(entry.stat(follow_symlinks=False))
            is_directory = entry.is_dir(follow_symlinks=False)
        self._fold(path, entry.name)
        if self._has_globs:
            self._match(path, is_directory=is_directory)
        if not is_directory:
            head, slash, _ = path.partition("/")
            self._top[head if slash else "."] += 1
            if self._below and entry.is_file(follow_symlinks=False):
                self._count_below(path)
        if self._listed is not None and not is_listed and (not is_directory or DIRECTORY in self._kinds):
            self._not_listed(path, entry, is_directory=is_directory)

    def _fold(self, path: str, name: str) -> None:
        """Count names that only differ in case from another of their directory, whose entries come in a row."""
        directory = path[: -len(name)]
        if directory != self._directory:
            self._directory = directory
            self._folded.clear()
        folded = name.casefold()
        if folded in self._folded:
            self._alike += 1
        self._folded.add(folded)

    def _count_below(self, path: str) -> None:
        at = path.find("/")
        while at >= 0:
            if path[: at + 1] in self._below:
                self._below[path[: at + 1]] += 1
            at = path.find("/", at + 1)

    def _match(self, path: str, *, is_directory: bool) -> None:
        for pattern in self._asked.must_exist.matches(path, is_directory=is_directory):
            self._exist[pattern] += 1
        for pattern in self._asked.must_not_exist.matches(path, is_directory=is_directory):
            self._not_exist[pattern] += 1
            if len(self._forbidden) < _MOST_SHOWN:
                self._forbidden.append(f"{readable(path)} matches {pattern}")

    def _not_listed(self, path: str, entry: os.DirEntry[str], *, is_directory: bool) -> None:
        if path in self._manifests or (self._kinds == FILE and not entry.is_file(follow_symlinks=False)):
            return
        if self._asked.ignore.matches(path, is_directory=is_directory):
            return
        if self._asked.manifest is not None and self._asked.manifest.need_not_list(path):
            self._unlisted += 1
            return
        self._surplus += 1
        if len(self._surplus_names) < _MOST_EXTRA:
            self._surplus_names.append(path)

    def answer(self) -> dict[str, Any]:
        """It as JSON values."""
        return {
            "summary": dataclasses.asdict(self._summary),
            "must_exist": self._exist,
            "below": list(self._below.values()),
            "must_not_exist": self._not_exist,
            "details": [
                *self._forbidden,
                *(f"{count} files and links in {readable(name)}" for name, count in self._top.most_common(20)),
            ],
            "alike": self._alike,
            "unlisted": self._unlisted,
            "surplus": self._surplus,
            "surplus_names": self._surplus_names,
        }


def readable(name: str) -> str:
    """A file's name as one line of printable ASCII."""
    return ascii(name)[1:-1]


def _shown(what: str, names: list[str]) -> list[str]:
    lines = [f"{readable(name)} {what}" for name in sorted(names)[:_MOST_SHOWN]]
    return [*lines, f"and {len(names) - _MOST_SHOWN} more that {what}"] if len(names) > _MOST_SHOWN else lines
