"""One container, from its creation to the proof that it is gone."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from restore_drill.errors import CouldNotVerify
from restore_drill.process import ProgramMissing
from restore_drill.sandboxes.containers import archives, removing, spec
from restore_drill.sandboxes.containers.accounts import Account
from restore_drill.sandboxes.containers.client import Engine, Missing, Refused
from restore_drill.sandboxes.containers.hijack import Hijack
from restore_drill.sandboxes.containers.memory import Shortages
from restore_drill.sandboxes.containers.streams import Conversation, Pump
from restore_drill.sandboxes.containers.watch import Watch, gone, out_of_memory

#: Between two questions whether something has happened that the engine does not announce.
_ASK_EVERY: Final = 0.01
#: By which engines refuse to run what is not there.
_NOT_FOUND: Final = ("command that was not found", "executable file not found")
#: Seconds in which an engine tells that the kernel ended a process.
_TOLD: Final = 0.5
#: Seconds in which the reason for an end must be known that was noticed elsewhere first.
_REASON: Final = 2.0


class Keeper:
    """A container, its streams, its watch, and why it ended.

    Args:
        engine: Where it is.
        container: Its id; it was created and not started.
        account: What programs in it run as.
        bounds: What it may use.
    """

    def __init__(self, engine: Engine, container: str, account: Account, bounds: spec.Bounds) -> None:
        self.engine = engine
        self.container = container
        self.account = account
        self.bounds = bounds
        self.state: Mapping[str, Any] = {}
        self._shortages: Shortages | None = None
        self._pump: Pump | None = None
        self._watch: Watch | None = None
        self._line: Conversation | None = None
        self._reason: CouldNotVerify | None = None
        self._ending = threading.Lock()

    def start(self, sockets: Path | None, volumes: Sequence[str] = ()) -> None:
        """Start it, tied to a connection of this process.

        Args:
            sockets: A directory of this machine that it may write to.
            volumes: Names of those that it may write to.

        Raises:
            Refused: The engine cannot start it.
            CouldNotVerify: The engine did not answer.
        """
        hijack = self.engine.hijack(f"/containers/{self.container}/attach?stdin=1&stream=1")
        self._pump = Pump(f"container-{self.container[:12]}")
        self._line = self._pump.add(Conversation(hijack))
        with self.engine.asking("start the container"):
            self.engine.api.start(self.container)
            self.state = self.engine.api.inspect_container(self.container)
        self._shortages = Shortages(self.engine, self.container, self.state)
        self._watch = Watch(self, self._shortages, sockets, volumes)

    def put(self, directory: str, archive: Any) -> None:
        """Unpack a tar archive (bytes, or an iterator of them) in it, as the engine and not as the account.

        Raises:
            CouldNotVerify: The engine refused it.
        """
        try:
            with self.engine.asking("take in files for the container"):
                self.engine.api.put_archive(self.container, directory, archive)
        except (Missing, Refused) as problem:
            self.check()
            raise CouldNotVerify(
                "the container engine did not take in files for the container",
                looked_at=directory,
                remedy="Look for room on the engine's disk.",
                details=(str(problem),),
            ) from problem

    def begin(
        self, argv: Sequence[str], stdin: bytes, environment: Mapping[str, str] | None
    ) -> tuple[str, Conversation]:
        """Start a program, and return the id of its execution and its streams.

        Raises:
            CouldNotVerify: The container has ended, or the engine refused.
        """
        execution, hijack = self.open(argv, environment, fed=bool(stdin))
        assert self._pump  # noqa: S101 - it was started
        return execution, self._pump.add(Conversation(hijack, stdin))

    def open(
        self, argv: Sequence[str], environment: Mapping[str, str] | None = None, *, fed: bool = True
    ) -> tuple[str, Hijack]:
        """Start a program whose streams the caller looks after; raises as :meth:`begin` does."""
        self.check()
        variables = [f"{name}={value}" for name, value in (environment or {}).items()]
        try:
            with self.engine.asking("run a program"):
                made = self.engine.api.exec_create(
                    self.container, list(argv), stdin=fed, user=self.account.spec,
                    environment=variables, workdir=spec.DATA,
                )  # fmt: skip
            execution = str(made["Id"])
            hijack = self.engine.hijack(f"/exec/{execution}/start", {"Detach": False, "Tty": False})
        except (Missing, Refused) as problem:
            self._explain_end()
            if any(words in str(problem) for words in _NOT_FOUND):
                raise missing(argv[0], str(problem).encode()) from problem
            raise CouldNotVerify(
                "the container engine did not run a program", details=(str(problem),), remedy="Look at its log."
            ) from problem
        return execution, hijack

    def status(self, execution: str) -> tuple[int, bool]:
        """The exit status of an execution whose streams have ended, and whether it ever began.

        Raises:
            CouldNotVerify: The container ended meanwhile.
        """
        until = time.monotonic() + removing.GONE
        while True:
            try:
                with self.engine.asking("say how a program ended"):
                    found = self.engine.api.exec_inspect(execution)
            except (Missing, Refused) as problem:
                self._explain_end()
                raise gone() from problem
            if not found["Running"] and found["ExitCode"] is not None:
                return int(found["ExitCode"]), bool(found.get("Pid"))
            if time.monotonic() > until:
                raise CouldNotVerify("the container engine does not say how a program ended", remedy="Look at its log.")
            time.sleep(_ASK_EVERY)

    def check(self) -> None:
        """Raise why the container ended, if it did."""
        if self._reason is not None:
            raise self._reason
        if self._line is not None and self._line.ended.is_set():
            self._explain_end()

    def check_cause(self, *, killed: bool) -> None:
        """Look whether a program that failed was made to fail.

        Args:
            killed: It was ended by a signal that cannot be caught, of which the reason may be told a moment later.

        Raises:
            CouldNotVerify: The kernel ended a process for want of memory, so that what the others say proves nothing;
                or the container ended.
        """
        self.check()
        until = time.monotonic() + (_TOLD if killed else 0.0)
        while True:
            reason = self._look()
            if reason is not None:
                raise self._keep_reason(reason)
            if time.monotonic() >= until:
                break
            time.sleep(_ASK_EVERY)
        if killed and not self.engine.tells_shortages:
            raise out_of_memory(self.bounds.memory, "probably ")

    def end(self, reason: CouldNotVerify) -> None:
        """End the container and everything in it, and keep the reason for whoever asks something of it later."""
        self._keep_reason(reason)
        with contextlib.suppress(Missing, Refused, CouldNotVerify), self.engine.asking("end the container"):
            self.engine.api.kill(self.container, "SIGKILL")
        if self._line is not None:
            self._line.hijack.finish()

    def remove(self) -> tuple[bool, str]:
        """End and remove it, and ask whether the engine still knows it: says whether it is gone, and how that is known.

        May be called again.
        """
        self._keep_reason(CouldNotVerify("the container was disposed of"))
        if self._watch is not None:
            self._watch.stop()
        problem = removing.remove(self.engine, "container", self.container)
        if self._pump is not None:
            self._pump.stop()
        if problem:
            return False, problem
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return True, f"container {self.container[:12]} removed; asked again at {stamp}, the engine does not know it"

    def let_go(self) -> None:
        """Close descriptors in a forked copy of the process."""
        if self._pump is not None:
            self._pump.let_go()

    def _keep_reason(self, reason: CouldNotVerify) -> CouldNotVerify:
        """Keep the first reason: what follows from it is not another."""
        with self._ending:
            self._reason = self._reason or reason
            return self._reason

    def _explain_end(self) -> None:
        """Raise why the container ended, where its end was noticed before the reason was; return if it did not."""
        until = time.monotonic() + _REASON
        while self._reason is None and time.monotonic() < until:
            reason = self._look()
            if reason is not None:
                self._keep_reason(reason)
            time.sleep(_ASK_EVERY)
        if self._reason is not None:
            raise self._reason

    def _look(self) -> CouldNotVerify | None:
        try:
            with self.engine.asking("describe the container"):
                state = self.engine.api.inspect_container(self.container)["State"]
        except Missing:
            return gone()
        with contextlib.suppress(Missing, Refused):
            if state.get("OOMKilled") or (self._shortages and self._shortages.happened(self.engine.api)):
                return out_of_memory(self.bounds.memory)
        return None if state.get("Running") else gone()


def missing(program: str, said: bytes = b"") -> ProgramMissing:
    """The error for a program that an image lacks."""
    return ProgramMissing(
        f"the program {program} cannot be started in the container",
        remedy="Name an image that has it.",
        details=tuple(said.decode(errors="replace").splitlines()[-5:]),
    )


def create(engine: Engine, body: Mapping[str, Any]) -> str:
    """Create a container and return its id.

    Raises:
        Missing: There is no such image.
        Refused: The engine does not take the description.
        CouldNotVerify: It did not answer.
    """
    with engine.asking("create a container"):
        made: dict[str, Any] = engine.api.create_container_from_config(dict(body))
    return str(made["Id"])


def lay_out(engine: Engine, container: str, account: Account, *, mounted: bool) -> None:
    """Make the directories of ours in a container that was not started yet, with their owners.

    By the engine's archive interface, because in the container nobody may give files away.

    Args:
        engine: Where it is.
        container: Its id.
        account: What programs in it run as.
        mounted: Whether payload and sockets are directories of this machine.
    """
    root, own = (0, 0), (account.user, account.group)
    entries = [(spec.ROOT, 0o755, *root), (spec.DATA, 0o700, *own), (spec.SCRATCH, 0o700, *own)]
    if not mounted:
        entries += [(spec.WORK, 0o755, *root), (spec.SOCKETS, 0o700, *own)]
    archive = archives.directories([(path.strip("/"), mode, user, group) for path, mode, user, group in entries])
    with engine.asking("prepare a container"):
        engine.api.put_archive(container, "/", archive)
