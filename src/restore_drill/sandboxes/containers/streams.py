"""The streams of everything that runs in one container, drained by one thread.

What a program writes is taken from it whether anybody waits for that program or not: a server whose log nobody reads
would otherwise stop at a full pipe, and of two programs the one not waited for.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
from collections import deque
from typing import Final

from restore_drill.sandboxes.containers.hijack import Hijack, StreamBroken

#: Bytes of each stream that are kept: the last ones.
OUTPUT_LIMIT: Final = 4 * 2**20
_PIECE: Final = 256 << 10


class Conversation:
    """What one program is fed, and what it wrote.

    Args:
        hijack: Its streams.
        stdin: What it reads; its end is told when it has all been sent. Without any, it was given nothing to read.
    """

    def __init__(self, hijack: Hijack, stdin: bytes = b"") -> None:
        self.hijack = hijack
        self.ended = threading.Event()
        self.broken = False
        self._left = memoryview(stdin)
        self._unfinished = bool(stdin)
        self._written: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self._lines = threading.Condition()

    @property
    def wants_to_send(self) -> bool:
        """Whether there is more for the program to read."""
        return self._unfinished

    def output(self) -> tuple[bytes, bytes]:
        """The last 4 MiB that it wrote to either stream."""
        with self._lines:
            return bytes(self._written[1][-OUTPUT_LIMIT:]), bytes(self._written[2][-OUTPUT_LIMIT:])

    def first_error_line(self, seconds: float) -> bytes | None:
        """Take the first line of its error stream from it; ``None`` when it ended, or wrote none in time."""
        with self._lines:
            self._lines.wait_for(lambda: b"\n" in self._written[2] or self.ended.is_set(), seconds)
            line, found, rest = bytes(self._written[2]).partition(b"\n")
            if not found:
                return None
            self._written[2] = bytearray(rest)
            return line

    def send(self) -> None:
        """Send what its reader takes."""
        try:
            while self._left:
                sent = self.hijack.send(self._left[:_PIECE])
                if not sent:
                    return
                self._left = self._left[sent:]
        except OSError:
            self._left = self._left[:0]
        self._unfinished = False
        self.hijack.finish()

    def receive(self) -> bool:
        """Take what has come; ``False`` at its end."""
        while True:
            try:
                pieces = self.hijack.receive()
            except BlockingIOError:
                return True
            except StreamBroken:
                self.broken = True
                return False
            if pieces is None:
                return False
            for stream, piece in pieces:
                self._keep(self._written[2 if stream == 2 else 1], piece)
            if not self.hijack.pending:
                return True

    def end(self) -> None:
        """Close its streams; who waits for it goes on."""
        self.hijack.close()
        self.ended.set()
        with self._lines:
            self._lines.notify_all()

    def _keep(self, written: bytearray, piece: bytes) -> None:
        with self._lines:
            written += piece
            if len(written) > 2 * OUTPUT_LIMIT:
                del written[:-OUTPUT_LIMIT]
            self._lines.notify_all()


class Pump:
    """The thread that drains conversations until :meth:`stop`."""

    def __init__(self, name: str) -> None:
        self._selector = selectors.DefaultSelector()
        self._coming: deque[Conversation] = deque()
        self._conversations: set[Conversation] = set()
        self._stopping = False
        self._wake_up, self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._selector.register(self._wake_up, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def add(self, conversation: Conversation) -> Conversation:
        """Drain one more."""
        self._coming.append(conversation)
        self._knock()
        return conversation

    def stop(self) -> None:
        """End all conversations and the thread; safe to repeat."""
        if self._stopping:
            return
        self._stopping = True
        self._knock()
        self._thread.join()
        self._selector.close()
        for descriptor in (self._wake_up, self._wake):
            os.close(descriptor)

    def let_go(self) -> None:
        """Close descriptors in a forked copy of the process, which has no such thread."""
        for conversation in (*self._conversations, *self._coming):
            conversation.hijack.let_go()
            conversation.ended.set()
        self._stopping = True

    def _knock(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(self._wake, b"\0")

    def _run(self) -> None:
        try:
            while not self._stopping:
                for key, events in self._selector.select():
                    if key.data is None:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._wake_up, 4096)
                    else:
                        self._serve(key.data, events)
                self._take_in()
        finally:
            self._take_in()
            for conversation in list(self._conversations):
                self._leave(conversation)

    def _take_in(self) -> None:
        while self._coming:
            conversation = self._coming.popleft()
            self._conversations.add(conversation)
            self._selector.register(conversation.hijack, self._events(conversation), conversation)
            if conversation.hijack.pending:
                self._serve(conversation, selectors.EVENT_READ)

    def _serve(self, conversation: Conversation, events: int) -> None:
        if events & selectors.EVENT_READ and not conversation.receive():
            self._leave(conversation)
            return
        if events & selectors.EVENT_WRITE and conversation.wants_to_send:
            conversation.send()
        self._selector.modify(conversation.hijack, self._events(conversation), conversation)

    def _leave(self, conversation: Conversation) -> None:
        self._selector.unregister(conversation.hijack)
        self._conversations.discard(conversation)
        conversation.end()

    @staticmethod
    def _events(conversation: Conversation) -> int:
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if conversation.wants_to_send else 0)
