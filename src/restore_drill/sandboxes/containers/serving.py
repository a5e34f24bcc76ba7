"""Runs inside a container, as a script: serves calls of our functions on its standard input and output.

What crosses the two pipes is what crosses the socket of a sandbox process on this machine
(:mod:`restore_drill.sandboxes.protocol`); a socket pair between this process and the one that it forks makes them one.
The script ends as that process ends: with its status, or 128 and the number of the signal that ended it.
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import socket
import sys
import threading
from typing import Any, NoReturn

_PIECE = 256 << 10


def main(settings: dict[str, Any]) -> NoReturn:
    """Fork the process that serves, and pass bytes on until it ends."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        _serve(theirs, settings)
    theirs.close()
    threading.Thread(target=_feed, args=(ours,), daemon=True).start()
    while data := ours.recv(_PIECE):
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]
    status = os.waitpid(pid, 0)[1]
    os._exit(128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))


def _feed(line: socket.socket) -> None:
    """Pass on what the host sends; its end ends the process that serves."""
    while data := os.read(0, _PIECE):
        line.sendall(data)
    line.shutdown(socket.SHUT_WR)


def _serve(line: socket.socket, settings: dict[str, Any]) -> NoReturn:
    from restore_drill.sandboxes import child

    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1):
        os.dup2(nothing, descriptor)
    os.close(nothing)
    os.umask(0o077)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    faulthandler.enable(file=2)
    os.environ.update(HOME=settings["scratch"], TMPDIR=settings["scratch"])
    os.chdir(settings["work"])
    sys.stderr = sys.stdout
    child.serve(line, settings)


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    sys.path.insert(0, asked["library"])
    main(asked)
