"""The drill calendar of one copy: which windows it has, and which drill counts for which.

From a copy's first appearance on, one window follows the other, each as long as its drill interval. Nightly jobs do not
keep time to the minute, and they tend to end just where windows meet: a drill also counts for a neighbouring window
from which it is no further away than a tolerance. Three rules keep that from hiding anything:

* two drills only count for two windows at least half an interval apart: a rerun stays with what it reruns;
* when more than one and a half intervals passed since the drill before, something was left out: of the windows within
  its reach a drill then counts for the one that is as many windows further on;
* drills are taken in their order, and each counts for the first window after the last one that it may count for. That
  gives as many windows a drill as there can be, so one more drill never makes one more window a missed one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

#: Share of the interval by which a drill may be early or late, and the most that it may be (seconds).
_TOLERANCE, _MOST = 0.25, 86400.0
#: No interval is taken for shorter (seconds): a slip in a catalogue must not make millions of windows.
_SHORTEST = 60.0


@dataclass(frozen=True, slots=True)
class Held:
    """A whole drill, as a calendar sees it.

    Attributes:
        finished: When (seconds since the epoch).
        run: In which run.
        outcome: Its verdict.
    """

    finished: float
    run: str
    outcome: str


@dataclass(slots=True)
class Window:
    """A stretch of time in which one drill is due.

    Attributes:
        start: Its beginning (seconds since the epoch).
        end: Its end, by which the drill is due.
        early: Seconds before the beginning at which a drill already counts.
        late: Seconds after the end at which one still counts.
        number: Its place among all windows.
        held: The drills that count for it, in order; the last one decides.
    """

    start: float
    end: float
    early: float
    late: float
    number: int = 0
    held: list[Held] = field(default_factory=list)

    def reaches(self, moment: float) -> bool:
        """Whether a drill at this moment may count for it."""
        return self.start - self.early <= moment <= self.end + self.late


def tolerance(every: float) -> float:
    """Seconds by which a drill may be early or late, by the drill interval in seconds."""
    return min(_TOLERANCE * max(every, _SHORTEST), _MOST)


class Calendar:
    """The windows of one copy. Drills and changes must be told in the order of time.

    Args:
        first: When the copy first appeared (seconds since the epoch).
        every: The drill interval (seconds).
        emit: Is given every window that ended, once, in order, when nothing can change it any more.
    """

    def __init__(self, first: float, every: float, emit: Callable[[Window], None]) -> None:
        self.every = max(every, _SHORTEST)
        self._emit = emit
        within = tolerance(self.every)
        self._open = deque([Window(first, first + self.every, within, within)])
        self._last: Window | None = None
        self._anchor = float("-inf")  # the drill that was the first for the last window that has one
        self._before = deque([first])  # the drills of the last half interval, and the one before them

    def change(self, moment: float, every: float) -> None:
        """From now on another interval is asked for.

        A window under way ends when it would have, or one new interval from now: whichever comes first.
        """
        every = max(every, _SHORTEST)
        if every == self.every:
            return
        self._reach(moment)
        self.every = every
        within = tolerance(every)
        windows, self._open = self._open, deque()
        for window in windows:
            window.late = min(window.late, within)
            if window.start <= moment < window.end:
                window.end = min(window.end, moment + every)
            elif window.start > moment:
                before = self._open[-1] if self._open else window
                window.start = before.end if self._open else window.start
                window.end, window.early = window.start + every, before.late
            self._open.append(window)

    def drill(self, held: Held) -> None:
        """A whole drill was held; one from before the calendar began counts for nothing."""
        moment = held.finished
        self._reach(moment)
        window = self._window_for(moment)
        if window is not None:
            self._last, self._anchor = window, moment
        if self._last is not None:
            self._last.held.append(held)
            self._remember(moment)

    def close(self, moment: float) -> None:
        """Nothing more will be told: emit what ended by then and had a drill, or can have none any more."""
        self._reach(moment)
        for window in self._open:
            if window.end <= moment and (window.held or window.end + window.late < moment):
                self._emit(window)
        self._open.clear()

    def _window_for(self, moment: float) -> Window | None:
        """The window that a drill is the first for; ``None`` when it is a rerun, or one more than asked for."""
        if moment - self._anchor < self._half:
            return None
        reached = [window for window in self._open if window.reaches(moment)]
        if not reached:
            return None
        last = self._last.number if self._last else -1
        further = ceil((moment - self._previous(moment)) / self.every - 0.5)  # 1 up to one and a half intervals
        first = max(last + 1, min(last + further, reached[-1].number))
        return next((window for window in reached if window.number >= first), None)

    @property
    def _half(self) -> float:
        """Half an interval: the shorter one's where it changed."""
        return min(self.every, self._last.end - self._last.start if self._last else self.every) / 2

    def _previous(self, moment: float) -> float:
        """The last drill (or the beginning) that is at least half an interval ago."""
        return next((each for each in reversed(self._before) if each <= moment - self._half), self._before[0])

    def _remember(self, moment: float) -> None:
        self._before.append(moment)
        while len(self._before) > 1 and self._before[1] <= moment - self._half:
            self._before.popleft()

    def _reach(self, moment: float) -> None:
        """Have every window that a drill of this moment may count for, and emit those that no later one can."""
        while (last := self._open[-1]).start - last.early <= moment:
            within = tolerance(self.every)
            self._open.append(Window(last.end, last.end + self.every, min(within, last.late), within, last.number + 1))
            self._settle(moment)
        self._settle(moment)

    def _settle(self, moment: float) -> None:
        """Emit windows that are past, with half an interval left for reruns of a drill that was late."""
        while len(self._open) > 1 and self._open[0].end + self._open[0].late + self.every / 2 < moment:
            self._emit(self._open.popleft())
