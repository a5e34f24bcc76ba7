"""Digests, encryption, decoding, speed and disposal, judged by what a transfer found."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.plans import planned_copy, planned_target

from restore_drill.errors import BackupFailed, Blocked, CouldNotVerify
from restore_drill.facts import RestoreFacts
from restore_drill.model import Finding, Stage, Verdict
from restore_drill.policy import chain_complete, checksum, disposed, encrypted, fetched, restored, unpacked, within_rto
from restore_drill.repositories.base import DigestCheck, SignatureCheck, Transfer

GOOD = DigestCheck("db.gz", "s3://b/db.gz.sha256", "sha256", "a" * 64, "stored", "a" * 64, ["a note"])


def check(**more: Any) -> DigestCheck:
    given = {"artifact": "db.gz", "source": "x", "algorithm": "sha256", "expected": "a" * 64, "layer": "stored",
             "actual": "a" * 64, **more}  # fmt: skip
    return DigestCheck(**given)


def test_a_digest_that_matches_is_shown_on_both_sides() -> None:
    finding = checksum(Transfer(digests=[GOOD]), planned_copy())
    assert finding == Finding(expected=f"sha256:{'a' * 64}", actual=f"sha256:{'a' * 64}", notes=("a note",))


def test_an_absent_digest_fails_whatever_else_matches() -> None:
    finding = checksum(Transfer(digests=[GOOD], absent=["db.gz-wal: looked for db.gz-wal.sha256"]), planned_copy())
    assert finding.verdict is Verdict.FAILED
    assert finding.message == "no digest is recorded for db.gz-wal: looked for db.gz-wal.sha256"
    assert "sha256sum" in finding.remedy


@pytest.mark.parametrize("problem", [BackupFailed("it is not text"), CouldNotVerify("access is denied")])
def test_a_digest_that_cannot_be_used_is_borne_by_this_case(problem: Exception) -> None:
    with pytest.raises(type(problem)) as raised:
        checksum(Transfer(digests=[GOOD], unusable=problem), planned_copy())  # type: ignore[arg-type]
    assert raised.value is problem


def test_a_digest_of_bytes_that_are_not_there_fails() -> None:
    finding = checksum(Transfer(digests=[check(layer="", actual="")]), planned_copy())
    assert finding.verdict is Verdict.FAILED
    assert "fits none of the bytes" in finding.message


@pytest.mark.parametrize("algorithm", ["md5", "sha1"])
def test_a_weak_digest_is_enough_only_where_the_catalogue_says_so(algorithm: str) -> None:
    transfer = Transfer(digests=[check(algorithm=algorithm)])
    finding = checksum(transfer, planned_copy())
    assert finding.verdict is Verdict.FAILED
    assert finding.message.startswith(f"only an {algorithm.upper()} digest is recorded")
    assert checksum(transfer, planned_copy(checksum={"weak": "accept"})).passed


def test_a_digest_that_was_not_computed_is_never_a_pass() -> None:
    incomplete = check(layer="content", actual="")
    with pytest.raises(CouldNotVerify):
        checksum(Transfer(digests=[incomplete]), planned_copy())
    broken = {Stage.UNPACK: BackupFailed("the gzip stream is truncated")}
    with pytest.raises(Blocked) as raised:
        checksum(Transfer(digests=[incomplete], broken=broken), planned_copy())  # type: ignore[arg-type]
    assert str(raised.value) == "blocked by unpacks: the gzip stream is truncated."
    with pytest.raises(Blocked, match="blocked by unpacks: the gzip stream is truncated"):
        checksum(Transfer(broken=broken), planned_copy())  # type: ignore[arg-type]
    with pytest.raises(CouldNotVerify, match="no digest was compared"):
        checksum(Transfer(), planned_copy())


def signed(**more: Any) -> dict[str, Any]:
    return {"signature": {"kind": "gpg", "keys": ["file:key"]}, **more}


def test_a_signature_that_was_asked_for_is_never_taken_for_granted() -> None:
    good = SignatureCheck("db", "db.asc", "gpg", "ABCD")
    for rule in (signed(), signed(mode="pinned")):
        copy = planned_copy(checksum=rule)
        with pytest.raises(CouldNotVerify, match="no signature was verified"):
            checksum(Transfer(digests=[GOOD]), copy)
        with pytest.raises(CouldNotVerify, match="what is signed was not read to its end"):
            checksum(Transfer(digests=[GOOD], signatures=[good, SignatureCheck("b", "b.asc", "gpg")]), copy)
        notes = checksum(Transfer(digests=[GOOD], signatures=[good]), copy).notes
        assert "db is signed by the pinned gpg key ABCD" in notes
        finding = checksum(Transfer(digests=[GOOD], unsigned=["db: looked for db.asc"]), copy)
        assert finding.verdict is Verdict.FAILED and "db.asc" in finding.message
    assert checksum(Transfer(digests=[GOOD]), planned_copy()).passed


def test_a_weak_digest_beside_a_strong_one_of_the_same_artifact_is_no_matter() -> None:
    weak = check(algorithm="crc32c")
    assert checksum(Transfer(digests=[weak, GOOD]), planned_copy()).passed
    with pytest.raises(CouldNotVerify, match="not read to their end"):
        checksum(Transfer(digests=[weak, check(actual="")]), planned_copy())
    for others in ([], [check(artifact="another")], [check(algorithm="md5")]):
        finding = checksum(Transfer(digests=[weak, *others]), planned_copy())
        assert "only a CRC32C digest is recorded, which proves nothing" in finding.message


def test_a_pinned_digest_is_said_to_be_one() -> None:
    finding = checksum(Transfer(), planned_copy(checksum="pinned"))
    assert finding.passed
    assert finding.notes == ("pinned at the first drill: not checked against its origin",)


ENCRYPTED = {"encrypted": "age", "artifacts": [{"key": "x", "encryption": ""}]}


@pytest.mark.parametrize(
    ("facts", "accept", "verdict"),
    [
        (ENCRYPTED, False, Verdict.PASSED),
        ({**ENCRYPTED, "plain": "x-wal"}, False, Verdict.FAILED),
        ({"plain": "x", "artifacts": [{"encryption": "AES256"}]}, False, Verdict.FAILED),
        ({"plain": "x", "artifacts": [{"encryption": "AES256"}]}, True, Verdict.PASSED),
        ({"plain": "x", "artifacts": [{"encryption": "AES256"}, {"encryption": ""}]}, True, Verdict.FAILED),
        ({"plain": "x", "artifacts": []}, True, Verdict.FAILED),
        ({"plain": "x", "artifacts": [{}]}, False, Verdict.FAILED),
    ],
)
def test_every_artifact_must_be_unreadable_without_a_key(facts: dict[str, Any], accept: bool, verdict: Verdict) -> None:
    copy = planned_copy(store={"accept_encryption": accept})
    finding = encrypted(Transfer(**facts), copy)
    assert finding.verdict is verdict
    assert bool(finding.message) is (verdict is Verdict.FAILED)


def test_a_store_that_encrypts_is_mentioned_where_that_is_not_accepted() -> None:
    finding = encrypted(Transfer(plain="x", artifacts=[{"encryption": "AES256"}]), planned_copy())
    assert finding.message == "x can be read without a key (the store encrypts it; the catalogue does not accept that)"


def test_what_arrived_and_how_it_decoded_is_counted() -> None:
    layers = [{"format": "age"}, {"format": "gzip"}, {"format": "tar"}]
    transfer = Transfer(
        stored_bytes=10, content_bytes=20, artifacts=[{"layers": layers}], notes=["n"], unpack={"notes": ["m"]}
    )
    assert fetched(transfer).actual == "10 bytes of 1 object"
    assert fetched(transfer).notes == ("n",)
    assert fetched(Transfer(artifacts=[{}, {}])).actual == "0 bytes of 2 objects"
    assert unpacked(transfer).actual == "age > gzip > tar, 20 bytes"
    assert unpacked(transfer).notes == ("m",)
    assert unpacked(Transfer()).actual == "a directory, 0 bytes"
    assert chain_complete(["a", "b"]).actual == "a > b"


def restore_facts(seconds: float) -> RestoreFacts:
    return RestoreFacts("3 tables", seconds, seconds, "x86_64, 2 cores", 2, {}, notes=("n",))


@pytest.mark.parametrize(("seconds", "passed"), [(900.0, True), (900.5, False)])
def test_a_restore_may_take_exactly_the_rto(seconds: float, passed: bool) -> None:
    finding = within_rto(restore_facts(seconds), planned_target(rto="15m"))
    assert finding.passed is passed
    assert finding.tolerance == "none; on x86_64, 2 cores, 2 drill(s) at once; checks and waiting excluded"


def test_what_came_back_is_named() -> None:
    assert restored(restore_facts(1)) == Finding(expected="something came back", actual="3 tables", notes=("n",))


def test_what_is_left_is_counted_and_named_on_the_terminal_only() -> None:
    assert disposed((), "").passed
    finding = disposed(("/tmp/private",), "it is busy")
    assert finding.verdict is Verdict.FAILED
    assert "private" not in f"{finding.message} {finding.remedy} {finding.actual}"
    assert finding.details == ("/tmp/private",)
