"""Programs under way in a container."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Final, NoReturn

from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.process import Completed
from restore_drill.quantities import format_duration
from restore_drill.sandboxes.containers.keeper import Keeper, missing
from restore_drill.sandboxes.containers.streams import Conversation

#: Seconds that a server has to end in order.
GRACE: Final = 10.0
#: Seconds in which a program that was killed must be gone.
_KILLED: Final = 5.0
_ASK_EVERY: Final = 0.05
_SHOWN: Final = 4000
#: Statuses by which engines and shells say that a program could not be started.
_NOT_STARTED: Final = frozenset({126, 127})
#: A shell adds it to the number of the signal that ended a program; so does an engine.
_SIGNALLED: Final = 128
_LAST_SIGNAL: Final = 64
_KILLED_STATUS: Final = 128 + 9
_RUNTIME_SAYS: Final = b"OCI runtime"
_MISSING: Final = b"missing"
#: Says under which number a server runs, before it is one: an engine has no means to end what it began.
_SERVE: Final = (
    f'command -v "$0" >/dev/null 2>&1 || {{ echo {_MISSING.decode()} >&2; exit 127; }}; echo "$$" >&2; exec "$0" "$@"'
)
#: Seconds in which it must have said so.
_NUMBERED: Final = 60.0


class ContainerProgram:
    """A program that runs to its end.

    Args:
        keeper: Its container.
        argv: The program and its arguments.
        begun: Its execution and its streams.
        deadline: Seconds from now until it is ended.
    """

    def __init__(self, keeper: Keeper, argv: Sequence[str], begun: tuple[str, Conversation], deadline: float) -> None:
        self._keeper = keeper
        self._program = argv[0]
        self._execution, self._conversation = begun
        self._until = time.monotonic() + deadline
        self._completed: Completed | None = None

    def result(self) -> Completed:
        """Wait for its end; see :class:`restore_drill.sandboxes.base.Running`."""
        if self._completed is None:
            if not self._conversation.ended.wait(max(0.0, self._until - time.monotonic())):
                self._give_up()
            self._completed = completed(self._keeper, self._program, self._execution, self._conversation)
        return self._completed

    def _give_up(self) -> NoReturn:
        """End the whole container: what a program started may have left its session, and an engine ends no program."""
        self._keeper.check()
        name = PurePosixPath(self._program).name
        self._keeper.end(
            CouldNotVerify(
                f"the container was ended because the program {name} did not end in time",
                remedy="Raise the deadline if the backup is that big.",
            )
        )
        raise DeadlineExceeded(
            f"the program {name} did not end in time",
            remedy="Raise the deadline if the backup is that big.",
            details=written(*self._conversation.output()),
        )


class ContainerServer:
    """A program that stays up.

    Args:
        keeper: Its container.
        argv: The program and its arguments.
        environment: Variables besides the container's.

    Raises:
        ProgramMissing: It is not in the image.
        CouldNotVerify: It cannot be started.
    """

    def __init__(self, keeper: Keeper, argv: Sequence[str], environment: dict[str, str]) -> None:
        self._keeper = keeper
        self._program = PurePosixPath(argv[0]).name
        self._execution, self._conversation = keeper.begin(["sh", "-c", _SERVE, *argv], b"", environment)
        self._completed: Completed | None = None
        line = self._conversation.first_error_line(_NUMBERED)
        if line == _MISSING:
            raise missing(argv[0])
        if line is None or not line.isdigit():
            keeper.check_cause(killed=False)
            raise CouldNotVerify(f"the server {self._program} cannot be started in the container")
        self._number = line.decode()

    def await_ready(self, ready: Callable[[], bool], deadline: float) -> None:
        """Wait until the server answers; ends it when it does not.

        Raises:
            CouldNotVerify: It ended before it was ready.
            DeadlineExceeded: It was not ready in time.
        """
        until = time.monotonic() + deadline
        try:
            while not ready():
                if self._conversation.ended.wait(min(_ASK_EVERY, max(0.0, until - time.monotonic()))):
                    break
                if time.monotonic() >= until:
                    self._give_up(deadline)
            if self._conversation.ended.is_set():
                self._report_end()
        except BaseException:
            self.stop()
            raise

    def ended(self) -> bool:
        """Whether it has ended on its own; returns at once."""
        return self._conversation.ended.is_set()

    def stop(self) -> Completed:
        """End it in order, by force after ten seconds, and return what it wrote; its container may be gone."""
        if self._completed is None:
            for signal, seconds in (("TERM", GRACE), ("KILL", _KILLED)):
                if not self._conversation.ended.is_set() and self._signal(signal):
                    self._conversation.ended.wait(seconds)
            if not self._conversation.ended.is_set():
                self._keeper.end(CouldNotVerify(f"the container was ended because {self._program} would not stop"))
                self._conversation.ended.wait(_KILLED)
            self._completed = self._ending()
        return self._completed

    def _signal(self, name: str) -> bool:
        """Send it a signal, and say whether it makes sense to wait for what comes of it."""
        try:
            argv = ["sh", "-c", f"kill -{name} {self._number}"]
            program = ContainerProgram(self._keeper, argv, self._keeper.begin(argv, b"", None), _KILLED)
            return program.result().returncode == 0
        except CouldNotVerify:
            return False

    def _ending(self) -> Completed:
        try:
            status, _ = self._keeper.status(self._execution)
        except CouldNotVerify:
            status = _KILLED_STATUS
        return Completed(_returncode(status), *self._conversation.output())

    def _give_up(self, deadline: float) -> NoReturn:
        raise DeadlineExceeded(
            f"the server {self._program} was not ready within {format_duration(deadline)}",
            remedy="Raise the deadline if the backup is that big; otherwise look at the details.",
            details=_text(self.stop()),
        )

    def _report_end(self) -> NoReturn:
        ending = self._completed = self._ending()
        self._keeper.check_cause(killed=ending.returncode == _SIGNALLED - _KILLED_STATUS)
        raise CouldNotVerify(
            f"the server {self._program} ended with status {ending.returncode} before it was ready",
            remedy="What it wrote is in the details.",
            details=_text(ending),
        )


def completed(keeper: Keeper, program: str, execution: str, conversation: Conversation) -> Completed:
    """How a program ended whose streams have ended.

    Raises:
        ProgramMissing: It never began.
        CouldNotVerify: Its container ended, and why; or memory ran out in it.
    """
    keeper.check()
    status, began = keeper.status(execution)
    if status:
        keeper.check_cause(killed=status == _KILLED_STATUS)
    if conversation.broken:
        raise CouldNotVerify("what the container engine sends is no stream of frames", remedy="Update it.")
    output, errors = conversation.output()
    # Docker knows no process of what it could not start; Podman of nothing that has ended.
    if status in _NOT_STARTED and not began and (output or errors).lstrip().startswith(_RUNTIME_SAYS):
        raise missing(program, errors or output)
    return Completed(_returncode(status), output, errors)


def written(output: bytes, errors: bytes) -> tuple[str, ...]:
    """The end of what a program wrote; not for evidence."""
    text = errors[-_SHOWN:] or output[-_SHOWN:]
    return tuple(text.decode(errors="replace").splitlines())


def _text(ending: Completed) -> tuple[str, ...]:
    return written(ending.stdout, ending.stderr)


def _returncode(status: int) -> int:
    """A status as :class:`Completed` has it: negative for a signal."""
    return _SIGNALLED - status if _SIGNALLED < status <= _SIGNALLED + _LAST_SIGNAL else status
