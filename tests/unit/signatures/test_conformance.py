"""Every kind of signature keeps the contract."""

from __future__ import annotations

import itertools

import pytest
from tests.support.signers import CosignSigner, GpgSigner, MinisignSigner

from restore_drill.signatures.cosign import CosignSignature
from restore_drill.signatures.gpg import GpgSignature
from restore_drill.signatures.minisign import MinisignSignature
from restore_drill.testing.signature import MakeSigner, SignatureConformance


class TestGpg(SignatureConformance):
    kind = GpgSignature

    @pytest.fixture
    def make_signer(self, gpg_signers: list[GpgSigner]) -> MakeSigner:
        return itertools.cycle(gpg_signers).__next__


class TestMinisign(SignatureConformance):
    kind = MinisignSignature

    @pytest.fixture
    def make_signer(self, minisign_signers: list[MinisignSigner]) -> MakeSigner:
        return itertools.cycle(minisign_signers).__next__


class TestCosign(SignatureConformance):
    kind = CosignSignature

    @pytest.fixture
    def make_signer(self, cosign_signers: list[CosignSigner]) -> MakeSigner:
        return itertools.cycle(cosign_signers).__next__
