"""Signatures beside artifacts, digests and manifests; digests that a store keeps; algorithms that are not at hand."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import Generations, MakeRepository, MakeStaging, Objects, database
from tests.support.plans import planned_copy
from tests.support.signers import CosignSigner, MinisignSigner

from restore_drill import digests
from restore_drill.errors import BackupFailed, Blocked, CouldNotVerify, RestoreDrillError
from restore_drill.model import Artifact, Finding, Stage
from restore_drill.policy import checksum
from restore_drill.repositories.base import Transfer
from restore_drill.stores.base import ProviderDigest
from restore_drill.stores.local import LocalStore

NOW = datetime.now(UTC).replace(microsecond=0)
HOUR = timedelta(hours=1)
TEXT = "db/{time:%Y%m%d_%H%M%S}.db"
FILES = {"etc/app.toml": b"port = 8080\n", "hosts": b"::1\n"}


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory, require_program: Any) -> list[MinisignSigner]:
    require_program("minisign")
    return [MinisignSigner(tmp_path_factory.mktemp("keys")) for _ in range(2)]


@pytest.fixture
def job(tmp_path: Path) -> Objects:
    return Objects(tmp_path / "store", TEXT)


def rule(signer: MinisignSigner, **more: Any) -> dict[str, Any]:
    return {"signature": {"kind": "minisign", "keys": [signer.public.decode()], **more.pop("how", {})}, **more}


def sign(path: Path, signer: MinisignSigner, suffix: str = ".minisig") -> None:
    path.with_name(path.name + suffix).write_bytes(signer.sign(path.read_bytes()))


def fetch(make: MakeRepository, staging: Any, **copy: Any) -> Transfer:
    repository = make(**{"path": TEXT, **copy})
    return repository.fetch(repository.survey().newest[0], staging)


def judge(transfer: Transfer, rule: dict[str, Any]) -> Finding:
    return checksum(transfer, planned_copy(checksum=rule))


def broken(transfer: Transfer) -> RestoreDrillError:
    assert list(transfer.broken) == [Stage.VERIFY] and transfer.payloads == []
    return transfer.broken[Stage.VERIFY]


# --- signatures -------------------------------------------------------------------------------------------------------


def test_a_signed_artifact(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, signers: list[MinisignSigner]
) -> None:
    path = job.put(NOW - HOUR)
    sign(path, signers[0])
    asked = rule(signers[0])
    transfer = fetch(make_repository, make_staging(), checksum=asked)
    assert transfer.broken == {} and len(transfer.payloads) == 1
    ((check),) = transfer.signatures
    assert (check.signed, check.kind, check.key) == (path.name, "minisign", signers[0].shown)
    finding = judge(transfer, asked)
    assert finding.passed
    assert f"{path.name} is signed by the pinned minisign key {signers[0].shown}" in finding.notes


@pytest.mark.parametrize("harm", ["bytes", "other key", "malformed"])
def test_a_signature_that_proves_nothing_blocks(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, signers: list[MinisignSigner], harm: str
) -> None:
    path = job.put(NOW - HOUR, digest=False)
    sign(path, signers[harm == "other key"])
    if harm == "bytes":
        path.write_bytes(database(101))
    if harm == "malformed":
        path.with_name(f"{path.name}.minisig").write_text("<html>")
    Objects.sidecar(path).write_text(f"{digests.new('sha256', path.read_bytes()).hexdigest()}  {path.name}\n")
    problem = broken(fetch(make_repository, make_staging(), checksum=rule(signers[0])))
    assert isinstance(problem, BackupFailed) and problem.looked_at.endswith(".minisig")
    says = {"bytes": "not one of these bytes", "other key": signers[1].shown, "malformed": "cannot be used"}
    assert says[harm] in problem.cause
    assert fetch(make_repository, make_staging()).broken == {}  # nobody asked for a signature


def test_a_missing_signature_fails_and_does_not_block(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, signers: list[MinisignSigner]
) -> None:
    path = job.put(NOW - HOUR)
    transfer = fetch(make_repository, make_staging(), checksum=rule(signers[0]))
    assert transfer.broken == {} and len(transfer.payloads) == 1
    finding = judge(transfer, rule(signers[0]))
    assert not finding.passed
    assert finding.message == f"no signature is there for {path.name}: looked for {path.name}.minisig"


@pytest.mark.parametrize("how", ["missing file", "no key"])
def test_a_key_that_cannot_be_used_says_nothing_about_the_backup(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, signers: list[MinisignSigner],
    tmp_path: Path, how: str,
) -> None:  # fmt: skip
    sign(job.put(NOW - HOUR), signers[0])
    key = tmp_path / "key"
    if how == "no key":
        key.write_text("nonsense")
    asked = {"signature": {"kind": "minisign", "keys": [f"file:{key}"]}}
    transfer = fetch(make_repository, make_staging(), checksum=asked)
    assert transfer.broken == {}
    with pytest.raises(CouldNotVerify, match=r"a pinned public key cannot be read|key cannot be used"):
        judge(transfer, asked)
    key.write_bytes(signers[0].public)
    assert judge(fetch(make_repository, make_staging(), checksum=asked), asked).passed


def test_what_an_artifact_decodes_to_may_be_what_is_signed(
    tmp_path: Path, make_repository: MakeRepository, make_staging: MakeStaging, signers: list[MinisignSigner]
) -> None:
    job = Objects(tmp_path / "store", f"{TEXT}.gz")
    path = job.put(NOW - HOUR, gzip.compress(database()))
    content = path.with_suffix("")
    content.with_name(f"{content.name}.minisig").write_bytes(signers[0].sign(database()))
    asked = rule(signers[0])
    transfer = fetch(make_repository, make_staging(), path=f"{TEXT}.gz", checksum=asked)
    assert transfer.broken == {}
    assert [(check.signed, check.key) for check in transfer.signatures] == [(content.name, signers[0].shown)]
    path.write_bytes(gzip.compress(database())[:-9])  # what is signed is never read to its end
    Objects.sidecar(path).write_text(f"{digests.new('sha256', path.read_bytes()).hexdigest()}  {path.name}\n")
    transfer = fetch(make_repository, make_staging(), path=f"{TEXT}.gz", checksum=asked)
    assert list(transfer.broken) == [Stage.UNPACK]
    with pytest.raises(Blocked, match="blocked by unpacks"):
        judge(transfer, asked)


def test_a_signed_sidecar_or_list_of_digests(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, signers: list[MinisignSigner]
) -> None:
    path = job.put(NOW - HOUR)
    asked = rule(signers[0], how={"of": "digest"})
    sign(Objects.sidecar(path), signers[0])
    transfer = fetch(make_repository, make_staging(), checksum=asked)
    assert judge(transfer, asked).passed
    assert [check.signed for check in transfer.signatures] == [f"{path.name}.sha256"]
    listing = path.with_name("SHA256SUMS")
    Objects.sidecar(path).rename(listing)
    transfer = fetch(make_repository, make_staging(), checksum=asked)
    assert not judge(transfer, asked).passed and transfer.unsigned[0].startswith("SHA256SUMS: looked for")
    sign(listing, signers[0])
    assert judge(fetch(make_repository, make_staging(), checksum=asked), asked).passed
    path.write_bytes(database(101))  # and the list with it, by somebody who has no key
    listing.write_text(f"{digests.new('sha256', path.read_bytes()).hexdigest()}  {path.name}\n")
    assert "not one of these bytes" in broken(fetch(make_repository, make_staging(), checksum=asked)).cause


def test_while_it_settles_a_signature_may_be_missing(
    job: Objects, make_repository: MakeRepository, signers: list[MinisignSigner]
) -> None:
    path = job.put(NOW - HOUR)
    for how, signed in (({}, path), ({"of": "digest"}, Objects.sidecar(path))):
        repository = make_repository(path=TEXT, checksum=rule(signers[0], how=how))
        snapshot = repository.survey().newest[0]
        assert repository.unfinished(snapshot, settling=True) == "its signature is not there yet"
        assert repository.unfinished(snapshot, settling=False) is None
        sign(signed, signers[0])
        repository.survey()
        assert repository.unfinished(snapshot, settling=True) is None


def test_a_signature_is_no_snapshot_of_its_own(
    tmp_path: Path, make_repository: MakeRepository, signers: list[MinisignSigner]
) -> None:
    job = Objects(tmp_path / "store", TEXT)
    path = job.put(NOW - HOUR)
    sign(path, signers[0])
    (path.with_name(f"{path.name}.b3")).write_text("x")
    repository = make_repository(path="db/{time:%Y%m%d_%H%M%S}{any}", checksum=rule(signers[0]))
    assert [snapshot.main.name for snapshot in repository.survey().newest] == [path.name]


def test_the_name_of_a_signature_may_be_stated_and_pinned_artifacts_be_signed(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, tmp_path: Path
) -> None:
    signer = CosignSigner(tmp_path)
    path = job.put(NOW - HOUR, digest=False)
    path.with_name(f"{path.name}.signature").write_bytes(signer.sign(path.read_bytes()))
    how = {"kind": "cosign", "keys": [signer.public.decode()], "name": "{name}.signature"}
    asked = {"mode": "pinned", "signature": how}
    transfer = fetch(make_repository, make_staging(), checksum=asked)
    finding = judge(transfer, asked)
    assert finding.passed and any(f"pinned cosign key {signer.shown}" in note for note in finding.notes)
    path.write_bytes(database(101))
    assert "not one of these bytes" in broken(fetch(make_repository, make_staging(), checksum=asked)).cause


def test_a_signed_manifest_of_a_tree(
    tmp_path: Path, make_repository: MakeRepository, make_staging: MakeStaging, signers: list[MinisignSigner]
) -> None:
    job = Generations(tmp_path / "store", "app/{time:%Y-%m-%d_%H%M%S}/")
    root = job.put(NOW - HOUR, FILES)
    asked = rule(signers[0], manifest="SHA256SUMS")
    given: dict[str, Any] = {"path": "app/{time:%Y-%m-%d_%H%M%S}/", "target": {"engine": "files"}, "checksum": asked}
    transfer = fetch(make_repository, make_staging("files", files_judged=True), **given)
    assert transfer.broken == {} and not judge(transfer, asked).passed and transfer.unsigned
    sign(root / "SHA256SUMS", signers[0])
    for judged in (True, False):
        transfer = fetch(make_repository, make_staging("files", files_judged=judged), **given)
        assert transfer.broken == {} and judge(transfer, asked).passed
        assert [(check.signed, check.key) for check in transfer.signatures] == [("SHA256SUMS", signers[0].shown)]
    (root / "SHA256SUMS.sig").write_text("x")  # of no kind that was asked for: a file like any other
    transfer = fetch(make_repository, make_staging("files"), **given)
    assert "1 files are not in SHA256SUMS" in transfer.broken[Stage.VERIFY].cause
    (root / "SHA256SUMS.sig").unlink()
    (root / "hosts").write_bytes(b"::2\n")
    lines = [f"{digests.new('sha256', (root / name).read_bytes()).hexdigest()}  ./{name}\n" for name in FILES]
    (root / "SHA256SUMS").write_text("".join(lines))
    transfer = fetch(make_repository, make_staging("files"), **given)
    assert "not one of these bytes" in transfer.broken[Stage.VERIFY].cause


# --- digests that a store keeps ---------------------------------------------------------------------------------------


@pytest.fixture
def keep(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Has the store keep these digests of every object."""

    def of(*kept: ProviderDigest) -> None:
        def recorded(store: LocalStore, artifact: Artifact) -> Sequence[ProviderDigest]:
            return kept

        monkeypatch.setattr(LocalStore, "recorded_digests", recorded)

    return of


def whole(algorithm: str, data: bytes = b"", **more: Any) -> ProviderDigest:
    digest = digests.new(algorithm, data or database()).hexdigest()
    return ProviderDigest(algorithm, digest, f"x-{algorithm}", **more)


def of_parts(algorithm: str, *parts: int, data: bytes = b"") -> ProviderDigest:
    hasher = digests.Composite(algorithm, parts)
    hasher.update(data or database())
    return ProviderDigest(algorithm, hasher.hexdigest() or "00" * 32, f"x-{algorithm}", parts=parts)


ANY = {"provider": "any"}


def test_what_the_store_keeps_is_compared_where_the_catalogue_takes_it(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, keep: Any
) -> None:
    path = job.put(NOW - HOUR, digest=False)
    size = path.stat().st_size
    keep(whole("sha256"), of_parts("sha256", 1000, size - 1000), whole("crc64nvme"))
    transfer = fetch(make_repository, make_staging(), checksum=ANY)
    assert transfer.broken == {}
    assert [check.algorithm for check in transfer.digests] == ["sha256", "sha256 of 2 parts", "crc64nvme"]
    finding = judge(transfer, ANY)  # the weak one stands beside strong ones
    assert finding.passed
    assert "the digest is the store's own: it says nothing of before the upload" in finding.notes
    assert "no digest is recorded" in judge(fetch(make_repository, make_staging()), {}).message


@pytest.mark.parametrize("which", ["whole", "parts", "parts that do not add up"])
def test_what_the_store_keeps_and_the_bytes_are_not_blocks(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, keep: Any, which: str
) -> None:
    size = job.put(NOW - HOUR, digest=False).stat().st_size
    good = whole("md5")
    keep(*{
        "whole": (good, whole("sha256", b"other")),
        "parts": (good, of_parts("sha256", 1000, size - 1000, data=database(101)[:size])),
        "parts that do not add up": (good, of_parts("sha256", 1000, size - 999)),
    }[which])  # fmt: skip
    problem = broken(fetch(make_repository, make_staging(), checksum=ANY))
    assert problem.cause.startswith("sha256") and "computed or checked by the store" in problem.looked_at


def test_whose_digest_it_is_matters(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, keep: Any
) -> None:
    job.put(NOW - HOUR, digest=False)
    asked = {"provider": "metadata"}
    keep(whole("sha256"))
    finding = judge(fetch(make_repository, make_staging(), checksum=asked), asked)
    assert "looked for a digest in its metadata" in finding.message
    keep(whole("sha256", by_uploader=True))
    finding = judge(fetch(make_repository, make_staging(), checksum=asked), asked)
    assert finding.passed and finding.notes == ()
    repository = make_repository(path=TEXT, checksum=asked)
    assert repository.unfinished(repository.survey().newest[0], settling=True) is None


def test_checksums_alone_are_weak(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, keep: Any
) -> None:
    job.put(NOW - HOUR, digest=False)
    keep(whole("crc64nvme"), whole("crc32c"))
    finding = judge(fetch(make_repository, make_staging(), checksum=ANY), ANY)
    assert finding.message == "only a CRC64NVME digest is recorded, which proves nothing against a forger"
    accepted = {**ANY, "weak": "accept"}
    assert judge(fetch(make_repository, make_staging(), checksum=accepted), accepted).passed


def test_what_cannot_be_computed_is_left_out_only_beside_what_can(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, keep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job.put(NOW - HOUR, digest=False)
    crc = whole("crc64nvme")
    monkeypatch.setitem(sys.modules, "awscrt", None)
    keep(crc, whole("sha256"))
    finding = judge(fetch(make_repository, make_staging(), checksum=ANY), ANY)
    assert finding.passed and any("not compared: a digest by crc64nvme needs awscrt" in note for note in finding.notes)
    keep(crc)
    with pytest.raises(CouldNotVerify, match=r"pytest-restore-drill\[crc\]"):
        judge(fetch(make_repository, make_staging(), checksum=ANY), ANY)
    keep(ProviderDigest("gost", "00", "x-gost"))
    with pytest.raises(BackupFailed, match="by gost, an algorithm that is not known here"):
        judge(fetch(make_repository, make_staging(), checksum=ANY), ANY)


# --- algorithms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "algorithm"),
    [(".b2", "blake2b"), (".b2", "blake2b-256"), (".blake2b", "blake2b"), (".b3", "blake3"), (".blake3", "blake3"),
     (".xxh128", "xxh128"), (".xxh", "xxh64"), (".xxh3", "xxh3"), (".sha1sum", "sha1"), (".sha512sum", "sha512")],
)  # fmt: skip
def test_sidecars_by_every_algorithm(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, suffix: str, algorithm: str
) -> None:
    path = job.put(NOW - HOUR, digest=False)
    sidecar = path.with_name(path.name + suffix)
    sidecar.write_text(f"{digests.new(algorithm, database()).hexdigest()}  {path.name}\n")
    asked = {"weak": "accept"}
    transfer = fetch(make_repository, make_staging(), checksum=asked)
    assert [check.algorithm for check in transfer.digests] == [algorithm]
    assert judge(transfer, asked).passed
    assert judge(transfer, {}).passed is not digests.is_weak(algorithm)
    path.write_bytes(database(101))
    assert broken(fetch(make_repository, make_staging(), checksum=asked)).cause.startswith(f"{algorithm} of the stored")


def test_an_algorithm_that_nothing_but_the_catalogue_says(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging
) -> None:
    path = job.put(NOW - HOUR, digest=False)
    path.with_name(f"{path.name}.sum").write_text(digests.new("blake3", database()).hexdigest())
    asked = {"sidecar": "{name}.sum"}
    # 64 digits are SHA-256, unless something says otherwise: what fits is never tried.
    assert "sha256 of the stored bytes" in broken(fetch(make_repository, make_staging(), checksum=asked)).cause
    asked["algorithm"] = "BLAKE3"
    assert judge(fetch(make_repository, make_staging(), checksum=asked), asked).passed


def test_a_library_that_is_not_there_says_nothing_about_the_backup(
    job: Objects, make_repository: MakeRepository, make_staging: MakeStaging, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = job.put(NOW - HOUR, digest=False)
    path.with_name(f"{path.name}.b3").write_text(digests.new("blake3", database()).hexdigest())
    monkeypatch.setitem(sys.modules, "blake3", None)
    transfer = fetch(make_repository, make_staging())
    assert transfer.broken == {}
    with pytest.raises(CouldNotVerify, match=r"pip install 'pytest-restore-drill\[blake3\]'"):
        judge(transfer, {})
    monkeypatch.undo()
    assert judge(fetch(make_repository, make_staging()), {}).passed
