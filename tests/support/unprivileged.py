"""Run something as a user without privileges, in a forked copy of the test process."""

from __future__ import annotations

import os
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def open_directory() -> Iterator[Path]:
    """A directory that every user can reach and write to."""
    path = Path(tempfile.mkdtemp(dir=tempfile.gettempdir()))
    try:
        path.chmod(0o777)
        yield path
    finally:
        for parent, names, _ in os.walk(path):  # parents come first, so that what is below can be entered
            for name in names:
                if not (Path(parent) / name).is_symlink():
                    (Path(parent) / name).chmod(0o700)
        shutil.rmtree(path)


def as_nobody(action: Callable[[], None]) -> None:
    """Run it as ``nobody`` (as the same user, when that is not root); an exception there is an error here."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(_NOBODY)
                os.setuid(_NOBODY)
            action()
            status = 0
        except BaseException:
            os.write(writer, traceback.format_exc().encode()[-60_000:])
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as pipe:
        text = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, text
