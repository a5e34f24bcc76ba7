"""Start real S3 servers on the loopback interface, wait until they answer, and stop them by their process id."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import sysconfig
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from restore_drill.secrets import SecretReference
from restore_drill.stores.base import StoreSettings

READY_DEADLINE = 60.0
#: Below those that Linux gives to outgoing connections, one of which would take a port before its server does.
_PORTS = range(15_000, 32_000)
KEYS = {
    "admin": ("ADMINKEY12345678", "admin-secret-5f1c"),
    "reader": ("READERKEY1234567", "reader-secret-83bd"),
    "lister": ("LISTERKEY1234567", "lister-secret-0a77"),
}


STATE_KEYS = ("STATE_ACCESS_KEY_ID", "STATE_SECRET_ACCESS_KEY")


def state_settings(endpoint: str, url: str) -> StoreSettings:
    """A place for state and ledger on a server, by the keys that this process's environment names."""
    secrets = dict(
        zip(("access_key_id", "secret_access_key"), (SecretReference("env", n) for n in STATE_KEYS), strict=True)
    )
    options = {"endpoint": endpoint, "region": "us-east-1", "path_style": True}
    return StoreSettings("state", url, connect_deadline=5, read_deadline=20, options=options, secrets=secrets)


def keep_only_state_keys(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Take every credential out of the environment but the administrator's keys of the test servers; what is left."""
    clean = without_credentials(dict(os.environ)) | dict(zip(STATE_KEYS, KEYS["admin"], strict=True))
    for name in set(os.environ) - set(clean):
        monkeypatch.delenv(name)
    for name, value in clean.items():
        monkeypatch.setenv(name, value)
    return clean


@dataclass
class S3Server:
    """A running server.

    Attributes:
        endpoint: Its URL.
        filer: Where seaweedfs takes files without a signature (``host``, ``port``), to fill a bucket quickly.
        left_behind: What it does not remove itself when it is ended.
    """

    process: subprocess.Popen[bytes]
    endpoint: str
    filer: tuple[str, int] = ("", 0)
    left_behind: tuple[Path, ...] = ()
    _clients: dict[str, Any] = field(default_factory=dict)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.endpoint.removeprefix("http://").partition(":")
        return host, int(port)

    def client(self, who: str = "admin") -> Any:
        """A boto3 client that may write, for the tests' own use."""
        if who not in self._clients:
            import boto3
            from botocore.config import Config

            key, secret = KEYS[who]
            self._clients[who] = boto3.client(
                "s3",
                endpoint_url=self.endpoint,
                region_name="us-east-1",
                aws_access_key_id=key,
                aws_secret_access_key=secret,
                config=Config(s3={"addressing_style": "path"}, request_checksum_calculation="when_required"),
            )
        return self._clients[who]

    def fill(self, bucket: str, count: int, connections: int = 4) -> None:
        """Put ``count`` empty objects ``k/0000000`` … into a bucket, through the filer, many to a packet."""
        share = -(-count // connections)
        writers = [
            threading.Thread(target=_write_many, args=(self.filer, bucket, range(start, min(start + share, count))))
            for start in range(0, count, share)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()


def _write_many(filer: tuple[str, int], bucket: str, numbers: range, batch: int = 200) -> None:
    with socket.create_connection(filer, timeout=30) as connection:
        for start in range(0, len(numbers), batch):
            some = numbers[start : start + batch]
            connection.sendall(
                b"".join(
                    b"PUT /buckets/%s/k/%07d HTTP/1.1\r\nHost: filer\r\nContent-Length: 0\r\n\r\n"
                    % (bucket.encode(), number)
                    for number in some
                )
            )
            answers = b""
            while answers.count(b"HTTP/1.1 201") < len(some) or not answers.endswith(b"}"):
                answers += connection.recv(1 << 16)


@contextmanager
def seaweedfs(directory: Path, require_program: Callable[[str], str]) -> Iterator[S3Server]:
    """A seaweedfs with its S3 gateway; signatures and rights are checked (see ``KEYS``)."""
    beside = Path(sysconfig.get_path("scripts"), "weed")
    program = str(beside) if beside.exists() else require_program("weed")
    directory.mkdir(parents=True, exist_ok=True)
    rights = {"admin": ["Admin", "Read", "List", "Tagging", "Write"], "reader": ["Read", "List"], "lister": ["List"]}
    identities = [
        {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": rights[name]}
        for name, (key, secret) in KEYS.items()
    ]
    (directory / "s3.json").write_text(json.dumps({"identities": identities}))
    server = _first_that_answers(lambda: _start_seaweedfs(program, directory))
    try:
        yield server
    finally:
        _stop(server.process)
        shutil.rmtree(directory, ignore_errors=True)
        for path in server.left_behind:
            path.unlink(missing_ok=True)


def _start_seaweedfs(program: str, directory: Path) -> S3Server:
    roles = ("master", "volume", "filer", "s3")
    numbers = iter(free_ports(2 * len(roles)))
    ports = {f"{role}{kind}": next(numbers) for role in roles for kind in (".port", ".port.grpc")}
    options = [f"-{name}={port}" for name, port in ports.items()]
    with (directory / "server.log").open("ab") as log:
        process = subprocess.Popen(
            [
                program, "-logtostderr=true", "server", f"-dir={directory}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
                "-filer", "-s3", *options, f"-s3.config={directory / 's3.json'}", "-s3.port.iceberg=0",
                "-s3.port.lance=0", f"-filer.localSocket={directory / 'f.sock'}",
                f"-s3.localSocket={directory / 's.sock'}", "-master.volumeSizeLimitMB=256", "-volume.max=20",
            ],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=directory,
        )  # fmt: skip
    sockets = [Path("/tmp", f"seaweedfs-{role}-grpc-{ports[f'{role}.port.grpc']}.sock") for role in roles]
    filer = ("127.0.0.1", ports["filer.port"])
    return S3Server(process, f"http://127.0.0.1:{ports['s3.port']}", filer, tuple(sockets))


@contextmanager
def moto(directory: Path) -> Iterator[S3Server]:
    """moto's own server, in a process of its own; it checks no signatures."""
    directory.mkdir(parents=True, exist_ok=True)
    program = Path(__file__).with_name("moto_server.py")

    def start() -> S3Server:
        port = free_ports(1)[0]
        with (directory / "server.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(program), str(port)], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return S3Server(process, f"http://127.0.0.1:{port}")

    server = _first_that_answers(start)
    try:
        yield server
    finally:
        _stop(server.process)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on right now."""
    found: set[int] = set()
    while len(found) < count:
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", random.SystemRandom().choice(_PORTS)))
            found.add(one.getsockname()[1])
    return list(found)


def _first_that_answers(start: Callable[[], S3Server], attempts: int = 3) -> S3Server:
    """Start a server; again when somebody else took one of its ports meanwhile."""
    for _ in range(attempts):
        server = start()
        try:
            if _is_ready(server):
                return server
        except BaseException:
            _stop(server.process)
            raise
        _stop(server.process)
    raise RuntimeError(f"the server did not start in {attempts} attempts")


def wait_for_port(process: subprocess.Popen[bytes], port: int, name: str) -> None:
    """Wait until a server that was just started takes connections."""
    until = time.monotonic() + READY_DEADLINE
    while process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"{name} did not start")


def _is_ready(server: S3Server) -> bool:
    until = time.monotonic() + READY_DEADLINE
    while server.process.poll() is None and time.monotonic() < until:
        if _answers(server.endpoint) and _takes_objects(server):
            return True
        time.sleep(0.1)
    return False


def _answers(endpoint: str) -> bool:
    try:
        urllib.request.urlopen(endpoint, timeout=5).close()
    except urllib.error.HTTPError as problem:
        problem.close()
        return problem.code in (400, 403)
    except OSError:
        return False
    return True


def _takes_objects(server: S3Server) -> bool:
    """Whether an object can be stored: seaweedfs answers before its volumes are there."""
    import botocore.exceptions

    try:
        client = server.client()
        client.create_bucket(Bucket="ready")
        client.put_object(Bucket="ready", Key="ready", Body=b"ready")
        client.delete_object(Bucket="ready", Key="ready")
        client.delete_bucket(Bucket="ready")
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError):
        return False
    return True


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()  # nothing of it is kept: an orderly end would take seconds
    process.wait()


def certificate(path: Path, name: str, *, days: int = 1) -> ssl.SSLContext:
    """Write a self-signed certificate for an IP address, valid from ten days ago until ``days`` from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    built = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(built.public_bytes(Encoding.PEM))
    path.with_suffix(".key").write_bytes(secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, path.with_suffix(".key"))
    return context


def without_credentials(environment: dict[str, str]) -> dict[str, str]:
    """An environment in which boto3's chain finds nothing, on this machine or around it."""
    kept = {name: value for name, value in environment.items() if not name.startswith("AWS_")}
    return {**kept, "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull}  # fmt: skip
