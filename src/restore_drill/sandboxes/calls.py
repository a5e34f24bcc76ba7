"""A call under way in a sandbox process: what it is fed, what it reports, and how it ends."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from restore_drill.errors import CouldNotVerify, DeadlineExceeded, RestoreDrillError, SandboxDied
from restore_drill.quantities import format_duration, format_size
from restore_drill.sandboxes import protocol
from restore_drill.sandboxes.base import Limits
from restore_drill.sandboxes.launcher import Ending
from restore_drill.sandboxes.worker import Worker

#: Seconds in which a process whose socket has closed must have ended.
_NATURAL = 5.0
#: Seconds in which a function must give up when what it is fed breaks off.
_ABORT_PATIENCE = 10.0
#: Seconds between two looks for progress reports while bytes are fed.
_LISTEN_EVERY = 0.1
_NO_MORE = object()


class PendingCall:
    """A call that was begun; its outcome is kept, and may be asked for more than once.

    Args:
        worker: The process that serves it.
        function: ``package.module:name``.
        deadline: Seconds it may take from now on.
        progress: Called with what the function reports.
        title: What messages call it; the function's name by default.
    """

    def __init__(
        self,
        worker: Worker,
        function: str,
        deadline: float,
        progress: Callable[[Mapping[str, Any]], None] | None = None,
        title: str = "",
    ) -> None:
        self._worker = worker
        self._name = function
        self._function = title or function
        self._deadline = deadline
        self._until = time.monotonic() + deadline
        self._progress = progress
        self._listen_at = 0.0
        self._settled = False
        self._error: RestoreDrillError | None = None
        self._value: Any = None

    @property
    def settled(self) -> bool:
        """Whether its outcome is known."""
        return self._settled

    @property
    def succeeded(self) -> bool:
        """Whether it has given a result."""
        return self._settled and self._error is None

    def result(self) -> Any:
        """Wait for the answer; see :class:`restore_drill.sandboxes.base.Pending`."""
        self.settle()
        if self._error is not None:
            raise self._error
        return self._value

    def settle(self) -> None:
        """Wait until the outcome is known, and keep it."""
        if not self.wait(self._until):
            self._give_up()

    def wait(self, until: float) -> bool:
        """Wait for the outcome until some ``time.monotonic()``, and say whether it is known."""
        try:
            while not self._settled:
                self._take(*self._worker.receive(until))
        except TimeoutError:
            return False
        except EOFError:
            self._bury()
        except protocol.ProtocolError as problem:
            self._reject(str(problem))
        except BaseException:
            self._abandon()
            raise
        return True

    def allow(self, seconds: float) -> None:
        """Give it at least some seconds from now to be heard."""
        self._until = max(self._until, time.monotonic() + seconds)

    def begin(self, arguments: Mapping[str, Any], *, fed: bool) -> None:
        """Send the call."""
        request = {"function": self._name, "arguments": dict(arguments), "until": self._until, "fed": fed}
        self._transmit(lambda: self._worker.send(protocol.frame(protocol.CALL, protocol.dump(request)), self._until))

    def feed(self, chunks: Iterable[bytes]) -> None:
        """Stream bytes to the function, to their end even if its process dies: others look at them as they pass.

        Raises:
            DeadlineExceeded: The deadline passed before they ended; what passed so far is not all.
            Exception: What ``chunks`` raised, after the function has given up.
        """
        iterator = iter(chunks)
        while True:
            try:
                chunk: Any = next(iterator, _NO_MORE)
            except Exception:
                self._abort()
                raise
            except BaseException:
                self._abandon()
                raise
            if chunk is _NO_MORE:
                break
            self._transmit(lambda chunk=chunk: self._worker.send_data(chunk, self._until))  # type: ignore[misc]
            self._look_up()
        self.end_feed()

    def end_feed(self, patience: float | None = None) -> None:
        """Say that nothing more is fed, and, if given, how many seconds the function then has."""
        if patience is not None:
            self._until = time.monotonic() + patience
        self._transmit(lambda: self._worker.send(protocol.frame(protocol.END), self._until))

    def _look_up(self) -> None:
        """Between two chunks: see whether it is too late, and pass progress on."""
        now = time.monotonic()
        if now > self._until:
            self._give_up()
            if self._error is not None:
                raise self._error
        if now >= self._listen_at and not self._settled:
            self._listen_at = now + _LISTEN_EVERY
            if self.wait(now) and self._error is None:
                self._reject("an answer before the end of what it is fed")

    def _transmit(self, send: Callable[[], None]) -> None:
        if self._settled:
            return
        try:
            send()
        except TimeoutError:
            self._give_up()
        except EOFError:
            self._bury()
        except BaseException:
            self._abandon()
            raise

    def _take(self, kind: int, payload: bytes) -> None:
        try:
            value = json.loads(payload)
            failed = kind in (protocol.FAILURE, protocol.LAST_FAILURE)
            error = protocol.decode_error(value) if failed else None
        except (ValueError, TypeError, AttributeError, RecursionError) as problem:
            raise protocol.ProtocolError("an answer that cannot be read") from problem
        if kind == protocol.LAST_FAILURE:
            self._worker.spent = True
        if kind == protocol.BUSY_RESULT:
            self._worker.busy = True
        if kind != protocol.PROGRESS:
            self._conclude(error, value)
        elif self._progress and isinstance(value, dict):
            self._progress(value)

    def _conclude(self, error: RestoreDrillError | None, value: Any = None) -> None:
        self._settled, self._error, self._value = True, error, value

    def _give_up(self) -> None:
        """The deadline passed: end the process."""
        if self._settled:
            return
        self._worker.end()
        self._conclude(
            DeadlineExceeded(
                f"{self._function} did not end within {format_duration(self._deadline)}",
                remedy="Raise the deadline if the backup is that big; otherwise find out what holds it up.",
            )
        )

    def _bury(self) -> None:
        """The process is gone: find out how."""
        if self._worker.ended:
            self._conclude(CouldNotVerify(f"{self._function} was ended together with its sandbox"))
            return
        ending = self._worker.end(_NATURAL)
        self._conclude(cause_of_death(ending, self._function, self._worker.limits, self._worker.crash_text()))

    def _reject(self, why: str) -> None:
        self._worker.end()
        self._conclude(
            CouldNotVerify(
                f"the process that ran {self._function} answered with what is no answer",
                remedy="The restored bytes may have taken it over: take the backup for hostile until you know better.",
                details=(why,),
            )
        )

    def _abort(self) -> None:
        """What is fed broke off: tell the function, and wait until it has given up."""
        if self._settled:
            return
        limit = min(self._until, time.monotonic() + _ABORT_PATIENCE)
        self._transmit(lambda: self._worker.send(protocol.frame(protocol.ABORT), limit))
        if not self.wait(limit):
            self._worker.end()
        self._conclude(CouldNotVerify(f"what {self._function} was fed broke off"))

    def _abandon(self) -> None:
        """We were interrupted at an unknown point of the conversation: it cannot go on."""
        self._worker.let_go()
        self._conclude(CouldNotVerify(f"{self._function} was interrupted"))


def cause_of_death(ending: Ending, function: str, limits: Limits, written: tuple[str, ...]) -> RestoreDrillError:
    """The error for a sandbox process that ended while it ran a function."""
    if ending.problem:
        return CouldNotVerify(
            f"there is no sandbox process to run {function}: {ending.problem}",
            remedy="Look at the limits of this user and machine on processes and memory.",
            details=written,
        )
    number = _signal(ending, written)
    if number == signal.SIGKILL:
        cause = f"the sandbox process was killed, probably because memory ran out, while it ran {function}"
        remedy = "Give the machine more memory, or run fewer drills at once."
    elif number == signal.SIGXFSZ:
        cause = f"{function} wrote a file beyond the sandbox's limit of {format_size(limits.file_size)}"
        remedy = "Raise the limit if the backup is that big."
    elif number == signal.SIGXCPU:
        cause, remedy = f"{function} used up its processor time", "Raise the limit if the backup is that big."
    else:
        cause = f"the sandbox process {_how(ending, number)} while it ran {function}"
        remedy = "Its library may not withstand what the backup holds: run it again, then examine the backup by hand."
    return SandboxDied(cause, signal=number, remedy=remedy, details=written)


def _signal(ending: Ending, written: tuple[str, ...]) -> int:
    number = ending.status & 0x7F if ending.status is not None else 0
    # The first process of a process namespace is deaf to what it sends itself, so that abort(3) goes on to an
    # instruction that faults. The handler that Python has for either signal wrote down which one came first.
    aborted = number == signal.SIGSEGV and bool(written) and written[0] == "Fatal Python error: Aborted"
    return signal.SIGABRT if aborted else number


def _how(ending: Ending, number: int) -> str:
    if ending.status is None:
        return "closed its line"
    if number:
        names = {int(known): known.name for known in signal.Signals}
        return f"was ended by {names.get(number, f'signal {number}')}"
    return f"exited with status {ending.status >> 8 & 0xFF}"
