"""Streams of a container: whole and told apart, however the connection cuts them."""

from __future__ import annotations

import itertools
import socket
import struct
from collections.abc import Iterator

import pytest

from restore_drill.sandboxes.containers.hijack import Hijack, HijackRefused, StreamBroken
from restore_drill.sandboxes.containers.streams import OUTPUT_LIMIT, Conversation, Pump

_HEAD = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\n\r\n"


def frame(stream: int, content: bytes) -> bytes:
    return struct.pack("!BxxxI", stream, len(content)) + content


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def collect(hijack: Hijack) -> dict[int, bytes]:
    found = {1: b"", 2: b""}
    hijack.line.setblocking(True)
    while (pieces := hijack.receive()) is not None:
        for stream, piece in pieces:
            found[stream] += piece
    return found


@pytest.mark.parametrize("size", [1, 3, 7, 8, 9, 1000])
def test_frames_are_whole_in_any_cut(pair: tuple[socket.socket, socket.socket], size: int) -> None:
    ours, theirs = pair
    sent = frame(1, b"out") + frame(2, b"") + frame(2, b"error") + frame(1, b"x" * 60)
    # What comes along with the head belongs to the stream.
    theirs.sendall(_HEAD + sent[:size])
    hijack = Hijack(ours, "/exec/1/start", {"Tty": False})
    for start in itertools.count(size, size):
        theirs.sendall(sent[start : start + size])
        if start >= len(sent):
            break
    theirs.shutdown(socket.SHUT_WR)
    assert collect(hijack) == {1: b"out" + b"x" * 60, 2: b"error"}
    asked = theirs.recv(4096)
    assert asked.startswith(b"POST /exec/1/start HTTP/1.1\r\n") and asked.endswith(b'\r\n\r\n{"Tty": false}')


@pytest.mark.parametrize("more", [b"", b"Content-Length: 31\r\n"])
def test_refusal_says_why(pair: tuple[socket.socket, socket.socket], more: bytes) -> None:
    ours, theirs = pair
    # The connection stays open behind it: nothing more is waited for.
    theirs.sendall(b"HTTP/1.1 409 Conflict\r\n" + more + b'\r\n{"message":"it is not running"}')
    with pytest.raises(HijackRefused, match="it is not running") as caught:
        Hijack(ours, "/x")
    assert caught.value.status == 409


def test_closed_connection_is_a_refusal(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(b"HTTP/1.1 101")
    theirs.shutdown(socket.SHUT_WR)
    with pytest.raises(HijackRefused, match="closed"):
        Hijack(ours, "/x")


def test_what_is_no_frame_is_told(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(_HEAD + b"no frame at all")
    with pytest.raises(StreamBroken):
        Hijack(ours, "/x").receive()


def test_conversation_keeps_the_end_and_feeds_to_the_end(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    theirs.sendall(_HEAD)
    pump = Pump("test")
    fed = bytes(range(256)) * 4096
    conversation = pump.add(Conversation(Hijack(ours, "/x"), fed))
    received = b""
    while data := theirs.recv(1 << 16):
        received += data
    assert received.partition(b"\r\n\r\n")[2] == fed
    for number in range(9):
        theirs.sendall(frame(1, b"%d" % number * (1 << 20)))
    theirs.sendall(frame(2, b"first\nsecond"))
    theirs.shutdown(socket.SHUT_WR)
    assert conversation.ended.wait(30)
    output, _ = conversation.output()
    assert len(output) == OUTPUT_LIMIT and output[:: 1 << 20] == b"5678"
    assert conversation.first_error_line(1) == b"first"
    assert conversation.output()[1] == b"second"
    pump.stop()
    pump.stop()
