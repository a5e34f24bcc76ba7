"""Generated runbooks of trees and of files that an application loads: unpacked, counted, put in place, all by bash."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.bench import NOW, Bench, all_of, drilled, of_tree
from tests.support.plans import planned_copy, planned_target

from restore_drill.recovery.book import Parts
from restore_drill.recovery.guessing import guessed
from restore_drill.recovery.markdown import render
from restore_drill.recovery.opening import opened
from restore_drill.recovery.runbook import compose

COUNTED = {"files": 3, "bytes": 9}
CONTENT = {"sub/x": b"one\n", "a dir/it's": b"three", "empty": b""}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(tmp_path)
    for name, content in CONTENT.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "tree" / "link").symlink_to("sub/x")
    return bench


def make(bench: Bench, command: str) -> None:
    subprocess.run(["bash", "-ec", command], cwd=bench.root, check=True, capture_output=True)


def stored(bench: Bench, *names: str, layers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Artifacts of a drill's evidence."""
    return [
        {"key": name, "sha256": hashlib.sha256((bench.store / name).read_bytes()).hexdigest(), "layers": layers}
        for name in names
    ]


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def whole(bench: Bench) -> None:
    assert tree(bench.live / "tree") == {**CONTENT, "link": CONTENT["sub/x"]}
    assert (bench.live / "tree" / "link").is_symlink()


@pytest.mark.parametrize(
    ("command", "layers", "path"),
    [
        ("tar -cf store/t.tar -C tree .", [{"format": "tar"}], "{any}.tar"),
        ("tar -czf store/t.tgz -C tree .", [{"format": "gzip"}, {"format": "tar"}], "{any}.tgz"),
        ("tar -cJf store/t.tar.xz -C tree .", [{"format": "xz"}, {"format": "tar"}], "{any}.tar.xz"),
        ("cd tree; zip -qry ../store/t.zip .", [{"format": "zip"}], "{any}.zip"),
    ],
)
def test_an_archive_is_unpacked_and_counted(
    bench: Bench, command: str, layers: list[dict[str, Any]], path: str, require_program: Callable[[str], str]
) -> None:
    if "zip" in path:
        require_program("zip")
        require_program("unzip")
    make(bench, command)
    (name,) = [each.name for each in bench.store.iterdir()]
    copy = planned_copy("nas", path)
    known = of_tree(copy, stored(bench, name, layers=layers), COUNTED)
    steps = all_of(compose(known))
    assert bench.run(steps) == (len(steps), "")
    whole(bench)
    make(bench, "rm -r work live; mkdir live")
    fewer = of_tree(copy, stored(bench, name, layers=layers), {"files": 4, "bytes": 9})
    done, said = bench.run(all_of(compose(fewer)))
    assert all_of(compose(fewer))[done].title == "Count the files"
    assert "< 4 9" in said
    assert not list(bench.live.iterdir())


def test_a_chain_is_unpacked_in_its_order(bench: Bench) -> None:
    make(bench, "tar -cf store/full.tar -g memory -C tree .; rm tree/empty; echo new >tree/new")
    make(bench, "tar -cf store/inc.tar -g memory -C tree .")
    copy = planned_copy("nas", "{time:%Y%m%d}_{kind:full=full|incremental=inc}.tar")
    known = of_tree(
        copy, stored(bench, "full.tar", "inc.tar", layers=[{"format": "tar"}]), {"files": 3, "bytes": 13}
    )  # fmt: skip
    steps = all_of(compose(known))
    assert bench.run(steps) == (len(steps), "")
    assert set(tree(bench.live / "tree")) == {"sub/x", "a dir/it's", "new", "link"}
    assert "Unpack the chain" in [step.title for step in steps]


def test_a_directory_is_held_against_its_own_list(bench: Bench) -> None:
    make(bench, "cp -a tree store/g; cd store/g; find . -type f -printf '%P\\0' | xargs -0 sha256sum >../SUMS")
    make(bench, "mv store/SUMS store/g/SHA256SUMS")
    artifacts = [{"key": "g/", "layers": [{"format": "directory"}]}]
    copy = planned_copy("nas", "{any}/")
    size = (bench.store / "g" / "SHA256SUMS").stat().st_size
    counted = {"files": 4, "bytes": 9 + size}
    known = of_tree(copy, artifacts, counted, fetched={"manifest": "SHA256SUMS"})
    steps = all_of(compose(known))
    assert "whoever changes the files can change the list" in steps[2].about
    assert bench.run(steps) == (len(steps), "")
    (bench.live / "tree" / "SHA256SUMS").unlink()
    whole(bench)
    make(bench, "rm -r work live; mkdir live; echo twoo >store/g/sub/x")
    done, _ = bench.run(steps)
    assert steps[done].title == "Verify the digests"


def test_a_prefix_of_objects_is_fetched_whole(bench: Bench) -> None:
    make(bench, "cp -a tree store/g; rm store/g/link")
    bench.offline("s3://bucket/prefix")
    copy = planned_copy("offsite", "{any}/", url="s3://bucket/prefix")
    known = of_tree(copy, [{"key": "g/", "layers": [{"format": "directory"}]}], COUNTED)
    runbook = compose(known)
    steps = all_of(runbook)
    assert bench.run(steps) == (len(steps), "")
    assert tree(bench.live / "tree") == CONTENT
    assert "without a list of digests" in render(runbook, NOW)


def test_parts_are_joined_without_what_lies_beside_them(bench: Bench) -> None:
    make(bench, "tar -cf t.tar -C tree .; split -b 3000 t.tar store/t.tar.part-; cd store; "
                "for part in t.tar.part-*; do sha256sum $part >$part.sha256; done")  # fmt: skip
    artifacts = [
        {
            "key": "t.tar",
            "sha256": hashlib.sha256((bench.root / "t.tar").read_bytes()).hexdigest(),
            "layers": [{"format": "tar"}],
        }
    ]
    known = of_tree(planned_copy("nas", "{any}.tar.part-{part}"), artifacts, COUNTED)
    steps = all_of(compose(known))
    assert bench.run(steps) == (len(steps), "")
    whole(bench)


def test_a_log_that_lies_beside_a_database_comes_along(bench: Bench, require_program: Callable[[str], str]) -> None:
    require_program("sqlite3")
    make(bench, """python3 - <<'P'
import os, shutil, sqlite3
c = sqlite3.connect("w.db")
c.executescript("pragma journal_mode=wal; pragma wal_autocheckpoint=0; create table orders (a); insert into orders values (1), (2)")
shutil.copy("w.db", "store/d.db"); shutil.copy("w.db-wal", "store/d.db-wal")
P""")  # noqa: E501  # fmt: skip
    layer = [{"format": "sqlite-database"}]
    copy = planned_copy("nas", "{any}.db", parts=["{name}-wal"])
    known = drilled(copy, "d.db", (bench.store / "d.db").read_bytes(), layer)
    fetched = known.evidence["stages"][0]["facts"]
    fetched["artifacts"] = stored(bench, "d.db", "d.db-wal", layers=layer)
    known.evidence["stages"][2]["facts"]["counts"] = {"orders": 2}
    steps = all_of(compose(known))
    assert bench.run(steps) == (len(steps), "")
    assert [path.name for path in bench.live.iterdir()] == ["orders-db"]


@pytest.mark.parametrize(("engine", "left"), [("csv", ""), ("etcd", "etcdutl snapshot restore"), ("ldif", "slapadd")])
def test_what_an_application_loads_is_put_there_and_said(bench: Bench, engine: str, left: str) -> None:
    content = b"a,b\n1,2\n"
    (bench.store / "x.bin").write_bytes(content)
    layer = [{"format": engine, "sha256": hashlib.sha256(content).hexdigest()}]
    known = drilled(planned_copy("nas", "{any}.bin"), "x.bin", content, layer)
    known.target = planned_target(planned_copy("nas", "{any}.bin"), engine=engine)
    runbook = compose(known)
    steps = all_of(runbook)
    assert bench.run(steps) == (len(steps), "")
    assert (bench.live / "orders-db").read_bytes() == content
    head, _, _ = render(runbook, NOW).partition("## Prerequisites")
    assert left in head
    assert ("Not everything is in the commands" in head) is bool(left)


@pytest.mark.parametrize(
    ("engine", "path", "formats"),
    [
        ("sqlite", "a/{time:%Y%m%d}.db.gz.age", ["age", "gzip", "sqlite-database"]),
        ("sqlite", "a/{time:%Y%m%d}.sql.xz", ["xz", "sql-text"]),
        ("postgres", "a/{time:%Y%m%d}.dump", ["postgres-custom"]),
        ("postgres", "a/{time:%Y%m%d}.sql.gz", ["gzip", "postgres-script"]),
        ("postgres", "a/{time:%Y%m%d}.sql.zstd", ["zstd", "postgres-script"]),
        ("postgres", "a/{time:%Y%m%d}.sql.zip.openssl", ["openssl", "zip", "postgres-script"]),
        ("files", "a/{time:%Y%m%d}.tbz2", ["bzip2", "tar"]),
        ("files", "a/{time:%Y%m%d}.7z.age", ["age", "7z"]),
        ("files", "a/{time:%Y%m%d}.tgz", ["gzip", "tar"]),
        ("files", "a/{time:%Y%m%d}.zip", ["zip"]),
        ("files", "a/{time:%Y%m%d}/", ["directory"]),
        ("mariadb", "a/{time:%Y%m%d}.sql.zst.gpg", ["openpgp", "zstd", "mariadb-dump"]),
        ("redis", "a/{time:%Y%m%d}.rdb", ["redis-dump"]),
    ],
)
def test_without_a_drill_formats_are_guessed_by_names(engine: str, path: str, formats: list[str]) -> None:
    copy = planned_copy("nas", path)
    known = guessed(planned_target(copy, engine=engine), copy)
    assert known.stored[0].formats == formats
    runbook = compose(known, "it was never drilled")
    document = render(runbook, NOW)
    assert "NEVER PROVED: it was never drilled" in document
    assert "SNAPSHOT_KEY" in document


@pytest.mark.parametrize(
    ("name", "layer", "result"),
    [
        ("shop.sql.zstd", "zstd", "opened/shop.sql"),
        ("wiki.txz", "xz", "opened/wiki.tar"),
        ("shop.dump", "gzip", "opened/shop.dump.plain"),
        ("shop.sql.openssl", "openssl", "decrypted/shop.sql"),
    ],
)
def test_what_comes_out_is_called_as_what_it_is(name: str, layer: str, result: str) -> None:
    known = drilled(planned_copy("nas", "{any}"), name, b"", [{"format": layer}, {"format": "any"}])
    _, places = opened(known, Parts())
    assert places == [result]


def test_codecs_that_the_catalogue_names_are_those_of_a_guess() -> None:
    copy = planned_copy("nas", "a/{time:%Y%m%d}.sql.gz", codecs=["age", "gzip"])
    known = guessed(planned_target(copy, engine="postgres"), copy)
    assert known.stored[0].formats == ["age", "gzip", "postgres-script"]


@pytest.mark.parametrize("files", [0, 1])
def test_a_tree_that_nobody_counted_is_not_empty(bench: Bench, files: int) -> None:
    (bench.store / "app" / "20260101").mkdir(parents=True)
    for number in range(files):
        (bench.store / "app" / "20260101" / str(number)).write_text("x")
    copy = planned_copy("nas", "app/{any}/")
    bench.variables["SNAPSHOT_KEY"] = "app/20260101"
    runbook = compose(guessed(planned_target(copy, name="tree", engine="files"), copy), "it was never drilled")
    done, _ = bench.run(all_of(runbook))
    assert (done == len(all_of(runbook))) is bool(files)
    assert (bench.live / "tree").is_dir() is bool(files)
    assert "None" not in runbook.verification[0].about
