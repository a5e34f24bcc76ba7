from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator

import pytest

from restore_drill.codecs._coroutine import Feed, run
from restore_drill.codecs._source import CHUNK


def copy(feed: Feed) -> None:
    while data := feed.read(1000):
        feed.write(data)
    feed.flush()


def numbers() -> Iterator[bytes]:
    return (str(number).encode() * 100 for number in itertools.count())


def test_what_is_read_can_be_written() -> None:
    before = set(threading.enumerate())
    chunks = [b"", b"a" * 10, b"", b"b" * (3 * CHUNK), b"c"]
    written = list(run(copy, iter(chunks), Feed()))
    assert b"".join(written) == b"".join(chunks)
    assert max(map(len, written)) <= CHUNK
    assert set(threading.enumerate()) <= before


def test_a_function_may_write_more_than_it_reads() -> None:
    steps = 0

    def expand(feed: Feed) -> None:
        nonlocal steps
        feed.read(1)
        for _ in range(100):
            steps += 1
            feed.write(b"x" * (CHUNK // 2))

    output = run(expand, iter([b"a"]), Feed())
    assert len(next(output)) == CHUNK
    assert steps == 2
    assert sum(map(len, output)) == 49 * CHUNK
    assert steps == 100


def test_a_large_piece_is_divided() -> None:
    def write(feed: Feed) -> None:
        feed.write(bytes(2 * CHUNK + 1))

    assert [len(chunk) for chunk in run(write, iter([]), Feed())] == [CHUNK, CHUNK, 1]


def test_a_function_need_not_read_everything() -> None:
    source = numbers()

    def some(feed: Feed) -> None:
        feed.write(feed.read(7))

    assert b"".join(run(some, source, Feed())) == b"0" * 7
    assert next(source)[:1] == b"1"


def test_the_error_of_the_function_comes_behind_its_output() -> None:
    problem = ValueError("bad")

    def fail(feed: Feed) -> None:
        feed.write(feed.read(3))
        raise problem

    before = set(threading.enumerate())
    output = run(fail, iter([b"abc"]), Feed())
    assert next(output) == b"abc"
    with pytest.raises(ValueError, match="bad") as caught:
        next(output)
    assert caught.value is problem
    assert set(threading.enumerate()) <= before


@pytest.mark.parametrize("moment", ["unstarted", "reading", "writing"])
def test_it_ends_whenever_it_is_closed(moment: str) -> None:
    before, ended = set(threading.enumerate()), threading.Event()

    def endless(feed: Feed) -> None:
        try:
            while True:
                feed.write(feed.read(100) * (CHUNK // 50 if moment == "writing" else 1))
        except Exception:  # what a library might do; the end must get past it
            feed.write(b"swallowed")
        finally:
            ended.set()

    output = run(endless, numbers(), Feed())
    if moment != "unstarted":
        assert next(output)
        assert not ended.is_set()
    output.close()  # type: ignore[attr-defined]
    assert ended.is_set() is (moment != "unstarted")
    assert set(threading.enumerate()) <= before


def test_the_source_runs_in_the_caller_s_thread() -> None:
    seen = set()

    def source() -> Iterator[bytes]:
        for _ in range(3):
            seen.add(threading.current_thread())
            yield b"x" * 5000

    assert len(b"".join(run(copy, source(), Feed()))) == 15000
    assert seen == {threading.current_thread()}
