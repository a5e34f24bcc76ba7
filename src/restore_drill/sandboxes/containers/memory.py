"""Whether the kernel ended a process of a container for want of memory.

An engine's description of a container says so only once the container itself has ended; of programs beside its first
process only the engine's events tell.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from restore_drill.sandboxes.containers.client import Engine

if TYPE_CHECKING:
    from docker.api.client import APIClient


class Shortages:
    """Asks an engine for events about one container, by the engine's own clock.

    Args:
        engine: Where it is.
        container: Its id.
        state: Its description, taken just after its start.
    """

    def __init__(self, engine: Engine, container: str, state: Mapping[str, Any]) -> None:
        self._engine = engine
        self._container = container
        self._began = time.monotonic()
        self._started = _seconds(str(state.get("State", {}).get("StartedAt", "")))

    def happened(self, client: APIClient) -> bool:
        """Whether memory has run out since the start.

        Raises:
            Missing: The container is gone.
            Refused: The engine says nothing of it.
            CouldNotVerify: The engine does not answer.
        """
        now = self._started + time.monotonic() - self._began
        filters = {"container": [self._container], "event": ["oom"], "type": ["container"]}
        with self._engine.asking("tell what happened"):
            # Whatever lies before now is told at once, and the answer ends.
            events = client.events(since=f"{self._started - 1:.3f}", until=f"{now:.3f}", filters=filters)
            try:
                return any(chunk.strip() for chunk in events)
            finally:
                events.close()


def _seconds(stamp: str) -> float:
    """An engine's time stamp, which has nanoseconds, as seconds; this machine's own clock when there is none."""
    try:
        whole, _, fraction = stamp.rstrip("Z").partition(".")
        return datetime.fromisoformat(f"{whole[:19]}+00:00").timestamp() + float(f"0.{fraction[:6] or 0}")
    except ValueError:
        return time.time()
