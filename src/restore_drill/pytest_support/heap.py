"""Garbage collection in a session that keeps nearly all it makes: items, reports, evidence, JUnit's nodes.

Thousands of cases make hundreds of thousands of objects that live as long as the session. Looking through all of them
again and again takes longer than judging.
"""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def growing() -> Generator[None]:
    """Look for no garbage while much is made that stays, and hardly anything else."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def keep() -> None:
    """Never again look at what is there."""
    gc.freeze()


def settle() -> None:
    """Look at what has come since the last time, and never again at what is left of it."""
    gc.collect()
    gc.freeze()
