"""JUnit as a whole or not at all: pytest writes it into memory, and from there it goes where it belongs.

pytest itself opens the file in place: on a full disk it leaves a torn one, and its error keeps the other plug-ins from
ending the run in order.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest.junitxml import xml_key

from restore_drill.whole_files import write_whole

if TYPE_CHECKING:
    from restore_drill.pytest_support.controller import Controller


class Reports:
    """Puts the reports in place when pytest has written them, and before the terminal sums up.

    Args:
        config: pytest's configuration.
        controller: Records what is written, and what could not be.
    """

    def __init__(self, config: pytest.Config, controller: Controller) -> None:
        self._config = config
        self._controller = controller

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """Have JUnit written into memory."""
        writer = self._config.stash.get(xml_key, None)
        if writer is None:
            yield
            self._controller.record(session, None)
            return
        memory = _Memory()
        place, writer.logfile = writer.logfile, memory.path
        try:
            yield
        finally:
            writer.logfile = place
            junit = memory.close()
        if not self._controller.record(session, junit, Path(place)) and not Path(place).exists():
            writer.logfile = "none, it could not be written"


class _Memory:
    """Something with a path that can be written to and takes no room on any disk: a pipe that is read at once."""

    def __init__(self) -> None:
        self._reader, self._end = os.pipe()
        self.path = f"/proc/self/fd/{self._end}"
        self._content = b""
        self._thread = threading.Thread(target=self._read, name="restore-drill-junit", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with os.fdopen(self._reader, "rb") as file:
            self._content = file.read()

    def close(self) -> bytes:
        """All that was written."""
        os.close(self._end)
        self._thread.join()
        return self._content


def ask_for_junit(config: pytest.Config, directory: Path) -> None:
    """Have pytest write JUnit into the run's directory, unless somebody wants it elsewhere.

    Where cases are only collected there is nothing to report.
    """
    if not config.option.xmlpath and not config.option.collectonly:
        config.option.xmlpath = str(directory / "junit.xml")


def put(place: Path, junit: bytes) -> None:
    """Write JUnit where the person who started the run wants it, which may be a pipe.

    Raises:
        OSError: It could not be written; what stood there, of another run, is gone.
    """
    if place.exists() and not place.is_file():
        place.write_bytes(junit)
        return
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place.resolve(), junit)
    except OSError:
        place.unlink(missing_ok=True)
        raise
