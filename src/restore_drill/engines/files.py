"""File trees: what tar, a Docker volume archive or an rsync generation brings back.

A drill has unpacked or copied the tree into its quarantine already; after the checksum verdict restoring is a rename,
and for a chain laying the later trees over the first. Examining it walks it once and hashes it on every core.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from restore_drill.engines.base import Engine, Linked, Restored, RestoreOptions, Sample, nothing_came_back
from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.listings import beside
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.quantities import format_size
from restore_drill.registry import load, names
from restore_drill.sandboxes.base import Sandbox

_PROBE = "restore_drill.engines.files_probe"
_LISTING = "restore_drill.engines.files_listing"
#: Rows of a list that cross the border of the sandbox at once.
_PIECE = 5000
_ROOT = "restored"


class FilesEngine(Engine):
    """Directories and archives of files."""

    name: ClassVar[str] = "files"
    forms: ClassVar[tuple[PayloadForm, ...]] = (PayloadForm.TREE,)
    sandboxes: ClassVar[tuple[str, ...]] = ("directory", "container")
    functions_inside: ClassVar[bool] = True
    checks: ClassVar[frozenset[str]] = frozenset({"files", "newest"})
    chains: ClassVar[bool] = True

    @classmethod
    def recognises(cls, head: bytes) -> str | None:
        """The archive format that the content has; anything else holds no tree."""
        return next((name for name in names("archives") if load("archives", name).recognises(head)), None)

    def link(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Linked:
        """Make one tree of a chain, and hold it against what its archives list of their directories.

        Raises:
            BackupFailed: An archive of the chain is missing (stage ``chain``), or lacks what it lists (``unpack``).
            UsageProblem: The catalogue gives this engine an option that it does not have.
        """
        not_archived = _settings(options)
        if len(payloads) == 1 and not beside(payloads[0].path).exists():
            return Linked(tuple(payloads))
        joined = payloads[0].path.with_name("joined")
        facts = sandbox.call(
            f"{_PROBE}:join",
            {
                "trees": [str(payload.path) for payload in payloads],
                "root": str(joined),
                "not_archived": not_archived,
            },
            deadline=options.deadline,
        )
        return Linked((replace(payloads[-1], path=joined),), _told(len(payloads), facts))

    def restore(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Restored:
        """Make the final tree ``restored/`` of the quarantined ones, oldest first.

        Raises:
            BackupFailed: Not a single file came back, or the trees of a chain do not fit together.
            UsageProblem: The catalogue gives this engine an option that it does not have.
        """
        trees = [str(payload.path) for payload in payloads]
        facts = sandbox.call(
            f"{_PROBE}:assemble",
            {"trees": trees, "root": _ROOT, "not_archived": _settings(options)},
            deadline=options.deadline,
        )
        if not facts["files"] and not options.allow_empty:
            raise nothing_came_back(f"not a single file in {facts['directories']} directories")
        return RestoredFiles(sandbox, options, facts, len(payloads))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """A good archive and damaged ones; see :mod:`restore_drill.engines.files_samples`."""
        from restore_drill.engines.files_samples import samples

        yield from samples()


def _settings(options: RestoreOptions) -> list[str]:
    unknown = sorted(options.settings.keys() - {"not_archived"})
    if unknown:
        raise UsageProblem(
            f"the files engine has no option {', '.join(unknown)}",
            remedy="Remove it from engine_options of the target; there is only not_archived.",
        )
    globs = options.settings.get("not_archived", [])
    if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
        raise UsageProblem(
            "engine_options.not_archived is no list of globs", remedy='Write it like this: ["cache/**", "**/*.sock"].'
        )
    return globs


def _told(links: int, facts: Mapping[str, int]) -> tuple[str, ...]:
    notes = [f"{links} archives of a chain laid over each other"] if links > 1 else []
    done = " and ".join(f"{facts[what]} {what}" for what in ("renamed", "removed") if facts[what])
    notes += [f"directories and files by their lists: {done}"] if done else []
    if facts["astray"]:
        notes.append(f"renamings of directories that are not there: {facts['astray']}")
    return tuple(notes)


class RestoredFiles(Restored):
    """A tree on disk."""

    def __init__(self, sandbox: Sandbox, options: RestoreOptions, facts: Mapping[str, Any], links: int) -> None:
        self._sandbox = sandbox
        self._options = options
        self._lists = 0
        self._counts = dict(facts)
        kept = {key: facts[key] for key in ("files", "directories", "links", "bytes", "owners_restored")}
        plural = "" if facts["files"] == 1 else "s"
        self.facts = {"summary": f"{facts['files']:,} file{plural}, {format_size(facts['bytes'])}", **kept}
        self.notes = [f"{links} archives of a chain laid over each other"] if links > 1 else []
        if not facts["owners_restored"]:
            self.notes.append("owners were not restored: the drill does not run as root")

    def files(self, rule: Mapping[str, Any]) -> dict[str, Any]:
        """Look at the tree.

        Args:
            rule: ``must_exist``, ``must_not_exist`` (globs), ``manifest`` (a path in the tree), ``manifest_ignore``
                (globs), ``below`` (directories to count the files of); an empty rule costs nothing.

        Returns:
            ``files``, ``directories``, ``links``, ``others``, ``bytes``, ``newest`` (seconds since the epoch, or
            ``None``), and what the rule asks for; see :func:`restore_drill.engines.files_probe.examine`.
        """
        asked = {key: value for key, value in rule.items() if value}
        if not asked:
            return {**self._counts, "must_exist": {}, "must_not_exist": {}, "notes": [], "details": []}
        found: dict[str, Any] = self._sandbox.call(
            f"{_PROBE}:examine",
            {"root": _ROOT, "threads": self._options.threads, **asked},
            deadline=self._options.deadline,
        )
        return found

    def entries(self, rule: Mapping[str, Any], deadline: float) -> Iterator[tuple[Any, ...]]:
        """The regular files that a glob matches; see :meth:`Restored.entries`."""
        self._lists += 1
        name, until = f"listing-{self._lists}", time.monotonic() + deadline
        asked = {"root": _ROOT, "glob": rule["glob"], "give": list(rule["give"]), "name": name}
        left: int = self._sandbox.call(f"{_LISTING}:write", asked, deadline=deadline)["rows"]
        offset = 0
        while left:
            piece = {"name": name, "offset": offset, "rows": _PIECE}
            found = self._sandbox.call(f"{_LISTING}:read", piece, deadline=max(1.0, until - time.monotonic()))
            if not found["rows"] or time.monotonic() > until:
                raise CouldNotVerify(
                    f"the list of files was not read to its end: {left} of them are left",
                    remedy="Give the checks more time (timeout), or the pattern less to match.",
                    stage=Stage.CONTENT,
                )
            yield from map(tuple, found["rows"])
            left, offset = left - len(found["rows"]), found["offset"]

    @property
    def path(self) -> Path:
        """The root of the tree, as seen from this machine."""
        return self._sandbox.work / _ROOT
