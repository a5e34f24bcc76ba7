"""A sandbox that is none: probes of engines run in this process, where coverage sees them; for our own content."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from restore_drill.sandboxes.base import Sandbox


@dataclass(frozen=True)
class _Call:
    work: Path
    until: float


@dataclass(frozen=True)
class _Done:
    value: Any

    def result(self) -> Any:
        return self.value


class _Here:
    def __init__(self, work: Path) -> None:
        self.work = work

    def submit(self, function: str, arguments: Mapping[str, Any], *, deadline: float) -> _Done:
        return _Done(self.call(function, arguments, deadline=deadline))

    def call(self, function: str, arguments: Mapping[str, Any], *, deadline: float) -> Any:
        module, _, name = function.partition(":")
        call = _Call(self.work, time.monotonic() + deadline)
        answer = getattr(importlib.import_module(module), name)(call, **json.loads(json.dumps(dict(arguments))))
        return json.loads(json.dumps(answer))


def here(work: Path) -> Sandbox:
    """Calls run at once, with arguments and answers as JSON, as in a sandbox."""
    work.mkdir(exist_ok=True)
    return cast(Sandbox, _Here(work))
