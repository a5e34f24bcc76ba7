"""Snapshots of etcd, as ``etcdctl snapshot save`` writes them: brought back into a data directory that an etcd serves.

A snapshot is a bbolt database with its SHA-256 behind it. That is compared before anything opens the file, and never
skipped: a file that was copied out of a data directory has none, and a damaged one ends etcd half way. The server
listens on sockets of the sandbox's directory only. What touches restored bytes is in :mod:`.etcd_probe`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from restore_drill.engines.base import Engine, Linked, Restored, RestoreOptions, Sample, nothing_came_back
from restore_drill.errors import UsageProblem
from restore_drill.model import Payload, PayloadForm
from restore_drill.sandboxes.base import Sandbox

_PROBE: Final = "restore_drill.engines.etcd_probe"
_GRACE: Final = 15.0
#: A bbolt page's header (16 bytes: a meta page has flag 4), and the magic number behind it.
_META: Final = (4).to_bytes(2, "little")
_MAGIC: Final = (0xED0CDAED).to_bytes(4, "little")


class EtcdEngine(Engine):
    """etcd 3.

    Its only option is ``prefixes``: beginnings of keys that are counted each, as tables of that name.
    """

    name: ClassVar[str] = "etcd"
    forms: ClassVar[tuple[PayloadForm, ...]] = (PayloadForm.FILE,)
    checks: ClassVar[frozenset[str]] = frozenset({"integrity", "structure", "rows"})
    programs: ClassVar[tuple[str, ...]] = ("etcd", "etcdctl")

    @classmethod
    def recognises(cls, head: bytes) -> str | None:
        """By the first page of a bbolt database."""
        return "etcd-snapshot" if head[8:10] == _META and head[16:20] == _MAGIC else None

    def link(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Linked:
        """Compare the digest at the end of the snapshot.

        Raises:
            BackupFailed: There is none, or it is wrong (stage ``unpack``).
        """
        for payload in payloads:
            arguments = {"payload": str(payload.path.relative_to(sandbox.work))}
            sandbox.call(f"{_PROBE}:verify", arguments, deadline=options.deadline)
        return Linked(tuple(payloads))

    def restore(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Restored:
        """Restore it, start a server over it, and ask that what it holds.

        Raises:
            BackupFailed: etcd refuses it, or there is not one key.
            CouldNotVerify: etcd or etcdctl is missing, or time did not suffice.
            UsageProblem: The catalogue gives this engine an option that it does not have.
        """
        arguments = {
            "payload": str(payloads[-1].path.relative_to(sandbox.work)),
            "prefixes": _prefixes(options.settings),
            "seconds": options.deadline,
        }
        facts = sandbox.call(f"{_PROBE}:restore", arguments, deadline=options.deadline + _GRACE)
        if not facts["counts"]["keys"] and not options.allow_empty:
            raise nothing_came_back("there is not one key")
        return RestoredEtcd(sandbox, facts)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """A good snapshot and damaged ones; see :mod:`.etcd_samples`."""
        from restore_drill.engines.etcd_samples import samples

        yield from samples()


class RestoredEtcd(Restored):
    """What an etcd over the restored data answered before it was stopped."""

    def __init__(self, sandbox: Sandbox, facts: Mapping[str, Any]) -> None:
        self._sandbox = sandbox
        self._counts: dict[str, int] = facts["counts"]
        self._problems: list[dict[str, Any]] = facts["problems"]
        self.facts = {
            "summary": f"an etcd of {self._counts['keys']:,} keys at revision {facts['revision']:,}",
            **{key: facts[key] for key in ("revision", "etcd", "hash")},
        }
        self.notes = []

    def integrity(self, mode: str = "full") -> dict[str, Any]:  # noqa: ARG002 - there is one way
        """Whether the server is healthy, has no alarm, and could read every key for its own hash of them."""
        return {"problems": self._problems, "checked": ["health", "alarm", "hash"], "details": []}

    def structure(self) -> dict[str, list[str]]:
        """The prefixes that the catalogue names and that have a key; other keys are nobody's business."""
        return {"prefix": [name for name, count in self._counts.items() if count and name != "keys"]}

    def row_counts(self) -> dict[str, int]:
        """``keys``, and the keys below each prefix that the catalogue names."""
        return dict(self._counts)

    @property
    def path(self) -> Path:
        """The data directory."""
        return self._sandbox.work / "restored-etcd"


def _prefixes(settings: Mapping[str, Any]) -> list[str]:
    unknown = sorted(settings.keys() - {"prefixes"})
    if unknown:
        raise UsageProblem(f"the etcd engine has no option {', '.join(unknown)}", remedy="It has prefixes.")
    prefixes = settings.get("prefixes", ())
    good = isinstance(prefixes, list | tuple) and all(isinstance(one, str) and one.isprintable() for one in prefixes)
    if not good or not all(prefixes) or any(one == "keys" or one.startswith("-") for one in prefixes):
        raise UsageProblem(
            "the etcd engine's option prefixes is not a list of beginnings of keys",
            remedy="Write them as they are stored: engine_options: {prefixes: [/registry/secrets/]}.",
        )
    return list(prefixes)
