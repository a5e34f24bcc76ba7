"""What discovery prints is always a good catalogue, and says of everything what became of it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.backups import database
from tests.support.bucket import age_key, aged, bucket, script, sealed, tar
from tests.support.unprivileged import as_nobody, open_directory
from tests.unit.cli.conftest import Command

from restore_drill.catalogue.load import load
from restore_drill.discovery.catalogue import Discovery, discover
from restore_drill.discovery.place import Place, open_place
from restore_drill.discovery.series import Listing
from restore_drill.errors import UsageProblem
from restore_drill.model import Artifact

_NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


def _discover(root: Path, *others: Path, **references: dict[str, str]) -> Discovery:
    places = [
        Place(f"store-{number}", {"url": f"file://{path}", "media": "disk"})
        for number, path in enumerate((root, *others))
    ]
    return discover(
        places, root.parent / "drills" / "targets.yaml", "file:../state", references=references, timezone="", most=500,
        now=_NOW.timestamp(),
    )  # fmt: skip


def _put(root: Path, key: str, data: bytes, when: datetime = _NOW) -> None:
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (when.timestamp(), when.timestamp()))


def _nights(root: Path, form: str, data: bytes, count: int = 5) -> None:
    for number in range(count):
        when = _NOW - timedelta(hours=10) - number * timedelta(days=1)
        _put(root, when.strftime(form), data, when + timedelta(minutes=1))


def _targets(found: Discovery) -> dict[str, dict[str, object]]:
    targets: dict[str, dict[str, object]] = yaml.safe_load(found.sheet().text)["targets"]
    return targets


def _left(found: Discovery) -> dict[str, str]:
    return {each.what: each.why for each in found.left_out}


_PARTS = st.one_of(
    st.sampled_from([
        "orders", "20261123", "2026-11-22", "_", "-", ".", " ", "1795400130", "full", "incr", "daily.1", ".1", ".aa",
        "W47", "2026", "{", "}", "{time:%Y}", "#", ": ", "'", '"', "\\", "\n", "\x1b[2J", "\u202e", "é", "😀", "%",
        "&a", "*", "!x", "latest", "mon", ".tmp", ".sha256", ".gz", ".age", ".db", ".sql", ".tar", "/", "/config",
        "snapshots/",
    ]),
    st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=4),
)  # fmt: skip
_KEYS = st.lists(_PARTS, min_size=1, max_size=7).map("".join)
_BYTES = st.sampled_from(
    [b"", b"x", database(3), script(2), b"\x1f\x8b\x08junk", b"<html>", b'{"a": 1}\n' * 3, tar({"a": b"1"}, 1.0)]
)


@given(st.lists(st.tuples(_KEYS, _BYTES), min_size=1, max_size=12), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_lies_there_the_catalogue_is_good(
    tmp_path_factory: pytest.TempPathFactory, objects: list[tuple[str, bytes]], salt: int
) -> None:
    root = tmp_path_factory.mktemp(f"p{salt}", numbered=True) / "store"
    written = 0
    for key, data in objects:
        clean = "/".join(part for part in key.split("/") if part not in ("", ".", ".."))
        if not clean:
            continue
        path = root / clean.encode("utf-8", "surrogateescape" if clean.isprintable() else "replace").decode(
            "utf-8", "replace"
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        except OSError:  # a name that this file system does not take, or that is a directory already
            continue
        written += path.is_file()
    if not written:
        return
    found = _discover(root)
    text = found.sheet().text
    assert all(line.replace("\t", "").isprintable() for line in text.splitlines())
    path = root.parent / "drills" / "targets.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, "utf-8")
    made = [each for each in found.proposals if not each.missing]
    if made:
        assert [target.name for target in load(path).targets] == [each.name for each in made]
    else:
        assert yaml.safe_load(text)["targets"] == {}


def test_every_series_of_a_grown_bucket_is_described_or_left_out_with_its_reason(tmp_path: Path) -> None:
    made = bucket(_NOW, places=4, photos=300)
    assert len(made.files) > 5000
    made.write(tmp_path / "store")
    found = _discover(tmp_path / "store")
    paths = [path for each in found.proposals for path in (str(copy["path"][0]) for copy in each.copies.values())]
    assert not [start for start in (*made.good, *made.bad) if not any(path.startswith(start) for path in paths)]
    assert not [path for path in paths if path.startswith(tuple(made.foreign))]
    assert not [start for start in made.foreign if not any(what.startswith(start) for what in _left(found))]
    assert len(found.left_out) < 80, "what is alike stands in one line"
    assert found.looked < 250, "a few heads of a series are enough"
    by_path = {str(each.copies["store-0"]["path"][0]): each for each in found.proposals}
    notes = by_path["site-0/notes/notes-{time:%Y-%m-%d_%H-%M}.sql.bz2"]
    assert notes.keys["timezone"][0] == "Europe/Berlin"
    assert notes.keys["checksum"][0] == {"weak": "accept"}
    vault = by_path["site-0/keys/vault_{time:%Y%m%dT%H%M%S%Z}.db.gz.age"]
    assert vault.keys["sensitive"][0] is True
    assert vault.keys["decrypt"][0] == {"age": {"identity": "env:BACKUP_AGE_IDENTITY"}}
    assert by_path["site-0/archive/taxes-2023.tar"].is_frozen
    assert by_path["site-0/crm/{time:%Y/%m/%d}/crm.sqlite.xz"].keys["checksum"][0] == "pinned"
    assert by_path["site-0/orders/{time:%Y%m%d_%H%M%S}_orders.db.gz"].keys.keys() == {"tier", "engine"}


def test_a_key_lets_it_look_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _nights(tmp_path / "store", "secret_%Y%m%d.bin.age", aged(database(5)))
    blind = _discover(tmp_path / "store")
    (waiting,) = blind.proposals
    assert waiting.missing and _targets(blind) == {}
    assert f"#  {waiting.name}: # say which engine" in blind.sheet().text
    monkeypatch.setenv("KEY_OF_TONIGHT", age_key()[0])
    (seen,) = _discover(tmp_path / "store", age={"identity": "env:KEY_OF_TONIGHT"}).proposals
    assert seen.keys["decrypt"][1] == "it could be opened here by it"
    assert seen.keys["engine"] == ("sqlite", "by its first bytes: an SQLite database, in age")
    assert seen.keys["decrypt"][0] == {"age": {"identity": "env:KEY_OF_TONIGHT"}}


def test_encryption_is_named_and_its_secret_is_a_reference(
    tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    require_program("openssl")
    # A session key from a passphrase, then encrypted data (RFC 9580, 5.3 and 5.13).
    symmetric = bytes.fromhex("8c0d04090308") + bytes(range(8)) + b"\xff" + b"\xd2\x40\x01" + bytes(63)
    _nights(tmp_path / "store", "a_%Y%m%d.db.enc", sealed(database(3)))
    _nights(tmp_path / "store", "b_%Y%m%d.db.gpg", symmetric)
    targets = _targets(_discover(tmp_path / "store"))
    openssl = {"password": "env:BACKUP_OPENSSL_PASSWORD", "cipher": "aes-256-cbc", "kdf": "pbkdf2"}
    assert [(target["decrypt"], target["sensitive"], target["engine"]) for target in targets.values()] == [
        ({"openssl": openssl}, True, "sqlite"),
        ({"openpgp": {"passphrase": "env:BACKUP_GPG_PASSPHRASE"}}, True, "sqlite"),
    ]


def test_one_path_in_two_stores_is_two_copies_of_one_target(tmp_path: Path) -> None:
    for store in ("near", "far"):
        _nights(tmp_path / store, "db/%Y%m%d.db", database(4))
    _nights(tmp_path / "far", "only/%Y%m%d.db", database(4))
    targets = _targets(_discover(tmp_path / "near", tmp_path / "far"))
    assert {name: list(target["copies"]) for name, target in targets.items()} == {  # type: ignore[call-overload]
        "db": ["store-0", "store-1"],
        "only": ["store-1"],
    }


def test_what_cannot_be_drilled_is_listed_with_the_reason(tmp_path: Path) -> None:
    root = tmp_path / "store"
    for day in ("mon", "tue", "wed"):
        _put(root, f"week/db-{day}.db", database(3))
    _put(root, "orders/latest.db", database(3))
    _put(root, "a{b}.db", database(3))
    _put(root, "orders/x_20261123.db.tmp", database(3))
    _nights(root, "wal/app-wal-%Y%m%d.db", database(3))
    _nights(root, "wal/app-full-%Y%m%d.db", database(3))
    for number in range(4):
        _put(root, f"same/app.sql.{number}", script(3))
    for date in range(20, 24):
        for number in range(5):
            _put(root, f"photos/2026/11/{date}/IMG_{date}{number}.jpg", b"\xff\xd8\xff")
    (root / os.fsdecode(b"\xff-20261123.db")).write_bytes(database(3))
    os.mkfifo(root / "pipe")
    found = _discover(root)
    left = _left(found)
    assert "names carry no date" in left["week/db-*.db"]
    assert "stands for the newest" in left["orders/latest.db"]
    assert "cannot be written as a path" in left["a{b}.db"]
    assert "upload under way" in left["orders/x_20261123.db.tmp"]
    assert "log backups (wal)" in left["wal/app-wal-{time:%Y%m%d}.db"]
    assert "nothing tells which one is the newest" in left["same/app.sql.#"]
    assert "never read" in left["pipe"]
    assert "an archive that grows" in left["photos/{time:%Y/%m/%d}/"]
    assert "cannot be written as a path" in left["\udcff-20261123.db"]
    assert "# - \\xff-20261123.db: " in found.sheet().text
    assert {str(copy["path"]) for target in _targets(found).values() for copy in target["copies"].values()} == {  # type: ignore[attr-defined]
        "wal/app-full-{time:%Y%m%d}.db"
    }


def test_full_and_incremental_archives_are_one_chain_and_databases_are_not(tmp_path: Path) -> None:
    for number, day in enumerate(range(10, 23)):
        word = f"inc-{number % 7:02}" if number % 7 else "full-00"
        when = _NOW.replace(day=day)
        _put(tmp_path / "store", when.strftime(f"tree/t_%Y%m%d_{word}.tar"), tar({"a": b"1"}, 1.0), when)
        _put(tmp_path / "store", when.strftime(f"base/b_%Y%m%d_{word}.db"), database(3), when)
    found = _discover(tmp_path / "store")
    assert {str(copy["path"]) for target in _targets(found).values() for copy in target["copies"].values()} == {  # type: ignore[attr-defined]
        "tree/t_{time:%Y%m%d}_{kind:full=full|incremental=inc}-{seq}.tar",
        "base/b_{time:%Y%m%d}_full-{any}.db",
    }
    assert list(_left(found)) == ["base/b_{time:%Y%m%d}_inc-{seq}.db"]


def test_full_backups_are_found_below_hundreds_of_changes_since(tmp_path: Path) -> None:
    root = tmp_path / "store"
    _put(root, "b_20261001000000_full.db", database(3), _NOW - timedelta(days=53))
    for number in range(900):
        when = _NOW - number * timedelta(hours=1)
        _put(root, when.strftime("b_%Y%m%d%H%M%S_inc.db"), b"x", when)
    found = _discover(root)
    (proposal,) = found.proposals
    assert proposal.pattern == "b_{time:%Y%m%d%H%M%S}_full.db"
    assert list(_left(found)) == ["b_{time:%Y%m%d%H%M%S}_inc.db"]


@pytest.mark.parametrize("form", ["10.10.20.5-%Y%m%d.db", "ticket-123456-%Y%m%d.db", "app-12.04.22-%Y-%m-%d.db"])
def test_a_number_that_may_be_a_date_makes_no_archives_of_what_is_still_made(tmp_path: Path, form: str) -> None:
    _nights(tmp_path / "store", form, database(3), 14)
    (proposal,) = _discover(tmp_path / "store").proposals
    assert not proposal.is_frozen
    assert proposal.keys["tier"][0] == "important"
    assert proposal.head.startswith("14 objects")


def test_a_date_that_is_the_same_in_every_name_says_nothing(tmp_path: Path) -> None:
    _nights(tmp_path / "store", "x-20200101-%Y%m%d.db", database(3), 14)
    _nights(tmp_path / "store", "big/big-%Y%m%d.tar.aa", tar({"a": b"1"}, 1.0), 3)
    _nights(tmp_path / "store", "big/big-%Y%m%d.tar.ab", bytes(10240), 3)
    found = _discover(tmp_path / "store")
    assert "every name has the same time" in _left(found)["x-{time:%Y%m%d}-{any}.db"]
    assert [each.pattern for each in found.proposals] == ["big/big-{time:%Y%m%d}.tar.{part}"]


def test_what_ends_like_a_companion_and_belongs_to_nothing_is_a_backup_or_said(tmp_path: Path) -> None:
    root = tmp_path / "store"
    bundle = b"# v2 git bundle\n" + b"a" * 40 + b" refs/heads/main\n\nPACK"
    armoured = b"-----BEGIN PGP MESSAGE-----\n\njA0ECQMC\n-----END PGP MESSAGE-----\n"
    _nights(root, "repo/r-%Y-%m-%d.bundle", bundle, 450)
    _nights(root, "days/%Y-%m-%d/r.bundle", bundle)
    _nights(root, "dump/d-%Y-%m-%d.sql.asc", armoured)
    _nights(root, "gone/g-%Y-%m-%d.db.sha256", b"0" * 64)
    _put(root, "gone/one.db.done", b"")
    for ending in ("", ".sha256", ".asc", ".done"):
        _nights(root, f"whole/w-%Y-%m-%d.db{ending}", database(3))
    _nights(root, "whole/%Y-%m-%d.counts.json", b"{}")
    _nights(root, "whole/%Y-%m-%d.db.gz", b"x")
    _put(root, "whole/SHA256SUMS", b"")
    _put(root, "whole/SHA256SUMS.asc", b"")
    found = _discover(root)
    by_pattern = {each.pattern: each for each in found.proposals}
    assert by_pattern["repo/r-{time:%Y-%m-%d}.bundle"].engine == "git"
    assert by_pattern["repo/r-{time:%Y-%m-%d}.bundle"].head.startswith("450 objects")
    assert by_pattern["days/{time:%Y-%m-%d}/r.bundle"].engine == "git"
    assert by_pattern["dump/d-{time:%Y-%m-%d}.sql.asc"].keys["sensitive"][0] is True
    assert by_pattern["whole/w-{time:%Y-%m-%d}.db"].keys.keys() >= {"engine", "tier"}
    assert {what: why for what, why in _left(found).items() if not what.startswith("whole/")} == {
        "gone/g-{time:%Y-%m-%d}.db.sha256": "by its name it belongs to an object that is not there",
        "gone/one.db.done": "by its name it belongs to an object that is not there",
    }
    assert not [why for why in _left(found).values() if "not there" in why and "whole" in why]


def test_a_database_that_is_rotated_waits_for_a_query(tmp_path: Path) -> None:
    for number in range(4):
        _put(tmp_path / "store", f"app.sql.{number}", script(3), _NOW - number * timedelta(days=1))
    found = _discover(tmp_path / "store")
    (proposal,) = found.proposals
    assert "which query answers how new its data is" in proposal.missing
    assert _targets(found) == {}
    assert '#      store-0: {path: "app.sql.{rotation}"}' in found.sheet().text
    filled = [line.removeprefix("#") for line in found.sheet().text.splitlines() if line.startswith("#  ")]
    text = found.sheet().text.replace("targets: {}", "\n".join(["targets:", *filled]))
    path = tmp_path / "drills" / "targets.yaml"
    path.parent.mkdir()
    path.write_text(text)
    assert [target.name for target in load(path).targets] == [proposal.name]


def test_the_command_prints_writes_and_begins_a_project(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _nights(tmp_path / "store", "orders/%Y%m%d_%H%M%S_orders.db", database(40))
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    printed = command("discover", "../store")
    assert printed.status == 0
    assert (
        printed.err == "5 objects, 1 looked into: 1 targets, 0 that need a word from you, 0 kinds of things left out\n"
    )
    assert yaml.safe_load(printed.out)["targets"]["orders"]["engine"] == "sqlite"
    assert list(Path().iterdir()) == []
    assert command("discover", "../store", "--out", "drills/found.yaml").status == 0
    assert command("validate", "--catalogue", "drills/found.yaml").status == 0
    assert command("discover", "../store", "--out", "drills/found.yaml").status == 2
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    begun = command("init", "--discover", "../store", "--baseline", "--timezone", "Europe/Berlin")
    assert list((tmp_path / "temporary").rglob("*state*")) == [], "of the trial restore nothing is remembered elsewhere"
    assert "wrote   drills/targets.yaml" in begun.out and "1 targets" in begun.out
    catalogue = yaml.safe_load(Path("drills/targets.yaml").read_text())
    assert catalogue["defaults"]["timezone"] == "Europe/Berlin"
    assert catalogue["targets"]["orders"]["expect"] == {"rows": {"tables": {"orders": {"min": 32, "max_drop": "20%"}}}}
    assert command("validate").status == 0
    kept = Path("drills/targets.yaml").read_text()
    assert "kept    drills/targets.yaml" in command("init", "--discover", "../store").out
    assert Path("drills/targets.yaml").read_text() == kept


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere",), "'nowhere' is neither a directory nor a url"),
        (("empty",), "there is nothing to describe"),
        (("s3://key:secret@bucket/x",), "this place cannot be looked at"),
        (("store", "--key", "age=env:X"), "--key age=… names no key"),
        (("store", "--key", "age.identity"), "has no value"),
        (("store", "--key", "age=env:X", "--key", "age.identity=env:X"), "'age' is given twice"),
        (("store", "--key", "age.identity=env:X", "--key", "age=env:X"), "'age' is given twice"),
        (("store", "--key", "openssl.password=0042"), "a secret is never in the catalogue"),
        (("s3://bucket/x", "--store", "port=\u00b2"), "unknown option 'port'"),
        (("s3://bucket/x", "--store", "account=0123"), "unknown option 'account'"),
        (("store", "--most", "0"), "at least one object"),
        (("~nobody-is-called-so",), "neither a directory nor a url"),
        (("store", "--timezone", "Mars/Base"), "'Mars/Base' is no time zone"),
        (("s3://bucket/x", "--store", "regoin=eu"), "unknown option 'regoin'"),
        (("ftp://host/x",), "ftp"),
        ((".",), "would lie inside"),
    ],
)
def test_a_mistake_is_explained(
    command: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    _nights(tmp_path / "store", "%Y%m%d.db", database(3))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    answer = command("discover", *arguments)
    assert answer.status in (1, 2)
    assert said in answer.err
    assert "key:secret" not in answer.err and "0042" not in answer.err


def _hash(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


_FORMS: Mapping[str, Callable[[datetime, int], str]] = {
    "wp/backup_{time:%Y-%m-%d-%H%M}_Site_{any}-db.db": lambda when, n: (
        f"{when:wp/backup_%Y-%m-%d-%H%M}_Site_{_hash(n)[:12]}-db.db"
    ),
    "runs/{time:%Y%m%dT%H%M%S%Z}-{any}/db.sqlite": lambda when, n: (
        f"{when:runs/%Y%m%dT%H%M%SZ}-{UUID(_hash(n)[:32])}/db.sqlite"
    ),
    "git/{time:%s}_{time:%Y_%m_%d}_{any}_gitlab.db": lambda when, n: (
        f"git/{when.timestamp():.0f}_{when:%Y_%m_%d}_17.{9 - n // 8}.0_gitlab.db"
    ),
    "ms/shop_{time:%Y_%m_%d_%H%M%S}_{any}.db": lambda when, n: (
        f"{when:ms/shop_%Y_%m_%d_%H%M%S}_{7654321 * (n + 1) % 10**7}.db"
    ),
    "one/dump-{time:%Y%m%d}-{any}.db": lambda when, n: f"{when:one/dump-%Y%m%d}-01.db",
    "jul/shop.{time:%Y%j}.db": lambda when, n: f"{when:jul/shop.%Y%j}.db",
    "host1/db/{time:%Y-%m-%d}/a.db": lambda when, n: f"{when:host1/db/%Y-%m-%d}/a.db",
    "host2/db/{time:%Y-%m-%d}/a.db": lambda when, n: f"{when:host2/db/%Y-%m-%d}/a.db",
    "off/{time:%Y-%m-%dT%H-%M-%S%Z}.db": lambda when, n: f"{when:off/%Y-%m-%dT%H-%M-%SZ}.db",
}


def test_each_tools_names_are_one_series(tmp_path: Path) -> None:
    """Hashes, versions and ids of runs that are others each time; two machines stay two targets."""
    for form in _FORMS.values():
        for number in range(24):
            when = _NOW - timedelta(hours=3, minutes=7) - number * timedelta(hours=25)
            _put(tmp_path / "store", form(when, number), database(3), when + timedelta(minutes=1))
    found = _discover(tmp_path / "store")
    assert {str(each.copies["store-0"]["path"][0]) for each in found.proposals} == _FORMS.keys()
    assert "backup-off" in {each.name for each in found.proposals}, "off is a truth value to YAML"
    assert found.left_out == []


def _sums(root: Path, key: str) -> str:
    return f"{hashlib.sha256((root / key).read_bytes()).hexdigest()}  {key.rpartition('/')[2]}\n"


@pytest.mark.parametrize("name", ["SHA256SUMS", "checksums.txt", "each.sha256"])
@pytest.mark.parametrize("newest_has_one", [True, False])
def test_a_digest_that_the_newest_lacks_and_others_have_is_expected(
    tmp_path: Path, name: str, newest_has_one: bool
) -> None:
    root = tmp_path / "store"
    _nights(root, "db/%Y%m%d.db", database(4))
    keys = [f"db/{path.name}" for path in sorted((root / "db").iterdir())]
    listed = keys if newest_has_one else keys[:-1]
    if name == "each.sha256":
        for key in listed:
            (root / f"{key}.sha256").write_text(_sums(root, key))
    else:
        (root / "db" / name).write_text("".join(_sums(root, key) for key in listed))
    target = _targets(found := _discover(root))["db"]
    assert target.get("checksum") == ({"manifest": "db/checksums.txt"} if name == "checksums.txt" else None)
    assert ("the newest has none" in found.sheet().text) is not newest_has_one


@pytest.mark.parametrize("form", ["site/%Y-%m-%d/", "site/%d-%m-%Y/"])
@pytest.mark.parametrize("newest_has_one", [True, False])
def test_a_manifest_that_the_newest_directory_lacks_is_expected(
    tmp_path: Path, form: str, newest_has_one: bool
) -> None:
    root = tmp_path / "store"
    when = datetime(2026, 11, 2, 2, tzinfo=UTC)
    for number in range(4):
        day = when - timedelta(days=number)
        for page in range(120):  # the list stands behind more names than are noted
            _put(root, f"{day.strftime(form)}A{page:03}.html", b"page", day)
        if number or newest_has_one:
            _put(root, f"{day.strftime(form)}SHA256SUMS", b"", day)
    found = _discover(root)
    assert "checksum" not in _targets(found)["site"]
    assert ("others have a manifest inside, the newest has none" in found.sheet().text) is not newest_has_one


@pytest.mark.parametrize("name", ["on", "null", "123", "2026-11-01", "1e3", "~x", "a: b"])
def test_a_place_may_be_called_as_it_likes(command: Command, tmp_path: Path, name: str) -> None:
    _nights(tmp_path / name, "%Y%m%d_shop.db", database(3))
    _nights(tmp_path / name, f"%Y%m%d_{name}.db", database(3))
    answer = command("discover", str(tmp_path / name))
    assert (answer.status, answer.err.count(" 2 targets, 0 that need a word from you, 0 kinds")) == (0, 1)


@pytest.mark.parametrize("stale", ["near", "far"])
def test_what_is_still_made_in_one_place_is_no_archive_of_the_other(tmp_path: Path, stale: str) -> None:
    _nights(tmp_path / ("far" if stale == "near" else "near"), "db/%Y%m%d.db", database(4))
    _put(tmp_path / stale, "db/20260901.db", database(4), datetime(2026, 9, 1, 1, tzinfo=UTC))
    target = _targets(_discover(tmp_path / "near", tmp_path / "far"))["db"]
    assert list(target["copies"]) == ["store-0", "store-1"]  # type: ignore[call-overload]
    assert (target["tier"], "frozen" in target) == ("important", False)


def test_uploads_that_never_finished_are_counted_where_they_are_many(tmp_path: Path) -> None:
    listing = Listing()
    for number in range(2000):
        listing.add(Artifact(f"up/{number}.db.part", 1, 1.0))
    listing.conclude()
    assert sum(each.count for each in listing.left_out) == 2000
    assert len(listing.left_out) < 600


def test_a_directory_that_may_not_be_read_is_listed_and_what_lies_beside_it_is_described() -> None:
    with open_directory() as directory:
        root = directory / "store"
        _nights(root, "shop/%Y%m%d.db", database(3))
        _nights(root, "theirs/%Y%m%d.db", database(3))

        def look(targets: int, why: dict[str, str]) -> None:
            found = _discover(root)
            assert len(_targets(found)) == targets
            assert _left(found) == why

        look(2, {})
        (root / "theirs").chmod(0)
        if os.geteuid() == 0:
            os.chown(root / "theirs", 1, -1)
        user = os.geteuid() or 65534
        as_nobody(lambda: look(1, {"theirs/": f"user {user} may not read it, so nothing is known of what is in it"}))


def test_files_that_differ_in_a_number_alone_are_no_archives_without_a_word(tmp_path: Path) -> None:
    for number in (323, 324, 325):
        _put(tmp_path / "store", f"crm/crm-{number}.db", database(number))
    _put(tmp_path / "store", "crm/before-2019.db", database(3))
    found = _discover(tmp_path / "store")
    told = {each.name: [line for line in each.warnings if "a number alone" in line] for each in found.proposals}
    assert {name: len(lines) for name, lines in told.items()} == {
        "crm-323": 1,
        "crm-324": 1,
        "crm-325": 1,
        "before-2019": 0,
    }
    assert (
        told["crm-323"][0].startswith("others beside it (2) differ in a number alone") and "{any}" in told["crm-323"][0]
    )


def test_beginnings_are_not_read_by_ranges(tmp_path: Path) -> None:
    place = Place("b", {"url": "s3://bucket/p", "media": "object-storage", "region": "eu-central-1", "ranges": 8})
    assert open_place(place, {})[0].settings.ranges == 1
    assert place.raw["ranges"] == 8, "drills still do"


def test_a_project_does_not_begin_among_the_backups(tmp_path: Path) -> None:
    root = tmp_path / "store"
    _nights(root, "shop/%Y%m%d.db", database(3))
    place = Place("store", {"url": f"file://{root}", "media": "disk"})

    def begin(where: Path) -> Discovery:
        return discover(
            [place], where / "drills" / "targets.yaml", "file:../state", references={}, timezone="", most=9,
            now=_NOW.timestamp(),
        )  # fmt: skip

    with pytest.raises(UsageProblem, match="the state would lie inside the store 'store'") as refused:
        begin(root)
    assert refused.value.looked_at == str(root / "drills" / "targets.yaml")
    assert "directory of its own" in (refused.value.remedy or "")
    assert _targets(begin(tmp_path)).keys() == {"shop"}


@pytest.mark.parametrize(
    ("number", "written", "pattern", "zone"),
    [
        ("0030", timedelta(minutes=-30), "db/{time:%Y%m%d_%H%M}.db", "Europe/Berlin"),
        ("0030", timedelta(minutes=31), "db/{time:%Y%m%d_%H%M}.db", "UTC"),
        ("1024", timedelta(hours=2, minutes=5), "db/{time:%Y%m%d}_{any}.db", "UTC"),
    ],
)
def test_a_clock_is_read_though_the_date_alone_would_be_nearer(
    tmp_path: Path, number: str, written: timedelta, pattern: str, zone: str
) -> None:
    """In Berlin half past midnight is still yesterday in UTC."""
    for day in range(1, 25):
        midnight = datetime(2026, 11, 23, tzinfo=UTC) - timedelta(days=day % 20)
        _put(tmp_path / "store", f"db/{midnight:%Y%m%d}_{number}.db", database(3), midnight + written)
    found = _discover(tmp_path / "store")
    assert [each.pattern for each in found.proposals] == [pattern]
    assert found.zone == zone
