"""Receivers of alerts and pings on loopback: HTTP with or without TLS, that answer as they are told, and SMTP."""

from __future__ import annotations

import asyncio
import email
import json
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

#: Instead of a status: take the request, and say nothing.
SILENCE = 0


@dataclass(frozen=True)
class Request:
    """What came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


@dataclass
class Receiver:
    """An HTTP server.

    Attributes:
        answers: Statuses of the next answers, the last one for ever; ``(status, place)`` redirects.
        requests: What came in, oldest first.
    """

    port: int = 0
    answers: list[int | tuple[int, str]] = field(default_factory=lambda: [200])
    requests: list[Request] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    def take(self) -> list[Request]:
        """What came in since the last time."""
        found, self.requests[:] = list(self.requests), []
        return found

    @property
    def titles(self) -> list[str]:
        """The titles of the messages that came in since the last time (``json://``)."""
        return [request.json["title"] for request in self.take()]


@contextmanager
def receiver(*answers: int | tuple[int, str], tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    """An HTTP server on loopback while the block runs."""
    state = Receiver(answers=list(answers) or [200])

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            state.requests.append(Request(self.command, self.path, dict(self.headers), body))
            answer = state.answers.pop(0) if len(state.answers) > 1 else state.answers[0]
            status, place = answer if isinstance(answer, tuple) else (answer, "")
            if status == SILENCE:
                state.closing.wait()
                return
            self.send_response(status)
            if place:
                self.send_header("Location", place)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_HEAD = do_PUT = _answer  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            """Nothing is printed."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            """A client that does not trust the certificate goes away, as it should."""

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Mailbox:
    """An SMTP server.

    Attributes:
        refuse: Answers of the next attempts to send (``451 later``), before one is taken.
    """

    port: int = 0
    refuse: list[str] = field(default_factory=list)
    mails: list[Message] = field(default_factory=list)
    attempts: int = 0


@contextmanager
def mailbox(refuse: Sequence[str] = ()) -> Iterator[Mailbox]:
    """An SMTP server (RFC 5321, as little of it as a sender needs) on loopback while the block runs."""
    state = Mailbox(refuse=list(refuse))
    ready = threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(lambda reader, writer: _talk(state, reader, writer), "127.0.0.1", 0)
        state.port = server.sockets[0].getsockname()[1]
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    ready.wait()
    try:
        yield state
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _talk(state: Mailbox, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async def say(line: str) -> None:
        writer.write(f"{line}\r\n".encode())
        await writer.drain()

    await say("220 loopback ESMTP")
    while line := (await reader.readline()).decode().strip():
        verb = line.split()[0].upper()
        if verb == "MAIL":
            state.attempts += 1
            await say(state.refuse.pop(0) if state.refuse else "250 OK")
        elif verb == "DATA":
            await say("354 go on")
            raw = await reader.readuntil(b"\r\n.\r\n")
            state.mails.append(email.message_from_bytes(raw[:-3].replace(b"\r\n..", b"\r\n."), policy=default))
            await say("250 OK")
        elif verb == "QUIT":
            await say("221 bye")
            break
        else:
            await say("250 OK")
    writer.close()
