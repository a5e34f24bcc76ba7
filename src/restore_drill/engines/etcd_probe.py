"""What the ``etcd`` engine does with restored bytes. Every function runs inside the sandbox."""

from __future__ import annotations

import contextlib
import hashlib
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from restore_drill import process
from restore_drill.engines.base import nothing_came_back
from restore_drill.engines.streamed import environment, last_lines, program, shortage
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.process import Completed
from restore_drill.sandboxes.base import Call

_DATA: Final = "restored-etcd"
#: What the server listens on: ``HOST:PORT`` is the name of a socket in the directory that it runs in.
_CLIENTS: Final = "unix://localhost:1"
_PEERS: Final = "unix://localhost:2"
_MEMBER: Final = "http://localhost:2380"
_DIGEST: Final = hashlib.sha256().digest_size
#: bbolt's pages are multiples of this, by which etcd tells whether a digest follows them.
_BLOCK: Final = 512
_ASK_EVERY: Final = 0.05


def verify(call: Call, payload: str) -> None:
    """Compare the digest behind the pages with that of the pages."""
    path = call.work / payload
    size = path.stat().st_size
    if not size:
        raise nothing_came_back("the snapshot is empty")
    if size % _BLOCK != _DIGEST:
        raise BackupFailed(
            "the snapshot does not end with its digest: it is cut, or was copied out of a data directory",
            remedy="Take it with etcdctl snapshot save; a file that was copied from a running etcd may be torn.",
            stage=Stage.UNPACK,
        )
    digest = hashlib.sha256()
    left = size - _DIGEST
    with path.open("rb") as file:
        while left and (chunk := file.read(min(left, 1 << 20))):
            digest.update(chunk)
            left -= len(chunk)
        recorded = file.read()
    if recorded != digest.digest():
        raise BackupFailed(
            "the digest at the end of the snapshot is wrong: it is damaged",
            remedy="Use another copy or an earlier snapshot. Do not restore it with --skip-hash-check.",
            stage=Stage.UNPACK,
        )


def restore(call: Call, payload: str, prefixes: Sequence[str], seconds: float) -> dict[str, Any]:
    """Make a data directory of it, start a server over that, and ask it."""
    verify(call, payload)
    tools = Tools(call.work, min(call.until - 2, time.monotonic() + seconds))
    tools.restore(payload)
    with tools.server():
        counts = {"keys": tools.count("", "--from-key"), **{name: tools.count(name, "--prefix") for name in prefixes}}
        status = tools.ask("endpoint", "status")[0]["Status"]
        hashed = tools.ask("endpoint", "hashkv")[0]["HashKV"]
        problems = tools.problems()
    return {
        "counts": counts,
        "problems": problems,
        "revision": int(status["header"].get("revision", 0)),
        "etcd": str(status["version"]),
        "hash": int(hashed.get("hash", 0)),
    }


class Tools:
    """etcd's programs over one work directory.

    Args:
        work: Where they run, and where the sockets are.
        until: ``time.monotonic()`` at which everything has to end.
    """

    def __init__(self, work: Path, until: float) -> None:
        self._work = work
        self._until = until
        self._etcd = program("etcd", "etcd-server")
        self._etcdctl = program("etcdctl", "etcd-client")
        self._environment = environment(ETCDCTL_API="3")

    def restore(self, payload: str) -> None:
        """Make a data directory of a snapshot.

        Raises:
            BackupFailed: etcd refuses it.
        """
        # What restores moved from etcdctl to etcdutl, which comes with 3.5 and is the only one since 3.6.
        tool = process.find("etcdutl") or self._etcdctl
        done = self._run(tool, "snapshot", "restore", payload, "--data-dir", _DATA)
        if done.returncode or not (self._work / _DATA / "member").is_dir():
            raise _refused("etcd refuses the snapshot", done.stderr, done.returncode)

    @contextlib.contextmanager
    def server(self, *options: str) -> Iterator[None]:
        """A server that is ready; it is gone afterwards."""
        argv = [
            self._etcd, "--data-dir", _DATA, "--listen-client-urls", _CLIENTS, "--advertise-client-urls", _CLIENTS,
            "--listen-peer-urls", _PEERS, "--initial-advertise-peer-urls", _MEMBER, "--logger", "zap", "--log-level",
            "error", "--heartbeat-interval", "20", "--election-timeout", "200", *options,
        ]  # fmt: skip
        with (self._work / "etcd.log").open("w+b") as log:
            child = subprocess.Popen(  # noqa: S603 - our own arguments
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._environment, cwd=self._work
            )
            try:
                self._await_ready(child)
                yield
            finally:
                child.kill()
                child.wait()

    def count(self, key: str, how: str) -> int:
        """How many keys there are; the answer tells of all, whatever it is limited to (3.4 has no --count-only)."""
        return int(self.ask("get", key, how, "--keys-only", "--limit", "1").get("count", 0))

    def ask(self, *question: str) -> Any:
        """What the server answers, as JSON.

        Raises:
            BackupFailed: It does not.
            CouldNotVerify: It wants to know who asks.
        """
        done = self.run(*question, "-w", "json")
        if _wants_to_know(done):
            raise CouldNotVerify(
                "the restored cluster asks for a user and a password, and its keys cannot be counted",
                remedy="Drill it with an engine of your own that knows them.",
                stage=Stage.RESTORE,
            )
        if done.returncode:
            raise _refused("etcd does not answer over the restored data", done.stderr)
        return json.loads(done.stdout)

    def run(self, *arguments: str) -> Completed:
        """Run etcdctl against the server to its end."""
        return self._run(self._etcdctl, "--endpoints", _CLIENTS, "--command-timeout", "60s", *arguments)

    def problems(self) -> list[dict[str, Any]]:
        """What the server itself finds wrong."""
        found = []
        alarms = [
            line.rpartition("alarm:")[2].strip() for line in self.run("alarm", "list").stdout.decode().split("\n")
        ]
        found += [
            {"rule": "alarm", "message": f"the cluster had raised the alarm {name}", "count": alarms.count(name)}
            for name in sorted(set(filter(str.isalpha, alarms)))
        ]
        if not found and self.run("endpoint", "health").returncode:
            found.append({"rule": "health", "message": "the server over the restored data is not healthy", "count": 1})
        return found

    def _await_ready(self, child: subprocess.Popen[bytes]) -> None:
        """Until it has elected itself, which it has to before it answers anything that must be right."""
        while child.poll() is None:
            if (self._work / "localhost:1").exists() and self._answers():
                return
            if time.monotonic() > self._until:
                raise DeadlineExceeded("etcd was not ready in time", remedy="Raise the target's restore deadline.")
            time.sleep(_ASK_EVERY)
        written = (self._work / "etcd.log").read_bytes()
        if b"panic" in written or child.returncode < 0:
            raise _refused("etcd does not start over the restored data", written, child.returncode)
        raise CouldNotVerify(
            f"etcd ended with status {child.returncode} before it was ready",
            remedy="What it wrote is in the details.",
            details=last_lines(written),
        )

    def _answers(self) -> bool:
        done = self.run("get", "a", "--consistency", "l", "--keys-only", "--dial-timeout", "1s")
        return done.returncode == 0 or _wants_to_know(done)

    def _run(self, *argv: str) -> Completed:
        left = max(0.5, self._until - time.monotonic())
        return process.run(argv, deadline=left, environment=self._environment, cwd=self._work)


def _wants_to_know(done: Completed) -> bool:
    """Whether the server answers nobody whom it does not know."""
    return done.returncode != 0 and (b"user name is empty" in done.stderr or b"permission denied" in done.stderr)


def _refused(cause: str, text: bytes, status: int = 1) -> RestoreDrillError:
    return shortage(status, text.decode(errors="replace"), "etcd") or BackupFailed(
        cause,
        remedy="Use another copy or an earlier snapshot, and check with etcdctl snapshot status.",
        stage=Stage.RESTORE,
        details=last_lines(text),
    )
