"""Run several ways of doing the same work in turn, and time them."""

from __future__ import annotations

import dataclasses
import io
import os
import pstats
import resource
import shlex
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.memory import Peak, watched


@dataclass(frozen=True)
class Way:
    """One way to do the work.

    Attributes:
        name: What the table calls it.
        command: Program and arguments.
        directory: Where it runs.
        environment: Its whole environment (default: this process's).
        shown: The command as a person would type it (default: as it is).
        prepare: What must be done before each run, untimed.
        count: Reads from what it printed how many units it did: ``{"case": 5500}``.
    """

    name: str
    command: Sequence[str]
    directory: Path
    environment: Mapping[str, str] | None = None
    shown: str = ""
    prepare: Callable[[], None] = lambda: None
    count: Callable[[str], Mapping[str, int]] = lambda _: {}

    @property
    def line(self) -> str:
        """The command as a person would type it."""
        return self.shown or shlex.join(self.command)


@dataclass(frozen=True)
class Benchmark:
    """Ways to compare, the baseline first.

    Attributes:
        letter: What it is called on the command line.
        goal: How many times as fast as the baseline the best other way should be, where that is promised.
        ways: The baseline, then ours.
        units: What the work consists of, the same for each way: ``{"target": 500}``.
        remarks: What a reader of the figures should know.
    """

    letter: str
    title: str
    goal: float | None
    ways: Sequence[Way]
    units: Mapping[str, int] = field(default_factory=dict)
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class _Run:
    seconds: float
    processor: float
    units: Mapping[str, int]


@dataclass
class Series:
    """The runs of one way: wall clock and processor seconds of each, and the memory of one more.

    Attributes:
        units: What the work consisted of: ``{"target": 500, "case": 5500}``.
    """

    way: Way
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    units: dict[str, int] = field(default_factory=dict)
    peak: Peak = field(default_factory=Peak)

    @property
    def median(self) -> float:
        """Seconds of the run in the middle."""
        return statistics.median(self.seconds)

    def take(self, run: _Run) -> None:
        """Add a run."""
        self.seconds.append(run.seconds)
        self.processor.append(run.processor)
        self.units.update(run.units)


def compare(benchmark: Benchmark, repeat: int, tell: Callable[[str], None]) -> list[Series]:
    """Run each way ``repeat`` times, in turn, every second round backwards: what drifts, drifts for all.

    Memory is looked at in one more run of each: looking takes time.
    """
    series = [Series(way, units=dict(benchmark.units)) for way in benchmark.ways]
    for number in range(repeat):
        for one in series if number % 2 == 0 else reversed(series):
            one.take(_run(one.way))
            tell(f"  round {number + 1}: {one.way.name}: {one.seconds[-1]:.2f} s")
    for one in series:
        with watched() as one.peak:
            _run(one.way)
    return series


def _run(way: Way) -> _Run:
    way.prepare()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    clock = time.perf_counter()
    done = subprocess.run(
        way.command, cwd=way.directory, env=way.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    seconds = time.perf_counter() - clock
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"{way.name} ended with status {done.returncode}:\n{done.stdout[-5000:]}")
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return _Run(seconds, processor, way.count(done.stdout))


def profile(way: Way, lines: int = 25) -> str:
    """Where the time of a way goes that is a single Python process; ``""`` of any other."""
    if list(way.command[1:3]) != ["-m", "pytest"] or "2" in way.command:
        return ""
    with tempfile.NamedTemporaryFile(suffix=".profile") as file:
        started = [way.command[0], "-m", "cProfile", "-o", file.name, *way.command[1:]]
        _run(dataclasses.replace(way, command=started))
        text = io.StringIO()
        pstats.Stats(file.name, stream=text).sort_stats("tottime").print_stats(lines)
    return text.getvalue()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0))
