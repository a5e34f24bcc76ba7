"""A conversation with one gpg: it is fed a message, and what it writes and says is collected, without a thread."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import selectors
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from restore_drill.errors import DeadlineExceeded
from restore_drill.model import Stage

#: Seconds in which gpg must read or write something, and in which it must end.
_IDLE = 300.0
_END = 60.0
#: What gpg may use: address space, bytes of a file it writes (homes hold keys only), open files.
_LIMITS = {
    resource.RLIMIT_AS: 2 << 30,
    resource.RLIMIT_FSIZE: 16 << 20,
    resource.RLIMIT_NOFILE: 256,
    resource.RLIMIT_CORE: 0,
}
_PIPE = 1 << 20
#: What is read at once: larger buffers than this come from the system anew each time.
_PORTION = 1 << 18
#: What is kept of what gpg says: thousands of recipients have a line each.
_TOLD = 4 << 20


@dataclass(slots=True)
class Told:
    """What gpg said in its status lines (doc/DETAILS of GnuPG), and how it ended.

    Attributes:
        lines: Keyword → the arguments of each line with it.
        returncode: Its exit status, negative for a signal; decides nothing by itself.
        stderr: What it wrote for people: may name keys and files.
    """

    lines: dict[str, list[list[str]]] = field(default_factory=dict)
    returncode: int = 0
    stderr: bytes = b""

    def read(self, text: bytes) -> None:
        """Take the lines of a status output."""
        for line in text.split(b"\n"):  # and at nothing else: a line may quote the message
            mark, _, rest = line.decode("utf-8", "replace").partition(" ")
            if mark == "[GNUPG:]" and rest:
                keyword, *arguments = rest.split(" ")
                self.lines.setdefault(keyword, []).append(arguments)

    def first(self, keyword: str) -> list[str]:
        """The arguments of the first line with a keyword, none without one."""
        return self.lines.get(keyword, [[]])[0]

    def __contains__(self, keyword: str) -> bool:
        return keyword in self.lines


def _limit(pid: int) -> None:
    for limit, most in _LIMITS.items():
        with contextlib.suppress(ProcessLookupError):
            _, hard = resource.prlimit(pid, limit)
            least = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.prlimit(pid, limit, (least, least))


class Conversation:
    """One gpg that reads a message and writes its content, without a thread: whoever asks for output moves it on."""

    def __init__(self, argv: Callable[[int, int], Sequence[str]], environment: dict[str, str], passphrase: str) -> None:
        status, status_end = os.pipe()
        secret_end, secret = os.pipe()
        try:
            self._child = subprocess.Popen(  # noqa: S603 - our own arguments
                argv(status_end, secret_end),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=environment, pass_fds=(status_end, secret_end), start_new_session=True,
            )  # fmt: skip
        except BaseException:
            os.close(status)
            os.close(secret)
            raise
        finally:
            os.close(status_end)
            os.close(secret_end)
        self._status = status
        self._told, self._words, self._stderr = Told(), bytearray(), bytearray()
        self._pending = memoryview(b"")
        _limit(self._child.pid)  # before it is fed anything
        with contextlib.suppress(BrokenPipeError), os.fdopen(secret, "wb") as pipe:
            pipe.write(passphrase.encode() + b"\n")

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        if self._child.returncode is None:  # once its status was collected, another group may have its number
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        os.close(self._status)
        for stream in (self._child.stdin, self._child.stdout, self._child.stderr):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()

    def run(self, frames: Iterator[bytes]) -> Iterator[bytes]:
        """Feed the frames and hand on the output, until gpg closes it."""
        stdin, stdout, stderr = self._child.stdin, self._child.stdout, self._child.stderr
        assert stdin and stdout and stderr  # noqa: S101 - all three are pipes
        with selectors.DefaultSelector() as selector:
            for stream in (stdin, stdout):
                with contextlib.suppress(OSError):
                    fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, _PIPE)
            os.set_blocking(stdin.fileno(), False)
            selector.register(stdin, selectors.EVENT_WRITE)
            for descriptor in (stdout.fileno(), stderr.fileno(), self._status):
                selector.register(descriptor, selectors.EVENT_READ)
            while len(selector.get_map()) > (not stdin.closed):
                for key in self._ready(selector):
                    if key.fileobj is stdin:
                        self._feed(selector, frames)
                    elif (data := self._read(selector, key.fd)) and key.fd == stdout.fileno():
                        yield data

    def end(self) -> Told:
        """What it said, once its output has ended."""
        self._told.read(bytes(self._words))
        try:
            self._told.returncode = self._child.wait(_END)
        except subprocess.TimeoutExpired as problem:
            raise _late(f"gpg did not end {_END:.0f} s after its last word") from problem
        self._told.stderr = bytes(self._stderr)
        return self._told

    def _ready(self, selector: selectors.BaseSelector) -> list[selectors.SelectorKey]:
        ready = [key for key, _ in selector.select(_IDLE)]
        if not ready:
            raise _late(f"gpg neither read nor wrote anything for {_IDLE:.0f} s")
        return ready

    def _feed(self, selector: selectors.BaseSelector, frames: Iterator[bytes]) -> None:
        stdin = self._child.stdin
        assert stdin  # noqa: S101 - a pipe
        if not self._pending:
            self._pending = memoryview(next(filter(None, frames), b""))
        try:
            written = os.write(stdin.fileno(), self._pending) if self._pending else 0
        except BlockingIOError:
            return
        except BrokenPipeError:  # it has seen enough, and its status says why
            self._pending, written = memoryview(b""), 0
        self._pending = self._pending[written:]
        if not written:
            selector.unregister(stdin)
            stdin.close()

    def _read(self, selector: selectors.BaseSelector, descriptor: int) -> bytes:
        data = os.read(descriptor, _PORTION)
        if not data:
            selector.unregister(descriptor)
        elif descriptor == self._status:
            self._words += data[: _TOLD - len(self._words)]
        elif self._child.stderr and descriptor == self._child.stderr.fileno():
            self._stderr += data[: _TOLD - len(self._stderr)]
        return data


def _late(cause: str) -> DeadlineExceeded:
    return DeadlineExceeded(
        cause,
        remedy="Try it by hand: gpg --decrypt; it may be waiting for something that this machine lacks.",
        stage=Stage.UNPACK,
    )
