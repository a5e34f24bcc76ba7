"""Where a digest is found, of which bytes it speaks, and what must not be taken for one."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from restore_drill.catalogue.models import ChecksumRule
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Stage
from restore_drill.repositories.recorded import Recorded, fill, find, stems
from restore_drill.stores.base import StoreSettings
from restore_drill.stores.local import LocalStore

KEY = "daily/db/20261123.db.gz.age"
NAME = "20261123.db.gz.age"
A, B, C = ("a" * 64, "b" * 64, "c" * 64)
REQUIRED = ChecksumRule()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStore]:
    store = LocalStore(StoreSettings("nas", f"file://{tmp_path}"))
    (tmp_path / KEY).parent.mkdir(parents=True)
    (tmp_path / KEY).write_bytes(b"stored")
    yield store
    store.close()


@pytest.fixture
def look(store: LocalStore, tmp_path: Path) -> Callable[..., Recorded]:
    """Write files below the store, then look for the digest of the artifact."""

    def write_and_find(files: dict[str, str | bytes], rule: ChecksumRule = REQUIRED, key: str = KEY) -> Recorded:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return find(store, Artifact(key, 6, 0.0), rule)

    return write_and_find


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("a.db.gz.age", ["a.db.gz.age", "a.db.gz", "a.db"]),
        ("a.tgz.age", ["a.tgz.age", "a.tgz", "a.tar"]),
        ("a.TXZ", ["a.TXZ", "a.tar"]),
        ("a.tar.zst", ["a.tar.zst", "a.tar"]),
        ("plain", ["plain"]),
        (".gz", [".gz"]),
    ],
)
def test_a_name_loses_the_ending_of_one_codec_after_another(name: str, left: list[str]) -> None:
    assert stems(name) == left
    assert fill("{name}-{stem}.counts", name) == f"{left[0]}-{left[-1]}.counts"


@pytest.mark.parametrize(
    ("files", "digest", "names"),
    [
        ({f"daily/db/{NAME}.sha256": f"{A}  {NAME}\n"}, A, NAME),
        ({f"daily/db/{NAME}.sha512": f"{'d' * 128}  {NAME}\n"}, "d" * 128, NAME),
        ({f"daily/db/{NAME}.sha256": f"{A}  /mnt/backup/{NAME}\n"}, A, f"/mnt/backup/{NAME}"),
        ({f"daily/db/{NAME}.sha256": f"{A} *C:\\backup\\{NAME}\r\n"}, A, f"C:/backup/{NAME}"),
        ({f"daily/db/{NAME}.sha256": f"{A}\n"}, A, NAME),
        ({f"daily/db/{NAME}.sha256": f"{A}  a/{NAME}\n{A}  b/{NAME}\n"}, A, f"a/{NAME}"),
        ({f"daily/db/{NAME}.sha256": f"{B}  a/{NAME}\n{A}  {NAME}\n"}, A, NAME),
        ({f"daily/db/{NAME}.sha256": f"{A}  -\n"}, A, NAME),
        ({f"daily/db/{NAME}.sha256": f"SHA256 ({NAME}) = {A}\n"}, A, NAME),
        ({f"daily/db/{NAME}.sha256sum": f"{A}  {NAME}\n"}, A, NAME),
        ({f"daily/db/{NAME}.sha256": f"{B}  20261123.db\n{A}  {NAME}\n"}, A, NAME),
        ({"daily/db/20261123.db.sha256": f"{B}  20261123.db\n"}, B, "20261123.db"),
        ({"daily/db/20261123.db.gz.sha256": f"{B}  20261123.db.gz\n"}, B, "20261123.db.gz"),
        ({"daily/db/20261123.db.sha256": f"{B}\n"}, B, "20261123.db"),
        ({"daily/db/SHA256SUMS": f"{A}  {NAME}\n{B}  other\n"}, A, NAME),
        ({"daily/SHA256SUMS": f"{B}  x\n{A}  ./db/{NAME}\n"}, A, f"db/{NAME}"),
        ({"SHA256SUMS": f"{A}  daily/db/{NAME}\n"}, A, KEY),
        ({"SHA256SUMS": f"{B}  weekly/db/{NAME}\n{A}  /srv/daily/db/{NAME}\n"}, A, f"/srv/daily/db/{NAME}"),
        ({"daily/SHA256SUMS": f"{B}  db/20261123.db\n"}, B, "db/20261123.db"),
    ],
)
def test_a_digest_is_found_beside_the_artifact_or_above_it(
    files: dict[str, str], digest: str, names: str, look: Callable[..., Recorded], tmp_path: Path
) -> None:
    recorded = look(files)
    assert recorded.digest is not None
    assert (recorded.digest.hexdigest, recorded.digest.name) == (digest, names)
    (place,) = files
    assert (recorded.key, recorded.source) == (place, f"file://{tmp_path}/{place}")


def test_the_stored_name_comes_before_its_stem_and_a_sidecar_before_a_manifest(look: Callable[..., Recorded]) -> None:
    recorded = look(
        {
            "daily/db/SHA256SUMS": f"{C}  {NAME}\n",
            "daily/db/20261123.db.sha512": f"{'d' * 128}  20261123.db\n",
            f"daily/db/{NAME}.sha256": f"{A}  {NAME}\n",
        }
    )
    assert recorded.digest is not None
    assert recorded.digest.hexdigest == A


def test_a_weak_digest_is_taken_only_where_there_is_no_strong_one(look: Callable[..., Recorded]) -> None:
    weak = look({f"daily/db/{NAME}.md5": f"{'e' * 32}  {NAME}\n"})
    assert weak.digest is not None
    assert weak.digest.algorithm == "md5"
    strong = look({"SHA256SUMS": f"{A}  {KEY}\n"})
    assert strong.digest is not None
    assert strong.digest.algorithm == "sha256"


def test_a_manifest_that_does_not_list_it_does_not_end_the_search(look: Callable[..., Recorded]) -> None:
    recorded = look({"daily/db/SHA256SUMS": f"{B}  other\n", "SHA256SUMS": f"{A}  {KEY}\n"})
    assert recorded.digest is not None
    assert recorded.digest.hexdigest == A


def test_nothing_found_says_where_was_looked(look: Callable[..., Recorded]) -> None:
    recorded = look({})
    assert recorded.digest is None
    assert recorded.looked_at == (f"{NAME}.sha512", f"{NAME}.sha256", "SHA256SUMS")


@pytest.mark.parametrize(
    ("rule", "files", "name"),
    [
        ({"sidecar": "{name}.digest"}, {f"daily/db/{NAME}.digest": f"{A}  {NAME}\n"}, NAME),
        ({"sidecar": "{stem}.sha256"}, {"daily/db/20261123.db.sha256": f"{A}  20261123.db\n"}, "20261123.db"),
        ({"sidecar": "{stem}.sha256"}, {"daily/db/20261123.db.sha256": f"{A}\n"}, "20261123.db"),
        ({"sidecar": "sums/{name}"}, {f"daily/db/sums/{NAME}": f"{A}\n"}, NAME),
        ({"manifest": "lists/all.txt"}, {"lists/all.txt": f"{A}  /x/daily/db/{NAME}\n"}, f"/x/daily/db/{NAME}"),
        ({"manifest": "SHA256SUMS"}, {"SHA256SUMS": f"{A}  {KEY}\n"}, KEY),
        ({"manifest": "daily/SUMS"}, {"daily/SUMS": f"{A}  db/{NAME}\n"}, f"db/{NAME}"),
    ],
)
def test_the_catalogue_may_name_the_place(
    rule: dict[str, str], files: dict[str, str], name: str, look: Callable[..., Recorded]
) -> None:
    place = ChecksumRule(**rule)  # type: ignore[arg-type]
    missing = look({}, place)
    assert missing.digest is None
    assert len(missing.looked_at) == 1
    recorded = look({**files, f"daily/db/{NAME}.sha512": f"{'d' * 128}  {NAME}\n"}, place)
    assert recorded.digest is not None
    assert (recorded.digest.hexdigest, recorded.digest.name) == (A, name)


def test_the_catalogue_may_hold_the_digest_itself(look: Callable[..., Recorded]) -> None:
    recorded = look({f"daily/db/{NAME}.sha256": f"{B}  {NAME}\n"}, ChecksumRule(sha256=A.upper()))
    assert recorded.digest is not None
    assert (recorded.digest.hexdigest, recorded.digest.name, recorded.source) == (A, NAME, "the catalogue")


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({f"daily/db/{NAME}.sha256": f"{A}  20261122.db.gz.age\n"}, "of another file"),
        ({f"daily/db/{NAME}.sha256": f"{A}\n{B}\n"}, "lists a name again"),
        ({f"daily/db/{NAME}.sha256": f"{A}\nSHA512 (other) = {'d' * 128}\n"}, "no file by name"),
        ({f"daily/db/{NAME}.sha256": ""}, "holds no digest line"),
        ({f"daily/db/{NAME}.sha256": "d41d8cd98f00b204e9800998ecf8427e-3\n"}, "multipart ETag"),
        ({f"daily/db/{NAME}.sha256": f"{'d' * 128}  {NAME}\n"}, "should be sha256"),
        ({f"daily/db/{NAME}.sha256": b"\xff\xfe\x00"}, "damaged UTF-16"),
        ({f"daily/db/{NAME}.sha256": b"\xff\x00"}, "line 1 is not a digest line"),
        ({f"daily/db/{NAME}.sha256": f"{A}  a/{NAME}\n{B}  b/{NAME}\n"}, "2 lines of the sidecar"),
        ({f"daily/db/{NAME}.sha256": f"{B}  a/{NAME}\n{A}  b/{NAME}\n"}, "2 lines of the sidecar"),
        ({"SHA256SUMS": f"{A}  /a/daily/db/{NAME}\n{B}  /b/daily/db/{NAME}\n"}, "2 lines of the manifest"),
        ({"SHA256SUMS": f"{A}  {KEY}\nnonsense\n"}, "line 2 is not a digest line"),
    ],
)
def test_what_is_malformed_or_of_another_file_is_the_checksum_cases_failure(
    files: dict[str, str | bytes], says: str, look: Callable[..., Recorded]
) -> None:
    with pytest.raises(BackupFailed, match=says) as raised:
        look(files)
    assert raised.value.stage is Stage.VERIFY
    assert raised.value.looked_at.startswith("file://")


def test_words_in_names_of_artifacts_and_directories_say_nothing_of_the_algorithm(
    look: Callable[..., Recorded],
) -> None:
    key = "md5-archive/sha1-tests.db"
    recorded = look({f"{key}.sha256": f"{A}  sha1-tests.db\n"}, key=key)
    assert recorded.digest is not None
    recorded = look({f"{key}.digest": f"{A}\n"}, ChecksumRule(sidecar="{name}.digest"), key=key)
    assert recorded.digest is not None


def test_a_digest_of_other_bytes_than_the_stored_ones_is_remarked(look: Callable[..., Recorded]) -> None:
    (note,) = look({"daily/db/20261123.db.sha256": f"{B}  20261123.db\n"}).notes
    assert "digest of 20261123.db, which is not what is stored" in note
    assert look({f"daily/db/{NAME}.sha256": f"{A}  {NAME}\n"}).notes == ()
    (note,) = look({f"daily/db/{NAME}.sha256": f"{A}  /mnt/{NAME}\n"}).notes
    assert "absolute path" in note


def test_a_store_that_cannot_be_asked_is_not_one_without_digest(look: Callable[..., Recorded], tmp_path: Path) -> None:
    (tmp_path / "SHA256SUMS").symlink_to("/etc")
    with pytest.raises(CouldNotVerify):
        look({})


def test_names_with_anything_in_them_are_found_as_sha256sum_writes_them(
    look: Callable[..., Recorded], tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    for name in ("with space.db", "back\\slash.db", "line\nfeed.db", "ünï.db.gz", "(x) = y.db", "latin-\udcff.db"):
        directory = tmp_path / "odd"
        directory.mkdir(exist_ok=True)
        (directory / name).write_bytes(os.fsencode(name))
        command = [require_program("sha256sum"), f"odd/{name}"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=True)
        recorded = look({"SHA256SUMS": done.stdout}, key=f"odd/{name}")
        assert recorded.digest is not None
        assert (recorded.digest.hexdigest, recorded.digest.basename) == (
            hashlib.sha256(os.fsencode(name)).hexdigest(),
            name,
        )
