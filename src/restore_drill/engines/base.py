"""The contract of an engine: bring one kind of system back to life, and examine it.

An engine MUST

* say what it recognises content as, by the first bytes, so that an error page is never restored;
* restore only from the payload it is given, which has passed its checksum, and only inside the sandbox;
* raise :class:`BackupFailed` when nothing came back, however content the tools are;
* touch restored bytes in the sandbox only (``sandbox.call``/``exec``), with a deadline;
* ship ``samples``: a good one and damaged ones that its own checks catch.

Every engine passes :class:`restore_drill.testing.engine.EngineConformance`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Final

from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.outline import lines_of
from restore_drill.sandboxes.base import Sandbox

#: What servers call a database that the backup has no name for; one that is really called so is not among ``unnamed``.
UNNAMED: Final = "restored"


@dataclass(frozen=True, slots=True)
class Served:
    """How an application may reach a restored server.

    Attributes:
        socket: Its Unix socket, as seen from this machine.
        notes: Remarks that change no verdict.
    """

    socket: Path
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """What a restore may use and is asked for.

    Attributes:
        deadline: Seconds for the restore itself, and for each later check.
        settings: The target's own options for this engine (``engine_options`` in the catalogue).
        wanted: Short names of the checks that will be asked, so that they can be measured together.
        allow_empty: Accept a system that came back without a single row or file.
        threads: How many cores the engine may use.
        integrity: How deep the integrity check will be asked to go (``full``, ``quick``).
        depth: ``full``, ``schema`` (no rows are restored) or ``sample`` (rows of ``tables`` only).
        tables: The tables of a sample.
        strict: What a faithful dump may contain and the catalogue wants to fail all the same, by the engine's names.
        owned: Whether the owners of a tree are the backup's: what a runbook leaves belongs to whom its steps ran as.
    """

    deadline: float = 3600.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    wanted: frozenset[str] = frozenset()
    allow_empty: bool = False
    threads: int = 1
    integrity: str = "full"
    depth: str = "full"
    tables: tuple[str, ...] = ()
    strict: frozenset[str] = frozenset()
    owned: bool = True


class Restored(ABC):
    """A restored system, alive in its sandbox until the drill disposes of it.

    Methods an engine does not have raise :class:`CouldNotVerify`; the catalogue is refused before that when it asks
    for a check that the engine does not support.
    """

    #: What the restore itself measured (JSON values): recovered WAL frames, statements, members. ``summary`` says what
    #: came back in a few words without names. Of servers, what their runbooks are made of: ``databases`` (the examined
    #: one first), ``unnamed`` (those of them that the backup has no name for), ``stood_in`` (how many roles or accounts
    #: were made because it speaks of them and lacks them), and ``provided`` (databases that it does not make itself,
    #: where there are dumps that do).
    facts: dict[str, Any]
    #: Remarks that change no verdict.
    notes: list[str]

    def prepare(self, wanted: frozenset[str]) -> None:
        """Begin to measure what the planned checks will ask for; returns at once. Optional."""

    def integrity(self, mode: str = "full") -> dict[str, Any]:  # noqa: ARG002 - overridden where there is something to ask
        """The engine's own consistency checks: ``{"problems": [{"rule", "message", "count"}], "checked": [...]}``.

        Beside them, where there are any: ``remarks`` of the same form, on what a faithful backup may contain (each
        fails where ``expect.strict`` lists its rule), ``undone`` (what could not be looked at in time, in words: no
        pass then), and ``details``.
        """
        raise self._cannot("check its integrity")

    def structure(self) -> dict[str, list[str]]:
        """Names of the objects in it, by type: ``{"table": [...], "index": [...], …}``."""
        raise self._cannot("list its structure")

    def outline(self) -> list[str]:
        """What a reviewed reference is compared with: sorted lines (:mod:`restore_drill.outline`) of every object.

        May say more of an object than its name, as long as every version of the system says the same.
        """
        return lines_of(self.structure())

    def row_counts(self) -> dict[str, int]:
        """Exact rows of every table that could be counted in time."""
        raise self._cannot("count rows")

    def estimates(self) -> dict[str, int]:
        """What is assumed of tables that could not be counted in time; no rule is ever judged by it."""
        return {}

    def dsn(self) -> str:
        """How a driver of the user's own connects to it from this machine, over a Unix socket; no secret is in it."""
        raise self._cannot("be connected to")

    def query(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:  # noqa: ARG002 - as above
        """The rows of one read-only statement.

        Raises:
            CouldNotVerify: The statement is wrong, writes, or misses its deadline.
        """
        raise self._cannot("answer queries")

    def scalar(self, sql: str, deadline: float | None = None) -> Any:
        """The first value of the first row, or ``None`` when there is no row."""
        rows = self.query(sql, deadline)
        return rows[0][0] if rows else None

    def files(self, rule: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - as above
        """Counts, bytes, matches and manifest comparison of a restored tree."""
        raise self._cannot("look at files")

    def smoke(self, rule: Mapping[str, Any], deadline: float) -> dict[str, Any]:  # noqa: ARG002 - as above
        """Try the restored application with a command or a request, within some seconds.

        Args:
            rule: ``run`` (a program and its arguments), or a request's ``port``, ``path``, ``status`` and ``contains``.
            deadline: Seconds until it is given up.

        Returns:
            ``outcome`` (``ended``, ``answered``, ``silent`` or ``late``), ``status`` (a program's, or of the answer),
            ``contains`` (whether the answer does), ``application`` (``up``, ``none``, or how it ended) and ``details``.

        Raises:
            CouldNotVerify: It could not be tried.
        """
        raise self._cannot("try an application")

    def entries(self, rule: Mapping[str, Any], deadline: float) -> Iterator[tuple[Any, ...]]:  # noqa: ARG002 - as above
        """The regular files of a restored tree, a row each; in no order.

        Args:
            rule: ``glob``, and ``give``: which of ``path``, ``bytes`` and ``sha256`` make a row.
            deadline: Seconds until it is given up.

        Raises:
            CouldNotVerify: The glob means nothing, or the tree cannot be read in time.
        """
        raise self._cannot("list its files")

    def serve(self, account: str, password: str) -> Served:  # noqa: ARG002 - as above
        """Let an application reach the restored server: it may then read and write what was restored.

        Args:
            account: Whom it logs in as, as its own configuration has it; ``""`` for whoever can anyway.
            password: What it gives as that account's; made up for the drill.

        Raises:
            CouldNotVerify: It is on another machine, or the account cannot be let in.
        """
        raise self._cannot("serve an application")

    @property
    def path(self) -> Path:
        """The file or directory that was restored, as seen from this machine."""
        raise self._cannot("show a path")

    def close(self) -> None:
        """Let go of it; the sandbox is disposed of afterwards."""

    def _cannot(self, what: str) -> CouldNotVerify:
        return CouldNotVerify(f"this engine cannot {what}", remedy="Remove the expectation, or write your own case.")


class EmptyServer(ABC):
    """A server without anything of a backup in it, which a runbook restores into.

    Attributes:
        data: The directory that programs may write to, as they see it.
        environment: The variables by which its client programs find it; no secret.
    """

    data: str
    environment: Mapping[str, str]

    @abstractmethod
    def examine(self, database: str | None) -> Restored:
        """What is in it now.

        Args:
            database: The one to examine; ``None``: every one that was made.

        Raises:
            BackupFailed: There is nothing.
        """

    @abstractmethod
    def left(self, database: str | None) -> str:
        """The databases that :meth:`examine` would find now, ``""`` when there is none."""


@dataclass(frozen=True, slots=True)
class Linked:
    """What an engine made of the links of a chain.

    Attributes:
        payloads: What is left to restore, oldest first.
        notes: Remarks that change no verdict.
    """

    payloads: tuple[Payload, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Sample:
    """A backup that an engine brings along to prove that its checks can fail.

    Attributes:
        name: What is wrong with it, or ``good``.
        caught_by: Short name of the case that must fail, or ``""`` for a good one.
        build: Writes the content into a directory and returns its path.
    """

    name: str
    caught_by: str
    build: Callable[[Path], Path]


class Engine(ABC):
    """One kind of system."""

    name: ClassVar[str]
    #: Payload forms it can restore from, in order of preference.
    forms: ClassVar[tuple[PayloadForm, ...]]
    #: Sandboxes it runs in.
    sandboxes: ClassVar[tuple[str, ...]] = ("directory",)
    #: Short names of the checks that make sense for it.
    checks: ClassVar[frozenset[str]]
    #: Whether functions of ours alone restore and examine it, so that a container can run them: ``Sandbox.enclose``.
    functions_inside: ClassVar[bool] = False
    #: How deep it can restore: see ``RestoreOptions.depth``.
    depths: ClassVar[tuple[str, ...]] = ("full",)
    #: What ``strict:`` of the catalogue may list for it, with what it means in words.
    strictness: ClassVar[Mapping[str, str]] = {}
    #: Options that a target must give it under ``engine_options``, each with an example.
    required_options: ClassVar[Mapping[str, str]] = {}
    #: Whether a target must name the image of its sandbox: there is no official one.
    image_required: ClassVar[bool] = False
    #: Programs that a restore runs, for ``restore-drill doctor``; a missing one is told by ``ProgramMissing``.
    programs: ClassVar[tuple[str, ...]] = ()
    #: Modules that nothing but its sandbox imports: what is missing of them is told by the restore and by
    #: ``restore-drill doctor`` (see :func:`restore_drill.registry.require`), and keeps no other target from its drill.
    libraries: ClassVar[tuple[str, ...]] = ()
    #: Whether it can apply differential, incremental or log artifacts on top of a full one.
    chains: ClassVar[bool] = False
    #: The port on which applications look for its server, 0 where what it restores is none: see ``Restored.serve``.
    port: ClassVar[int] = 0

    @classmethod
    @abstractmethod
    def recognises(cls, head: bytes) -> str | None:
        """What content that begins with these bytes is (``sqlite-database``), or ``None`` when not this engine's."""

    @abstractmethod
    def restore(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Restored:
        """Bring it back. ``payloads`` is the chain, oldest first; one entry unless ``chains``.

        Raises:
            BackupFailed: The engine refuses it, or nothing came back (stage ``restore``).
            CouldNotVerify: A program, an image or the deadline was missing.
        """

    def link(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Linked:  # noqa: ARG002
        """Put the links of a chain together before it is restored, where that proves whether they are all there.

        Called once, after every checksum verdict and before ``restore``, which is given what this returns. Optional.

        Raises:
            BackupFailed: A link is missing or out of order (stage ``chain``), or lacks what it says it holds (stage
                ``unpack``).
            CouldNotVerify: A program or the deadline was missing.
        """
        return Linked(tuple(payloads))

    @classmethod
    def offers_server(cls, facts: Mapping[str, Any]) -> bool:  # noqa: ARG003 - most bring back files
        """Whether a runbook restores into a server (:meth:`empty_server`) rather than leaving a file or a tree.

        Args:
            facts: What the drill's own restore measured (``Restored.facts``).
        """
        return False

    def empty_server(self, sandbox: Sandbox, options: RestoreOptions, facts: Mapping[str, Any]) -> EmptyServer:  # noqa: ARG002
        """An empty server like the one that the drill's own restore was into.

        Raises:
            CouldNotVerify: A program, an image or the deadline was missing.
        """
        raise CouldNotVerify(f"the engine {self.name} has no server that a runbook could restore into")

    @classmethod
    @abstractmethod
    def samples(cls) -> Iterator[Sample]:
        """A good sample and damaged ones."""


def nothing_came_back(what: str) -> Any:
    """The error for a restore that went well and brought nothing."""
    from restore_drill.errors import BackupFailed

    return BackupFailed(
        f"nothing came back: {what}",
        remedy="Check what the backup job reads; set expect.allow_empty if an empty system is right.",
        stage=Stage.RESTORE,
    )


def never_up(problem: DeadlineExceeded) -> CouldNotVerify:
    """The error for a server that does not come up before anything of the backup is in it."""
    return CouldNotVerify(
        f"{problem.cause}, and nothing of the backup was in it yet",
        remedy="Look at the details and at the machine's load, and give the target's sandbox more memory or processes.",
        stage=Stage.RESTORE,
        details=problem.details,
    )
