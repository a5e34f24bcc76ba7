"""Remove things from a container engine, and ask it whether they are gone: its yes is not believed."""

from __future__ import annotations

import time
from typing import Final

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.containers.client import Engine, Missing, Refused

#: Seconds in which what was removed must be gone.
GONE: Final = 60.0
_ASK_EVERY: Final = 0.01


def remove(engine: Engine, kind: str, name: str, seconds: float = GONE) -> str:
    """Remove a container with its anonymous volumes, or a network; returns why it is still there, or ``""``.

    Args:
        engine: Where it is.
        kind: ``container`` or ``network``.
        name: Its id.
        seconds: How long to try: what ends on its own is removed by the engine, which then refuses to do it for us.
    """
    until = time.monotonic() + seconds
    while True:
        problem = _ask_to_remove(engine, kind, name)
        try:
            with engine.asking(f"say whether a {kind} is gone"):
                engine.api.inspect_container(name) if kind == "container" else engine.api.inspect_network(name)
        except Missing:
            return ""
        except (Refused, CouldNotVerify) as refusal:
            problem = str(refusal)
        if time.monotonic() > until:
            return problem or "the engine still knows it"
        time.sleep(_ASK_EVERY)


def _ask_to_remove(engine: Engine, kind: str, name: str) -> str:
    try:
        with engine.asking(f"remove a {kind}"):
            if kind == "container":
                engine.api.remove_container(name, v=True, force=True)
            else:
                engine.api.remove_network(name)
    except Missing:
        return ""
    except (Refused, CouldNotVerify) as refusal:
        return str(refusal)
    return ""
