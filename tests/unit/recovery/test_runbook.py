"""Generated runbooks: their commands are run by bash, from every kind of store, on every layer, and once spoilt."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.backups import database
from tests.support.bench import NOW, Bench, all_of, drilled, gzipped
from tests.support.plans import planned_copy, planned_target

from restore_drill import runbooks
from restore_drill.recovery.guessing import guessed
from restore_drill.recovery.markdown import render
from restore_drill.recovery.prose import code, quoted, text
from restore_drill.recovery.runbook import Runbook, compose
from restore_drill.secrets import SecretReference

KEY = "a b/it's $(touch pwned) `x`.db.gz"
PLAIN = database(20)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


LAYERS = [
    {"format": "gzip"},
    {"format": "sqlite-database", "sha256": hashlib.sha256(PLAIN).hexdigest()},
]
URLS = [
    "file:///mnt/nas",
    "s3://bucket/some/prefix",
    "gs://bucket/prefix",
    "az://container/prefix",
    "sftp://reader@vault.example:2222/srv/backups",
    "sftp://vault.example/~/backups",
    "sftp://[::1]:2222/srv/backups",
    "https://mirror.example/backups/",
    "rclone:remote:path",
]


@pytest.mark.parametrize("url", URLS)
def test_it_recovers_from_every_kind_of_store(bench: Bench, url: str, require_program: Callable[[str], str]) -> None:
    require_program("sqlite3")
    stored = gzipped(PLAIN)
    bench.put(KEY, stored)
    if not url.startswith("file:"):
        bench.offline(url)
    runbook = compose(drilled(planned_copy("nas", "db/{any}.db.gz", url=url), KEY, stored, LAYERS))
    assert bench.run(all_of(runbook)) == (7, "")
    assert (bench.live / "orders-db").read_bytes() == PLAIN
    assert not list(bench.root.rglob("pwned"))


def test_bytes_that_nobody_drilled_go_no_further(bench: Bench) -> None:
    stored = gzipped(PLAIN)
    bench.put(KEY, stored[:-1] + b"x")
    runbook = compose(drilled(planned_copy("nas", "db/{any}.db.gz"), KEY, stored, LAYERS))
    done, said = bench.run(all_of(runbook))
    assert runbook.steps[done].title == "Verify the digests"
    assert "FAILED" in said
    assert not list((bench.work / "verified").iterdir())


def test_what_does_not_hold_what_the_drill_found_is_not_put_in_place(
    bench: Bench, require_program: Callable[[str], str]
) -> None:
    require_program("sqlite3")
    other = database(19)
    stored = gzipped(other)
    bench.put(KEY, stored)
    layers = [LAYERS[0], {"format": "sqlite-database", "sha256": hashlib.sha256(other).hexdigest()}]
    runbook = compose(drilled(planned_copy("nas", "db/{any}.db.gz"), KEY, stored, layers))
    done, said = bench.run(all_of(runbook))
    assert all_of(runbook)[done].title == "Ask the database"
    assert "< orders|20" in said
    assert "> orders|19" in said
    assert not list(bench.live.iterdir())


@pytest.fixture
def runbook(bench: Bench, require_program: Callable[[str], str]) -> Runbook:
    """Of a database that lies in the store."""
    require_program("sqlite3")
    stored = gzipped(PLAIN)
    bench.put(KEY, stored)
    return compose(drilled(planned_copy("nas", "db/{any}.db.gz"), KEY, stored, LAYERS))


def test_what_was_there_is_kept_and_comes_back(bench: Bench, runbook: Runbook) -> None:
    old = {"orders-db": b"old", "orders-db-wal": b"log of the old one"}
    for name, content in old.items():
        (bench.live / name).write_bytes(content)
    assert bench.run(all_of(runbook)) == (7, "")
    assert sorted(path.name for path in bench.live.iterdir()) == [
        "orders-db", "orders-db-wal.before", "orders-db.before",
    ]  # fmt: skip
    assert bench.run(list(runbook.rollback)) == (1, "")
    assert {name: (bench.live / name).read_bytes() for name in old} == old
    assert (bench.live / "orders-db.rejected").read_bytes() == PLAIN


def test_nothing_is_taken_back_where_nothing_was_put_in_place(bench: Bench, runbook: Runbook) -> None:
    """What was kept from an earlier recovery stops this one; its rollback would have that for what runs."""
    runs = {"orders-db": b"runs", "orders-db.before": b"of last year"}
    for name, content in runs.items():
        (bench.live / name).write_bytes(content)
    assert bench.run(all_of(runbook)) == (6, "STOPPED: orders-db.before is kept already\n")
    assert bench.run(list(runbook.rollback)) == (0, "STOPPED: nothing was changed from this work directory\n")
    assert {path.name: path.read_bytes() for path in bench.live.iterdir()} == runs


def test_what_was_moved_away_comes_back_when_nothing_came_in_its_place(
    bench: Bench, require_program: Callable[[str], str]
) -> None:
    require_program("sqlite3")
    stored = gzipped(PLAIN)
    bench.put(KEY, stored)
    runbook = compose(drilled(planned_copy("nas", "db/{any}.db.gz"), KEY, stored, LAYERS))
    (bench.live / "orders-db").write_bytes(b"old")
    last = runbook.going_live[0].script().splitlines()
    assert last[-1].startswith("mv -- ")
    assert bench.run([*runbook.steps, *runbook.verification]) == (6, "")
    assert bench.type(["\n".join([*last[:-1], "false"])])[0] == 0  # as where the disk is full
    assert not (bench.live / "orders-db").exists()
    assert bench.run(list(runbook.rollback)) == (1, "")
    assert (bench.live / "orders-db").read_bytes() == b"old"


@pytest.mark.parametrize(
    ("layer", "command", "decrypt"),
    [
        ({"format": "xz"}, "xz", {}),
        ({"format": "bzip2"}, "bzip2", {}),
        ({"format": "zstd"}, "zstd -q --long=31", {}),
        ({"format": "lz4"}, "lz4 -q", {}),
        ({"format": "lzip"}, "lzip", {}),
        (
            {"format": "openssl", "cipher": "aes-256-cbc", "kdf": "pbkdf2", "iterations": 12345, "digest": "sha512"},
            "openssl enc -aes-256-cbc -pbkdf2 -iter 12345 -md sha512 -pass file:key",
            {"openssl": "password"},
        ),
        (
            {"format": "openssl", "cipher": "aes-128-ctr", "kdf": "legacy", "digest": "md5", "base64": True},
            "openssl enc -aes-128-ctr -md md5 -a -pass file:key",
            {"openssl": "password"},
        ),
        (
            {"format": "openpgp", "opened_by": "passphrase"},
            "gpg --homedir . --batch --pinentry-mode loopback --passphrase-file key --symmetric",
            {"openpgp": "passphrase"},
        ),
    ],
)
def test_every_layer_is_opened_by_its_program(
    bench: Bench, layer: dict[str, Any], command: str, decrypt: dict[str, str], require_program: Callable[[str], str]
) -> None:
    require_program("sqlite3")
    require_program(command.split()[0])
    key = bench.root / "key"
    key.write_text("correct horse\n")
    bench.root.chmod(0o700)
    stored = subprocess.run(
        ["bash", "-c", f"{command} 2>/dev/null"], cwd=bench.root, input=PLAIN, stdout=subprocess.PIPE, check=True
    ).stdout
    bench.put("db/x.bin", stored)
    for codec, name in decrypt.items():
        bench.variables[f"KEY_{codec}_{name}".upper()] = str(key)
    given = {codec: {name: SecretReference("env", "SECRET")} for codec, name in decrypt.items()}
    copy = planned_copy("nas", "db/{any}", decrypt=given)
    runbook = compose(drilled(copy, "db/x.bin", stored, [layer, LAYERS[1]]))
    assert bench.run(all_of(runbook)) == (7, "")
    assert (bench.live / "orders-db").read_bytes() == PLAIN
    document = render(runbook, NOW)
    assert "correct horse" not in document
    assert ("what env:SECRET holds" in document) is bool(decrypt)


def test_the_document_is_what_was_put_together(bench: Bench) -> None:
    stored = gzipped(PLAIN)
    hostile = "db/```\n# Rollback\n```sh\ntouch pwned\n```\x1b[2J.gz"
    bench.put(hostile, stored)
    copy = planned_copy("nas", "db/{any}.db.gz")
    details = {"owner": "ops | *team*\n# x", "description": "<b>shop</b>", "depends_on": ["accounts"]}
    runbook = compose(drilled(copy, hostile, stored, LAYERS, **details))
    document = render(runbook, NOW)
    assert "\x1b" not in document
    procedure = runbooks.parse(document, None, [])
    assert [step.code.strip() for step in procedure.steps] == [step.script() for step in all_of(runbook)]
    assert [step.code.strip() for step in procedure.rollback] == [step.script() for step in runbook.rollback]
    assert procedure.steps[1].heading == "2. Fetch the snapshot"
    assert (
        "**Last proved on 2027-01-15 08:00Z**, by the run `R-1`: restored in 2 s, where the RTO allows 15 min."
        in document
    )
    assert "ops \\| \\*team\\* \\# x" in document
    assert "\\<b\\>shop" in document
    assert "Bring back first: **accounts**." in document
    assert "Took 1.50 s in the drill" in document
    done, said = bench.run(all_of(runbook))
    assert (done, said) == (7, "")
    assert not list(bench.root.rglob("pwned"))


@pytest.mark.parametrize("url", URLS)
def test_what_was_never_proved_says_so_first_and_still_leads_back(
    bench: Bench, url: str, require_program: Callable[[str], str]
) -> None:
    require_program("sqlite3")
    stored = gzipped(PLAIN)
    bench.variables |= {
        "SNAPSHOT_KEY": "db/shop_20261123.db.gz",
        "SNAPSHOT_SHA256": bench.put("db/shop_20261123.db.gz", stored),
    }
    if not url.startswith("file:"):
        bench.offline(url)
    copy = planned_copy("nas", "db/shop_{time:%Y%m%d}.db.gz", url=url)
    runbook = compose(guessed(planned_target(copy), copy), "it was never drilled")
    document = render(runbook, NOW)
    assert document.splitlines()[2] == "> **NEVER PROVED: it was never drilled.**"
    assert "Last proved" not in document
    assert "Took" not in document
    assert bench.run(all_of(runbook)) == (7, "")
    assert (bench.live / "orders-db").read_bytes() == PLAIN
    bench.variables["SNAPSHOT_SHA256"] = "0" * 64
    subprocess.run(["rm", "-r", str(bench.work)], check=True)
    done, _ = bench.run(all_of(runbook))
    assert runbook.steps[done].title == "Verify the digests"


@pytest.mark.parametrize(
    "said",
    [
        {"format": "gzip", "sha256": "x\nEND\ntouch pwned"},
        {"format": "openssl", "cipher": "aes; touch pwned", "digest": "$(touch pwned)", "iterations": 1},
        {"format": "age", "opened_by": "`\n```sh\ntouch pwned\n```"},
        {"format": "new\n```sh\ntouch pwned"},
    ],
)
def test_a_forged_record_types_nothing(bench: Bench, said: dict[str, Any]) -> None:
    """A ledger that nobody signed may say anything; whoever follows the runbook must not run it."""
    bench.put("db/x.gz", b"stored")
    forged = {"format": "sqlite-database", "sha256": "y\nEND\ntouch pwned"}
    runbook = compose(drilled(planned_copy("nas", "db/{any}.gz"), "db/x.gz", b"stored", [said, forged]))
    document = render(runbook, NOW)
    procedure = runbooks.parse(document, None, [])
    assert [step.code.strip() for step in procedure.steps] == [step.script() for step in all_of(runbook)]
    for step in all_of(runbook):
        bench.run([step])
    assert not list(bench.root.rglob("pwned"))


def test_a_forged_count_types_nothing(bench: Bench, require_program: Callable[[str], str]) -> None:
    require_program("sqlite3")
    stored = gzipped(PLAIN)
    bench.put(KEY, stored)
    known = drilled(planned_copy("nas", "db/{any}.gz"), KEY, stored, LAYERS)
    known.evidence["stages"][2]["facts"]["counts"] = {"a\nEND\ntouch pwned": 1, 'orders" union select 1; --': 20}
    done, said = bench.run(all_of(compose(known)))
    assert (done, "no such table" in said) == (5, True)
    assert not list(bench.root.rglob("pwned"))


@pytest.mark.parametrize(
    "word", ["plain", "it's", "a b", "$x", "tab\there", "line\nbreak", "back\\slash\n", "\u202eright", "\x1b[0m'"]
)
def test_a_word_is_the_same_word_to_bash(word: str) -> None:
    said = quoted(word)
    assert said.isprintable()
    done = subprocess.run(
        ["bash", "-c", f"printf %s {said}"], capture_output=True, env={"LC_ALL": "C.UTF-8"}, check=True
    )  # fmt: skip
    assert done.stdout.decode() == word


def test_prose_and_names_stay_what_they_are() -> None:
    assert text("a|b\n*c* `d`\x1b") == "a\\|b \\*c\\* \\`d\\`\\\\x1b"
    assert code("a`b``c") == "```a`b``c```"
    assert code("`") == "`` ` ``"
    assert code("a|b\nc") == "`a\\|b\\nc`"


STEP = {"heading": "1. Prepare", "line": 1, "seconds": 3.0, "status": 0}
EXECUTED = {"document": runbooks.GENERATED, "steps": [STEP], "rollback": "drilled"}


@pytest.mark.parametrize(
    ("more", "proved"),
    [
        ({}, True),
        ({"rollback": "not asked for"}, True),
        ({"document": "docs/recovery.md"}, False),
        ({"steps": [STEP, {**STEP, "heading": "2. Fetch the snapshot", "status": 1}]}, False),
        ({"rollback": "executed, and it does not lead back"}, False),
        ({"rollback": "not reached"}, False),
    ],
)
def test_steps_were_executed_only_where_all_of_these_were(more: dict[str, Any], proved: bool) -> None:
    """A drill whose runbook failed under an exception proves its snapshot, and not these steps."""
    known = drilled(planned_copy("nas", "db/{any}.db"), "db/x.db", b"x", [LAYERS[1]], runbook={"generated": True})
    known.evidence = {**known.evidence, "runbook": {**EXECUTED, **more}}
    document = render(compose(known), NOW)
    assert ("That drill also executed these steps, one by one." in document) is proved
    assert ("Took 3 s in that drill, which executed these steps." in document) is proved
