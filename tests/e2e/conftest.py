"""What the end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.estate import BUCKET
from tests.support.servers import S3Server, moto


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server in a process of its own, with the bucket that estates use."""
    directory: Path = tmp_path_factory.mktemp("cloud")
    with moto(directory) as server:
        server.client().create_bucket(Bucket=BUCKET)
        yield server
