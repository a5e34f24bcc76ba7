"""Real servers, started once a session and stopped by their process id."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.support.servers import S3Server, moto, seaweedfs


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Iterator[S3Server]:
    """A seaweedfs S3 server that checks signatures, with the bucket ``backups``."""
    with seaweedfs(tmp_path_factory.mktemp("seaweedfs"), require_program) as server:
        server.client().create_bucket(Bucket="backups")
        yield server


@pytest.fixture(scope="session")
def moto_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A moto S3 server, which takes any signature and every kind of key, with the bucket ``backups``."""
    with moto(tmp_path_factory.mktemp("moto")) as server:
        server.client().create_bucket(Bucket="backups")
        yield server
