"""Key holders, made once: generating a key is slower than what is tested."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.signers import CosignSigner, GpgSigner, MinisignSigner


@pytest.fixture(scope="session")
def gpg_signers(require_program: Callable[[str], str]) -> Iterator[list[GpgSigner]]:
    require_program("gpg")
    require_program("gpgv")
    with tempfile.TemporaryDirectory(prefix="rd", dir="/tmp") as place:  # a socket's path is at most 107 bytes
        signers = [GpgSigner(Path(place)), GpgSigner(Path(place), "rsa2048")]
        yield signers
        for signer in signers:
            signer.close()


@pytest.fixture(scope="session")
def minisign_signers(
    require_program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> list[MinisignSigner]:
    require_program("minisign")
    place = tmp_path_factory.mktemp("minisign")
    return [MinisignSigner(place), MinisignSigner(place)]


@pytest.fixture(scope="session")
def cosign_signers(
    require_program: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> list[CosignSigner]:
    require_program("openssl")
    place = tmp_path_factory.mktemp("cosign")
    return [CosignSigner(place), CosignSigner(place)]
