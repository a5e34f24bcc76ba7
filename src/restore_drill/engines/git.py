"""Git repositories: bundles (a full one, or a chain of incremental ones), and mirrors as trees.

Everything is put into a new, bare repository whose configuration is ours: of a mirror only objects and references are
taken, never its configuration, hooks or alternates, so that nothing of it can run (git-config(1) has many values that
name programs). ``git fsck --full`` then looks at every object. Nothing here touches restored bytes: what does is in
:mod:`.git_probe`, inside the sandbox.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from restore_drill.engines.base import Engine, Linked, Restored, RestoreOptions, Sample, nothing_came_back
from restore_drill.errors import UsageProblem
from restore_drill.model import Payload, PayloadForm
from restore_drill.sandboxes.base import Sandbox

_PROBE: Final = "restore_drill.engines.git_probe"
_QUERY: Final = "restore_drill.engines.sqlite_query:query"
_GRACE: Final = 10.0
_BUNDLE: Final = re.compile(rb"# v[23] git bundle\n")
_FSCK_ID: Final = re.compile(r"[a-zA-Z]{3,50}")


class GitEngine(Engine):
    """Git.

    Options: ``repository`` (where it lies in a tree), ``strict`` (also what git only warns of fails ``integrity``),
    ``ignore`` (ids of fsck's messages that are accepted, see git-fsck(1)), ``shallow`` (accept a history that is cut).
    """

    name: ClassVar[str] = "git"
    forms: ClassVar[tuple[PayloadForm, ...]] = (PayloadForm.FILE, PayloadForm.TREE)
    checks: ClassVar[frozenset[str]] = frozenset({"integrity", "structure", "rows", "query", "newest"})
    chains: ClassVar[bool] = True
    programs: ClassVar[tuple[str, ...]] = ("git",)

    @classmethod
    def recognises(cls, head: bytes) -> str | None:
        """By the signature of a bundle (gitformat-bundle(5))."""
        return "git-bundle" if _BUNDLE.match(head) else None

    def link(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Linked:
        """Unpack the bundles into the repository, oldest first: only that tells whether they build on each other.

        Raises:
            BackupFailed: A pack is damaged or cut (stage ``unpack``), commits that a later bundle builds on are in none
                before it (stage ``chain``), or the only bundle builds on others (stage ``restore``).
            UsageProblem: A chain that is not made of bundles.
        """
        bundles = [payload for payload in payloads if payload.form is PayloadForm.FILE]
        if len(payloads) > 1 and len(bundles) < len(payloads):
            raise UsageProblem(
                "a chain of Git backups is made of bundles", remedy="Give mirrors a path without {kind} or {seq}."
            )
        if bundles and all(payload.size for payload in bundles):
            paths = [str(payload.path.relative_to(sandbox.work)) for payload in bundles]
            arguments = {"payloads": paths, "seconds": options.deadline}
            sandbox.call(f"{_PROBE}:unbundle", arguments, deadline=options.deadline + _GRACE)
        return Linked(tuple(payloads))

    def restore(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Restored:
        """Count what the unpacked bundles hold together, or adopt the objects of a mirror.

        Raises:
            BackupFailed: Objects are missing, git refuses the references, or nothing came back.
            CouldNotVerify: Git is missing or too old, or time did not suffice.
            UsageProblem: The catalogue gives this engine an option that it does not have.
        """
        settings = _settings(options.settings)
        arguments = {
            "payloads": [str(payload.path.relative_to(sandbox.work)) for payload in payloads],
            "tree": payloads[0].form is PayloadForm.TREE,
            "repository": settings["repository"],
            "seconds": options.deadline,
        }
        facts = sandbox.call(f"{_PROBE}:restore", arguments, deadline=options.deadline + _GRACE)
        if not facts["counts"]["commits"] and not options.allow_empty:
            raise nothing_came_back("the repository has no commit")
        return RestoredGit(sandbox, options, settings, facts)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """A good bundle and mirror, and damaged ones; see :mod:`.git_samples`."""
        from restore_drill.engines.git_samples import samples

        yield from samples()


class RestoredGit(Restored):
    """A bare repository of our own making."""

    def __init__(
        self, sandbox: Sandbox, options: RestoreOptions, settings: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> None:
        self._sandbox = sandbox
        self._options = options
        self._settings = settings
        self._counts: dict[str, int] = facts["counts"]
        self._branches: list[str] = facts["branches"]
        self._shallow: int = facts["shallow"]
        self._database = ""
        counts = self._counts
        summary = f"a Git repository of {counts['commits']:,} commits, {counts['refs']:,} references"
        self.facts = {"summary": summary, "git": facts["git"], "shallow": self._shallow, **counts}
        self.notes = list(facts["notes"])

    def integrity(self, mode: str = "full") -> dict[str, Any]:
        """``git fsck --full`` (``--connectivity-only`` for a quick one), and whether the history is whole."""
        arguments = {
            "quick": mode != "full",
            "strict": self._settings["strict"],
            "ignore": list(self._settings["ignore"]),
            "seconds": self._options.deadline,
        }
        found: dict[str, Any] = self._call("fsck", arguments)
        if self._shallow and not self._settings["shallow"]:
            message = "commits have no parents because the clone is shallow"
            found["problems"].append({"rule": "shallow", "message": message, "count": self._shallow})
        return found

    def structure(self) -> dict[str, list[str]]:
        """The main branches only: others come and go, and their names are nobody's business."""
        return {"branch": self._branches}

    def row_counts(self) -> dict[str, int]:
        """``commits``, ``trees``, ``blobs`` and ``annotated_tags`` that can be reached; ``refs``, ``branches``,
        ``tags``.
        """  # noqa: D205 - a list that does not fit
        return dict(self._counts)

    def query(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:
        """The rows of one read-only statement over what the history is made of.

        Tables: ``commits`` (``id``, ``parents``, ``committed_at``, ``authored_at``: seconds since the epoch) and
        ``refs`` (``name``, ``id``, ``type``).
        """
        seconds = self._options.deadline if deadline is None else deadline
        if not self._database:
            self._database = str(self._call("load", {"seconds": self._options.deadline}))
        arguments = {"database": self._database, "sql": sql, "seconds": seconds}
        return [tuple(row) for row in self._sandbox.call(_QUERY, arguments, deadline=seconds + _GRACE)]

    @property
    def path(self) -> Path:
        """The bare repository."""
        return self._sandbox.work / "restored.git"

    def _call(self, function: str, arguments: Mapping[str, Any]) -> Any:
        deadline = self._options.deadline + _GRACE
        return self._sandbox.call(f"{_PROBE}:{function}", arguments, deadline=deadline)


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    settings = {"repository": "", "strict": False, "ignore": (), "shallow": False, **given}
    unknown = sorted(settings.keys() - {"repository", "strict", "ignore", "shallow"})
    if unknown:
        raise UsageProblem(
            f"the git engine has no option {', '.join(unknown)}",
            remedy="It has repository, strict, ignore and shallow.",
        )
    path, ignored = settings["repository"], settings["ignore"]
    if not isinstance(path, str) or path.startswith("/") or ".." in path.split("/"):
        raise UsageProblem(
            "the git engine's option repository is not a path inside the tree",
            remedy="Write it relative to the root of the tree: engine_options: {repository: srv/app.git}.",
        )
    named = isinstance(ignored, list | tuple) and all(
        isinstance(one, str) and _FSCK_ID.fullmatch(one) for one in ignored
    )
    if not named or not all(isinstance(settings[name], bool) for name in ("strict", "shallow")):
        raise UsageProblem(
            "an option of the git engine has a wrong value",
            remedy="ignore is a list of message ids of git fsck; strict and shallow are true or false.",
        )
    return settings
