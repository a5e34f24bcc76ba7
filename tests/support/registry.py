"""A real image registry (Debian's docker-registry) on the loopback interface, where engines ask for no certificate."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
import re
import subprocess
import tarfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READY_DEADLINE = 60.0
#: Who may pull where a password is asked for.
USER, PASSWORD = "reader", "correct-horse-4711"
_LABEL = "restore-drill.tests.registry"
_numbers = itertools.count()
_CONFIGURATION = """
version: 0.1
log: {{level: info, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {here}/images}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:0"}}
{auth}
"""


@dataclass
class Registry:
    """A running registry.

    Attributes:
        address: ``127.0.0.1:PORT``, the first part of its images' names.
        engine: The client that pushes to it.
    """

    address: str
    engine: Any
    passwords: bool = False

    def push(self, name: str, *, version: str = "") -> str:
        """Push a tiny image that differs from every other one, and remove it from the engine.

        Args:
            name: ``repository:tag``.
            version: What it says in a label.

        Returns:
            Its digest.
        """
        repository, _, tag = f"{self.address}/{name}".rpartition(":")
        tiny(self.engine, f"{repository}:{tag}", version=version)
        auth = {"username": USER, "password": PASSWORD} if self.passwords else None
        events = list(self.engine.api.push(repository, tag, stream=True, decode=True, auth_config=auth))
        (digest,) = [event["aux"]["Digest"] for event in events if "Digest" in event.get("aux", {})]
        self.forget(name)
        return str(digest)

    def forget(self, name: str) -> None:
        """Remove an image from the engine."""
        from docker.errors import ImageNotFound

        try:
            self.engine.images.remove(f"{self.address}/{name}", force=True)
        except ImageNotFound:
            return

    def withdraw(self, repository: str, digest: str) -> None:
        """Delete an image from the registry."""
        url = f"http://{self.address}/v2/{repository}/manifests/{digest}"
        with urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=30) as answer:
            assert answer.status == 202


def tiny(engine: Any, name: str, *, version: str = "none", processor: str = "") -> str:
    """Have an image of a few bytes in the engine, unlike every other one, and return its id."""
    layer = _tar({"number": f"{os.getpid()}.{next(_numbers)}".encode()})
    configuration = {
        "architecture": processor or engine.api.version()["Arch"],
        "os": "linux",
        "created": "2026-01-02T03:04:05Z",
        "config": {
            "User": "nobody",
            "Env": ["COLOUR=red"],
            "Labels": {_LABEL: str(os.getpid()), "org.opencontainers.image.version": version},
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    content = _tar(
        {
            "layer.tar": layer,
            "config.json": json.dumps(configuration).encode(),
            "manifest.json": json.dumps(manifest).encode(),
        }
    )
    for said in engine.api.load_image(content):  # it is there when everything has been said
        assert "error" not in said, said
    return str(engine.api.inspect_image(name)["Id"])


def _tar(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@contextmanager
def registry(
    directory: Path, engine: Any, require_program: Callable[[str], str], *, passwords: bool = False
) -> Iterator[Registry]:
    """A registry whose images go with it, from the engine, too."""
    program = require_program("docker-registry")
    auth = ""
    if passwords:
        import bcrypt

        secret = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
        (directory / "htpasswd").write_text(f"{USER}:{secret}\n")
        auth = f"auth: {{htpasswd: {{realm: tests, path: {directory}/htpasswd}}}}"
    configuration = directory / "config.yml"
    configuration.write_text(_CONFIGURATION.format(here=directory, auth=auth))
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, "serve", configuration], stdout=output, stderr=output)
    try:
        running = Registry(_address(process, log), engine, passwords)
        yield running
    finally:
        process.terminate()
        process.wait(30)
        for image in engine.images.list(filters={"label": f"{_LABEL}={os.getpid()}"}):
            engine.images.remove(image.id, force=True)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + READY_DEADLINE
    while time.monotonic() < until:
        if found := re.search(r"listening on (127\.0\.0\.1:\d+)", log.read_text()):
            return found[1]
        assert process.poll() is None, log.read_text()
        time.sleep(0.02)
    raise AssertionError(f"docker-registry is not ready: {log.read_text()}")
