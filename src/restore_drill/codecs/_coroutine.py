"""Run a function that pulls its input and pushes its output as a generator: in a thread that takes turns with it.

A library that wants a reader and a writer (pyrage's ``decrypt_io``) cannot be stepped from outside, so it gets a thread
of its own. The two never run at once: the thread waits while the generator fetches input or hands on output, and the
generator waits while the thread works. So the source runs in the caller's thread, with its exceptions unchanged, and
the thread waits for nothing but its turn: it can always be ended at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from restore_drill.codecs._source import CHUNK


class _Stopped(BaseException):
    """Ends the function from inside, when nobody wants its output any more."""


class Feed:
    """The reader and the writer that the function is given.

    Attributes:
        position: How many bytes the function has read.
    """

    def __init__(self) -> None:
        self.position = 0
        self._input = memoryview(b"")
        self._wants_input = False
        self._ended = False
        self._output: list[bytes] = []
        self._held = 0
        self._its_turn = threading.Semaphore(0)
        self._our_turn = threading.Semaphore(0)
        self._stopping = False
        self._done = False
        self._problem: BaseException | None = None

    @property
    def drained(self) -> bool:
        """Whether the function has read all that it was given so far."""
        return not self._input

    def read(self, size: int) -> bytes:
        """Some input, at most ``size`` bytes; none at its end. For the function."""
        if not self._input and not self._ended:
            self._wants_input = True
            self._pause()
        piece = bytes(self._input[:size])
        self._input = self._input[len(piece) :]
        self.position += len(piece)
        return piece

    def write(self, data: bytes) -> int:
        """Take output. For the function."""
        self._output.append(data)
        self._held += len(data)
        if self._held >= CHUNK:
            self._pause()
        return len(data)

    def flush(self) -> None:
        """Nothing to do: output waits here until there is a chunk of it. For the function."""

    def work(self, function: Callable[[Feed], None]) -> None:
        """Call the function and keep what it raises. For the thread."""
        try:
            self._wait()
            function(self)
        except BaseException as problem:  # raised again where the output is read
            self._problem = problem
        self._done = True
        self._our_turn.release()

    def output(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Give the function its input and hand on what it writes. For the caller."""
        while not self._done:
            if self._wants_input:
                chunk = next(filter(None, chunks), b"")
                self._input, self._ended, self._wants_input = memoryview(chunk), not chunk, False
            self._its_turn.release()
            self._our_turn.acquire()
            yield from self._written()
        if self._problem is not None:
            raise self._problem

    def _written(self) -> Iterator[bytes]:
        written = b"".join(self._output)
        self._output, self._held = [], 0
        for start in range(0, len(written), CHUNK):
            yield written[start : start + CHUNK]

    def stop(self) -> None:
        """Have the function end at its next call. For the caller."""
        self._stopping = True
        self._its_turn.release()

    def _pause(self) -> None:
        self._our_turn.release()
        self._wait()

    def _wait(self) -> None:
        self._its_turn.acquire()
        if self._stopping:
            raise _Stopped


def run(function: Callable[[Feed], None], chunks: Iterator[bytes], feed: Feed) -> Iterator[bytes]:
    """What the function writes while it reads the chunks, in chunks of at most :data:`CHUNK`.

    Raises:
        BaseException: What the function raised, or the chunks did.
    """
    thread = threading.Thread(target=feed.work, args=(function,), name="restore-drill-codec", daemon=True)
    thread.start()
    try:
        yield from feed.output(chunks)
    finally:
        feed.stop()
        thread.join()
