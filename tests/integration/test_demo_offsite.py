"""The demo's offsite store: S3 protocol over the objects on disk, for one reader, as long as its starter lives."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from restore_drill.errors import CouldNotVerify

CHECKOUT = Path(__file__).resolve().parents[2]
if str(CHECKOUT / "fixtures") not in sys.path:
    sys.path.append(str(CHECKOUT / "fixtures"))

import demo_estate  # noqa: E402
from demo_estate import offsite  # noqa: E402
from demo_estate.estate import ensure  # noqa: E402
from demo_estate.places import BUCKET, PREFIX, Estate  # noqa: E402

NOW = datetime(2026, 11, 23, 10, 40, tzinfo=UTC).timestamp()
_DUMP = f"{PREFIX}/legacy/2026/crm-327.sql.xz"


@pytest.fixture(scope="module")
def estate(tmp_path_factory: pytest.TempPathFactory) -> Estate:
    return ensure(tmp_path_factory.mktemp("checkout"), NOW, servers=False)


@pytest.fixture(scope="module")
def server(estate: Estate) -> Iterator[offsite.OffsiteServer]:
    with offsite.start(estate) as server:
        yield server


def _client(server: offsite.OffsiteServer, access_key_id: str, secret: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        region_name="eu-central-1",
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret,
        config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, proxies={}),
    )


def _keys(estate: Estate) -> tuple[str, str]:
    return estate.access_key_id.read_text("utf-8").strip(), estate.secret_access_key.read_text("utf-8").strip()


def _gone(pid: int, handle: int) -> bool:
    """Whether a process ends: its descriptor becomes readable then, whoever its parent is by now."""
    try:
        return bool(select.select([handle], [], [], 30)[0])
    finally:
        os.close(handle)


# Reading


def test_it_lists_what_lies_on_disk_page_by_page(server: offsite.OffsiteServer, estate: Estate) -> None:
    pages = (
        _client(server, *_keys(estate))
        .get_paginator("list_objects_v2")
        .paginate(Bucket=BUCKET, Prefix=f"{PREFIX}/", PaginationConfig={"PageSize": 7})
    )
    listed = {
        entry["Key"]: (entry["Size"], entry["LastModified"].timestamp()) for page in pages for entry in page["Contents"]
    }
    bucket = estate.objects / BUCKET
    stored = {str(path.relative_to(bucket)): path.stat() for path in bucket.rglob("*") if path.is_file()}
    assert listed == {key: (found.st_size, found.st_mtime) for key, found in stored.items()}
    assert any("+0100" in key for key in listed)  # a name that must be encoded on its way
    assert max(modified for _, modified in listed.values()) <= NOW


def test_it_hands_out_the_bytes_whole_and_in_parts(server: offsite.OffsiteServer, estate: Estate) -> None:
    client = _client(server, *_keys(estate))
    for path in (estate.objects / BUCKET / PREFIX / "orders").glob("*.age"):
        key = f"{PREFIX}/orders/{path.name}"
        assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == path.read_bytes()
        part = client.get_object(Bucket=BUCKET, Key=key, Range="bytes=100-199")
        assert part["ResponseMetadata"]["HTTPStatusCode"] == 206
        assert part["Body"].read() == path.read_bytes()[100:200]


def test_it_keeps_metadata_and_times(server: offsite.OffsiteServer, estate: Estate) -> None:
    found = _client(server, *_keys(estate)).head_object(Bucket=BUCKET, Key=_DUMP)
    assert found["Metadata"] == {"taken-at": "2026-11-23T02:15:00Z"}
    assert found["LastModified"] == datetime(2026, 11, 23, 2, 16, 15, tzinfo=UTC)


# Refusing


def test_nobody_writes(server: offsite.OffsiteServer, estate: Estate) -> None:
    client = _client(server, *_keys(estate))
    for call in (
        lambda: client.put_object(Bucket=BUCKET, Key=_DUMP, Body=b"x"),
        lambda: client.delete_object(Bucket=BUCKET, Key=_DUMP),
        lambda: client.create_multipart_upload(Bucket=BUCKET, Key=_DUMP),
        lambda: client.delete_bucket(Bucket=BUCKET),
    ):
        with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
            call()
    size = (estate.objects / BUCKET / _DUMP).stat().st_size
    assert client.head_object(Bucket=BUCKET, Key=_DUMP)["ContentLength"] == size


@pytest.mark.parametrize(
    ("wrong", "code"), [("access_key_id", "InvalidAccessKeyId"), ("secret", "SignatureDoesNotMatch")]
)
def test_the_wrong_key_is_refused(server: offsite.OffsiteServer, estate: Estate, wrong: str, code: str) -> None:
    right = dict(zip(("access_key_id", "secret"), _keys(estate), strict=True))
    assert _client(server, **right).list_objects_v2(Bucket=BUCKET)["KeyCount"] > 10
    client = _client(server, **{**right, wrong: "DEMO0000000000000000"})
    with pytest.raises(client.exceptions.ClientError, match=code):
        client.list_objects_v2(Bucket=BUCKET)
    with pytest.raises(client.exceptions.ClientError, match="403"):
        client.head_object(Bucket=BUCKET, Key=_DUMP)


def test_who_does_not_sign_is_refused(server: offsite.OffsiteServer) -> None:
    from botocore import UNSIGNED
    from botocore.config import Config
    from botocore.session import Session

    client = Session().create_client(
        "s3", "eu-central-1", endpoint_url=server.endpoint, config=Config(signature_version=UNSIGNED, proxies={})
    )
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.list_objects_v2(Bucket=BUCKET)


# Living and ending


def test_it_stays_through_an_interrupt_and_ends_when_stopped(estate: Estate) -> None:
    server = offsite.start(estate)
    handle = os.pidfd_open(server.pid)
    assert os.getpgid(server.pid) != os.getpgrp()  # Ctrl-C reaches the drills alone
    assert server.wait() == server.endpoint
    server.stop()
    assert _gone(server.pid, handle)
    server.stop()


@pytest.mark.parametrize("where", ["main thread", "another thread"])
def test_it_ends_when_its_parent_is_killed(estate: Estate, where: str) -> None:
    code = (
        "import sys, threading; from pathlib import Path; from demo_estate import offsite; "
        "from demo_estate.places import Estate\n"
        "def run():\n"
        f"  server = offsite.start(Estate(Path({str(estate.root)!r}))); server.wait()\n"
        "  print(server.pid, flush=True); keep.append(server)\n"
        "keep = []\n"
        + ("run()\n" if where == "main thread" else "t = threading.Thread(target=run); t.start(); t.join()\n")
        + "sys.stdin.read()"
    )
    command = [sys.executable, "-c", code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=_environment(), stdin=pipe, stdout=pipe, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        handle = os.pidfd_open(pid)
        assert not select.select([handle], [], [], 0)[0]
        os.kill(parent.pid, signal.SIGKILL)
    assert _gone(pid, handle)


def test_the_server_of_a_finished_thread_goes_on(estate: Estate) -> None:
    started: list[offsite.OffsiteServer] = []
    thread = threading.Thread(target=lambda: started.append(offsite.start(estate)))
    thread.start()
    thread.join()
    with started[0] as server:
        server.wait()
        assert _client(server, *_keys(estate)).list_objects_v2(Bucket=BUCKET)["KeyCount"] > 10


def test_a_server_that_cannot_start_says_why(estate: Estate, tmp_path: Path) -> None:
    broken = Estate(tmp_path / "estate")
    shutil.copytree(estate.root, broken.root, symlinks=True)
    with offsite.start(broken) as server:
        server.wait()
    broken.access_key_id.unlink()
    with offsite.start(broken) as server, pytest.raises(CouldNotVerify, match="s3-access-key-id"):
        server.wait()


def test_without_its_libraries_it_names_the_extra(estate: Estate) -> None:
    # -S: no site-packages, hence no moto.
    code = (
        f"import sys; sys.path[:0] = [{str(CHECKOUT / 'fixtures')!r}, {str(CHECKOUT / 'src')!r}]\n"
        "from pathlib import Path; from demo_estate import offsite; from demo_estate.places import Estate\n"
        f"offsite.start(Estate(Path({str(estate.root)!r})))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pytest-restore-drill[demo]" in done.stderr and "moto" in done.stderr


# The entry points


def test_the_demo_announces_its_store_and_takes_that_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(demo_estate.ENDPOINT_VARIABLE, raising=False)
    monkeypatch.setenv("no_proxy", "intern.example")
    with demo_estate.start(tmp_path, NOW) as demo:
        assert os.environ[demo_estate.ENDPOINT_VARIABLE] == demo.server.endpoint
        assert os.environ["no_proxy"] == "intern.example,127.0.0.1"
        # At once, without waiting: the connection is accepted when the store is ready.
        assert _client(demo.server, *_keys(demo.estate)).list_objects_v2(Bucket=BUCKET)["KeyCount"] > 10
        assert "DEMO ESTATE" in demo.notice
    assert demo_estate.ENDPOINT_VARIABLE not in os.environ
    assert os.environ["no_proxy"] == "intern.example"


def test_the_command_builds_and_serves(tmp_path: Path) -> None:
    shutil.copytree(CHECKOUT / "fixtures" / "demo_estate", tmp_path / "fixtures" / "demo_estate")
    command = [sys.executable, str(tmp_path / "fixtures" / "demo_estate")]
    built = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=True)
    assert str(tmp_path / "fixtures" / "estate" / "nas") in built.stdout
    serving = subprocess.Popen([*command, "serve"], env=_environment(), stdout=subprocess.PIPE, text=True)
    assert serving.stdout
    with serving.stdout as lines:
        endpoint = next(line for line in lines if demo_estate.ENDPOINT_VARIABLE in line).partition("=")[2].strip()
        assert endpoint.startswith("http://127.0.0.1:")
        serving.send_signal(signal.SIGTERM)
        assert serving.wait() == 0


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (CHECKOUT / "fixtures", CHECKOUT / "src")))}
