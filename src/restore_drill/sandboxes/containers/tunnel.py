"""An engine on another machine over SSH: its Unix socket, forwarded to one of ours by the user's own ``ssh``."""

from __future__ import annotations

import contextlib
import re
import subprocess
import tempfile
import time
from typing import Final

from restore_drill.errors import CouldNotVerify
from restore_drill.process import ProgramMissing
from restore_drill.sandboxes import workspace

_URL: Final = re.compile(r"ssh://(?P<place>(?:[\w.+-]+@)?[\w.-]+)(?::(?P<port>\d+))?(?P<path>/[\w./-]+)?/?")
_SOCKET: Final = "/var/run/docker.sock"
#: Seconds in which the connection must be up.
_PATIENCE: Final = 30.0
_ASK_EVERY: Final = 0.02
_SHOWN: Final = 20


class Tunnel:
    """A forwarded socket, for as long as this process lives.

    On the other side a program waits for the end of its input, which comes when this process ends, however it does.

    Args:
        url: ``ssh://user@host:port``, with a path where the engine's socket is not Docker's usual one.

    Raises:
        ProgramMissing: There is no ``ssh`` here.
        CouldNotVerify: The connection cannot be made.
    """

    def __init__(self, url: str) -> None:
        match = _URL.fullmatch(url)
        if match is None or match["place"].startswith("-"):
            raise CouldNotVerify("this is no address of an engine over SSH", looked_at=url, remedy="ssh://user@host")
        self._directory = workspace.RunDirectory(workspace.SHORT, workspace.SOCKETS)
        self.socket = self._directory.path / "engine"
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the tunnel
        options = ["BatchMode=yes", "ExitOnForwardFailure=yes", "ControlPath=none", "ServerAliveInterval=15"]
        argv = ["ssh", *(part for option in options for part in ("-o", option))]
        argv += ["-p", match["port"]] if match["port"] else []
        argv += ["-L", f"{self.socket}:{match['path'] or _SOCKET}", "--", match["place"], "cat"]
        self._process = self._start(argv)
        self._await(url)

    def close(self) -> None:
        """End it."""
        if self._process.stdin:
            self._process.stdin.close()
        self._process.terminate()
        self._process.wait()
        self._errors.close()
        self._directory.close()

    def _start(self, argv: list[str]) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(  # noqa: S603 - the user's own ssh, to where the catalogue says
                argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=self._errors, start_new_session=True
            )
        except OSError as problem:
            self._errors.close()
            self._directory.close()
            raise ProgramMissing("the program ssh cannot be started", remedy="Install an SSH client.") from problem

    def _await(self, url: str) -> None:
        until = time.monotonic() + _PATIENCE
        while not self.socket.exists():
            if self._process.poll() is not None or time.monotonic() > until:
                self._process.kill()
                self._errors.seek(0)
                said = self._errors.read().decode(errors="replace").splitlines()[-_SHOWN:]
                with contextlib.suppress(OSError):
                    self.close()
                raise CouldNotVerify(
                    "the machine of the container engine cannot be reached over SSH",
                    looked_at=url,
                    remedy="ssh must reach it without a question: try it by hand with -o BatchMode=yes.",
                    details=tuple(said),
                )
            time.sleep(_ASK_EVERY)
