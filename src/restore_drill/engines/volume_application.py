"""An application in its own image, over a restored volume: started, and tried from inside its isolated network."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.model import Stage
from restore_drill.process import Completed, ProgramMissing
from restore_drill.sandboxes.base import Ground, Sandbox, Server

_MISSING: Final = b"drill: no such program"
#: Runs a program where the image would, and says when there is none.
_RUN: Final = (
    f'cd "$0" 2>/dev/null || cd /; command -v "$1" >/dev/null 2>&1 || {{ echo "{_MISSING.decode()}" >&2; exit 127; }}; '
    'exec "$@"'
)
#: Asks with what the image has: port, path, seconds. The status is the last line, or stands in a line of headers.
_ASK: Final = """
u="http://127.0.0.1:$0$1"
if command -v curl >/dev/null 2>&1; then
  exec curl -sS -g --noproxy '*' --max-time "$2" -w '\\ndrill-status %{http_code}' "$u"
elif command -v python3 >/dev/null 2>&1; then
  exec python3 -I -c '
import http.client, sys
line = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=float(sys.argv[3]))
line.request("GET", sys.argv[2])
answer = line.getresponse()
sys.stdout.buffer.write(answer.read(1 << 20) + b"\\ndrill-status %d" % answer.status)' "$0" "$1" "$2"
elif command -v wget >/dev/null 2>&1; then
  exec wget -S -O - -T "$2" "$u"
elif command -v bash >/dev/null 2>&1 && command -v timeout >/dev/null 2>&1; then
  exec timeout "$2" bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" &&
    printf "GET %s HTTP/1.0\\r\\nHost: localhost\\r\\n\\r\\n" "$1" >&3 && cat <&3' "$0" "$1"
fi
echo drill-cannot-ask
"""
_STATUS: Final = re.compile(rb"\ndrill-status (\d{3})\Z")
_HEADER: Final = re.compile(rb"^\s*HTTP/\d(?:\.\d)? (\d{3})\b", re.M)
_PAUSE: Final = 0.2
#: A shell's status for a program that was ended by a signal is beyond it.
_BY_SIGNAL: Final = 128
#: Seconds that one request may take, and those that starting a program for it may.
_REQUEST: Final = 10.0
_MARGIN: Final = 15.0
_LINES: Final = 20


class Application:
    """What runs over a volume.

    Args:
        sandbox: Where; it is equipped.
        ground: What it was equipped with.
        command: What is started; ``None`` for the image's own, empty for nothing.
        environment: Variables besides the image's.
    """

    def __init__(
        self, sandbox: Sandbox, ground: Ground, command: Sequence[str] | None, environment: Mapping[str, str]
    ) -> None:
        #: ``none``, ``up``, or how it ended.
        self.state = "none"
        self.notes: list[str] = []
        self._sandbox = sandbox
        self._command = tuple(ground.command if command is None else command)
        self._environment = {**ground.environment, **environment}
        self._directory = ground.directory or "/"
        self._server: Server | None = None
        self._said: tuple[str, ...] = ()

    def exec(self, argv: Sequence[str], seconds: float) -> Completed:
        """Run a program of the image as the application would be."""
        return self._sandbox.exec(argv, deadline=seconds, environment=self._environment)

    def start(self, seconds: float) -> None:
        """Start it, if there is anything to start; that it ends again is for those to say who ask something of it.

        Raises:
            ProgramMissing: The image has no such program.
            CouldNotVerify: The container ended.
        """
        if not self._command:
            return
        look = 'cd "$0" 2>/dev/null || cd /; command -v "$1" >/dev/null 2>&1'
        if self.exec(["sh", "-c", look, self._directory, self._command[0]], seconds).returncode:
            raise ProgramMissing(
                "the application's command is no program of its image",
                looked_at=self._command[0],
                remedy="Correct engine_options.command, or the image of the target's sandbox.",
            )
        argv = ["sh", "-c", _RUN, self._directory, *self._command]
        try:
            self._server = self._sandbox.start(
                argv, ready=lambda: True, deadline=seconds, environment=self._environment
            )
        except DeadlineExceeded:
            raise
        except CouldNotVerify as problem:
            self.state, self._said = "ended at once", problem.details
        else:
            self.state = "up"

    def run(self, argv: Sequence[str], seconds: float) -> dict[str, Any]:
        """Run a command in it.

        Raises:
            CouldNotVerify: The image has no such program, or the container ended.
        """
        try:
            done = self.exec(["sh", "-c", _RUN, self._directory, *argv], seconds)
        except DeadlineExceeded as problem:
            return self._found("late", 0, contains=False, details=problem.details)
        if _MISSING in done.stderr:
            raise CouldNotVerify(
                "the image has no such program",
                looked_at=argv[0],
                remedy="Correct the command in expect.smoke, or name another image.",
                stage=Stage.CONTENT,
            )
        return self._found("ended", done.returncode, contains=True, details=_lines(done))

    def ask(self, rule: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Ask an endpoint of it until it answers as it should, it has ended, or the time is over.

        Returns:
            The last answer that there was: it says more than the silence of a request that the end of the time cut off.

        Raises:
            CouldNotVerify: Nothing in the image can ask, or the container ended.
        """
        until = time.monotonic() + seconds
        told: dict[str, Any] = {"status": 0}
        while True:
            status, body, details = self._request(rule, min(_REQUEST, max(1.0, until - time.monotonic())))
            contains = rule.get("contains") is None or str(rule["contains"]).encode() in body
            is_right = status == rule["status"] and contains
            if status or not told["status"]:
                told = {"status": status, "contains": contains, "details": details}
            if is_right or time.monotonic() > until or self._has_ended():
                return self._found("answered" if told["status"] else "silent", **told)
            time.sleep(_PAUSE)

    def _request(self, rule: Mapping[str, Any], seconds: float) -> tuple[int, bytes, tuple[str, ...]]:
        """Status (0: there was no answer), content, and what the program that asked said."""
        argv = ["sh", "-c", _ASK, str(rule["port"]), str(rule["path"]), str(max(1, round(seconds)))]
        done = self.exec(argv, seconds + _MARGIN)
        if done.stdout.strip() == b"drill-cannot-ask":
            raise CouldNotVerify(
                "no program of the image can ask an endpoint",
                looked_at="curl, python3, wget, bash with timeout",
                remedy="Use run: with a program of the application's own, or an image with curl in it.",
                stage=Stage.CONTENT,
            )
        if found := _STATUS.search(done.stdout):
            return int(found[1]), done.stdout[: found.start()], _lines(done)
        headers = _HEADER.search(done.stderr) or _HEADER.match(done.stdout)
        if headers is None and (done.returncode < 0 or done.returncode > _BY_SIGNAL):
            raise CouldNotVerify(
                "the program of the image that asks an endpoint crashed",
                looked_at="curl, python3, wget, bash with timeout",
                remedy="Use run: with a program of the application's own, or an image with a curl that works.",
                stage=Stage.CONTENT,
                details=_lines(done),
            )
        return int(headers[1]) if headers else 0, done.stdout, _lines(done)

    def _has_ended(self) -> bool:
        """Whether it was started and has ended; what it wrote is kept then."""
        if self._server is not None and self._server.ended():
            done = self._server.stop()
            self._server = None
            self.state, self._said = f"ended with status {done.returncode}", _lines(done)
        return self.state not in ("up", "none")

    def _found(self, outcome: str, status: int, *, contains: bool, details: tuple[str, ...]) -> dict[str, Any]:
        said = ("the application wrote:", *self._said) if self._said else ()
        return {
            "outcome": outcome,
            "status": status,
            "contains": contains,
            "application": self.state,
            "details": [*details, *said],
        }


def _lines(done: Completed) -> tuple[str, ...]:
    text = done.stderr[-4000:] + b"\n" + done.stdout[-4000:]
    return tuple(line for line in text.decode(errors="replace").splitlines() if line.strip())[-_LINES:]
