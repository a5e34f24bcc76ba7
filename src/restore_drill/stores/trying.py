"""What an error of a remote store means for trying again, and how long to go on."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage

#: The first pause before something is tried again; it doubles up to the longest (seconds).
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0


class Nature(Enum):
    """What is to be done about an error."""

    AGAIN = auto()  # passing: repeat after a pause
    TIMEOUT = auto()  # passing, and has already cost a deadline
    FINAL = auto()  # will be the same next time
    ABSENT = auto()  # there is no such object (or version)
    CHANGED = auto()  # there is another object of that name


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """An error in words.

    Attributes:
        cause: One sentence without final full stop.
        remedy: What the reader should do.
        code: The error code of the answer; the mere HTTP status where the answer had no body (HEAD), or ``""``.
    """

    nature: Nature
    cause: str
    remedy: str
    code: str = ""

    @property
    def bare(self) -> bool:
        """Whether only a status came back, so that a request whose answer has a body may tell more."""
        return self.code.isdigit()


class Patience:
    """How often one thing is tried again: ``retries`` times since it last got on, and once after a deadline.

    Args:
        retries: How often in a row.
        pause: Waits for some seconds.
    """

    def __init__(self, retries: int, pause: Callable[[float], object] = time.sleep) -> None:
        self._retries = retries
        self._pause = pause
        self._random = random.Random()  # noqa: S311 - spreads retries, protects nothing
        self.progressed()

    def progressed(self) -> None:
        """Start counting anew."""
        self.tries = 0
        self._timeouts = 0

    def bears(self, diagnosis: Diagnosis) -> bool:
        """Whether to try again; waits before it says yes."""
        self._timeouts += diagnosis.nature is Nature.TIMEOUT
        if diagnosis.nature not in (Nature.AGAIN, Nature.TIMEOUT) or self._timeouts > 1 or self.tries >= self._retries:
            return False
        self.tries += 1
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (self.tries - 1))
        self._pause(self._random.uniform(longest / 2, longest))
        return True


def could_not_verify(diagnosis: Diagnosis, where: str, stage: Stage | None = None, so_far: str = "") -> CouldNotVerify:
    """The error for something that a store did not let us see."""
    return CouldNotVerify(f"{diagnosis.cause}{so_far}", looked_at=where, remedy=diagnosis.remedy, stage=stage)
