"""The engine over the real sandbox: archives are unpacked, restored and examined as a drill does it."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.tar_builder import END, archive, member
from tests.support.trees import IS_ROOT, look, rich_tree

from restore_drill.engines.base import Restored, RestoreOptions, Sample
from restore_drill.engines.files import FilesEngine
from restore_drill.engines.files_samples import EXPECT, TAKEN
from restore_drill.errors import BackupFailed, CouldNotVerify, UsageProblem
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.registry import load
from restore_drill.sandboxes.base import Limits, Sandbox

SAMPLES = list(FilesEngine.samples())


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with load("sandboxes", "directory")(tmp_path, run="test", name="files", limits=Limits(processes=2)) as one:
        yield one


def unpacked(sandbox: Sandbox, data: bytes, name: str = "0", **more: Any) -> Payload:
    chunks = (data[at : at + 10_000] for at in range(0, len(data), 10_000))
    arguments = {"archive": "tar", "root": str(sandbox.work / name), "limits": {}, "digest": True, **more}
    facts = sandbox.call("restore_drill.archives.unpack:unpack_tree", arguments, deadline=60, feed=chunks)
    return Payload(PayloadForm.TREE, sandbox.work / name, "tar", facts["bytes"], facts["digest"])


def restored(sandbox: Sandbox, *payloads: Payload, **options: Any) -> Restored:
    return FilesEngine().restore(payloads, sandbox, RestoreOptions(deadline=60, threads=2, **options))


def caught_by(sample: Sample, sandbox: Sandbox, directory: Path) -> str:
    """The case that a drill of this sample fails, ``""`` when it passes."""
    content = sample.build(directory).read_bytes()
    assert FilesEngine.recognises(content[:1024]) == "tar"
    try:
        tree = restored(sandbox, unpacked(sandbox, content))
    except BackupFailed as problem:
        return {Stage.UNPACK: "unpacks", Stage.RESTORE: "restores"}[problem.stage or Stage.FETCH]
    facts = tree.files(EXPECT["files"])
    compared = facts["manifest"]
    clean = not (compared["mismatched"] or compared["missing"] or compared["extra"])
    if not clean or not all(facts["must_exist"].values()) or any(facts["must_not_exist"].values()):
        return "files"
    return "" if tree.files({})["newest"] == TAKEN else "newest"


@pytest.mark.parametrize("sample", SAMPLES, ids=[sample.name for sample in SAMPLES])
def test_every_sample_is_caught_by_its_case(sample: Sample, sandbox: Sandbox, tmp_path: Path) -> None:
    assert caught_by(sample, sandbox, tmp_path) == sample.caught_by


def test_a_tree_comes_back_through_the_sandbox_as_it_was(sandbox: Sandbox, tmp_path: Path) -> None:
    tree, out = rich_tree(tmp_path / "tree"), io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        made.add(tree, ".")
    found = restored(sandbox, unpacked(sandbox, out.getvalue()))
    assert look(found.path, seconds=True) == look(tree, seconds=True)  # Python keeps times as floats
    assert found.facts["owners_restored"] is IS_ROOT
    assert {"files", "directories", "links", "bytes"} < set(found.facts)
    assert found.files({})["files"] == found.facts["files"] == found.files({"must_exist": ["**"]})["files"]


def test_a_generation_comes_back_through_the_sandbox_as_it_was(sandbox: Sandbox, tmp_path: Path) -> None:
    tree = rich_tree(tmp_path / "tree")
    lines = [
        f"{hashlib.sha256((tree / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("etc/hosts", "etc/app.toml", "holes")
    ]
    (tree / "SHA256SUMS").write_text("".join(lines))
    arguments = {"source": str(tree), "root": str(sandbox.work / "0"), "limits": {}, "digest": True, "threads": 2}
    facts = sandbox.call("restore_drill.archives.copying:copy_generation", arguments, deadline=60)
    checked = sandbox.call(
        "restore_drill.engines.files_probe:hash_tree",
        {"root": "0", "manifest": "SHA256SUMS", "threads": 2},
        deadline=60,
    )
    assert (checked["verified"], checked["mismatched"], checked["missing"]) == (3, 0, 0)
    payload = Payload(PayloadForm.TREE, sandbox.work / "0", "directory", facts["bytes"], facts["digest"])
    assert look(restored(sandbox, payload).path) == look(tree)


def test_hostile_archives_are_refused_inside_the_sandbox(sandbox: Sandbox) -> None:
    with pytest.raises(BackupFailed, match="climbs") as caught:
        unpacked(sandbox, archive(member(b"../x", b"1")))
    assert caught.value.stage is Stage.UNPACK and caught.value.details == ("member ../x",)
    assert unpacked(sandbox, archive(member(b"x", b"1")), "good").size == 1


def test_a_list_of_files_that_ends_early_is_no_list(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restore_drill.engines.files._PIECE", 2)
    tree = restored(sandbox, unpacked(sandbox, archive(*(member(f"f{number}".encode(), b"x") for number in range(5)))))
    rule = {"glob": "**", "give": ["path"]}
    assert sorted(path for (path,) in tree.entries(rule, 60.0)) == [f"f{number}" for number in range(5)]
    rows = tree.entries(rule, 60.0)
    next(rows)
    (listing,) = [path for path in sandbox.work.iterdir() if path.name == "listing-2"]
    listing.write_bytes(b"".join(listing.read_bytes().splitlines(keepends=True)[:3]))
    with pytest.raises(CouldNotVerify, match="not read to its end: 2 of them are left"):
        list(rows)


def test_nothing_is_written_when_only_the_digest_is_wanted(sandbox: Sandbox) -> None:
    data = archive(member(b"d/x", b"1"), member(b"y", b"2"))
    written, not_written = unpacked(sandbox, data), unpacked(sandbox, data, "1", discard=True)
    assert written.digest == not_written.digest != ""
    assert not not_written.path.exists()


def test_a_chain_is_laid_over_itself_oldest_first(sandbox: Sandbox) -> None:
    full = unpacked(sandbox, archive(member(b"a", b"old"), member(b"d/b", b"kept")), "0")
    first = unpacked(sandbox, archive(member(b"a", b"new"), member(b"d/c", b"more")), "1")
    second = unpacked(sandbox, archive(member(b"a", b"newest")), "2")
    found = restored(sandbox, full, first, second)
    assert {path.name: path.read_text() for path in found.path.rglob("*") if path.is_file()} == {
        "a": "newest", "b": "kept", "c": "more",
    }  # fmt: skip
    assert found.notes[0] == "3 archives of a chain laid over each other"


@pytest.mark.parametrize(
    "empty", [END, archive(member(b"d/", kind=b"5"), member(b"d/l", kind=b"2", target=b"nowhere"))]
)
def test_nothing_came_back(sandbox: Sandbox, empty: bytes) -> None:
    with pytest.raises(BackupFailed, match="nothing came back") as caught:
        restored(sandbox, unpacked(sandbox, empty))
    assert caught.value.stage is Stage.RESTORE


def test_an_empty_tree_can_be_right(sandbox: Sandbox) -> None:
    found = restored(sandbox, unpacked(sandbox, archive(member(b"d/", kind=b"5"))), allow_empty=True)
    assert (found.facts["files"], found.facts["directories"]) == (0, 1)
    assert found.files({})["newest"] is None


def test_what_it_recognises() -> None:
    assert FilesEngine.recognises(archive(member(b"a", b"1"))[:1024]) == "tar"
    for head in (b"", b"<html>" + bytes(1018), b"SQLite format 3\0" + bytes(1008), b"\x1f\x8b" + bytes(1022)):
        assert FilesEngine.recognises(head) is None


def test_an_option_nobody_knows_is_refused(sandbox: Sandbox) -> None:
    payload = unpacked(sandbox, archive(member(b"a", b"1")))
    with pytest.raises(UsageProblem, match="no option subtree"):
        restored(sandbox, payload, settings={"subtree": "x"})
    assert restored(sandbox, payload).facts["files"] == 1


@pytest.mark.parametrize(
    ("count", "size", "told"), [(1, 1, "1 file, 1 B"), (2, 5, "2 files, 10 B"), (1204, 1600, "1,204 files, 1.93 MB")]
)
def test_what_came_back_is_told_in_a_few_words(sandbox: Sandbox, count: int, size: int, told: str) -> None:
    data = archive(*(member(b"d/%d" % number, bytes(size)) for number in range(count)))
    assert restored(sandbox, unpacked(sandbox, data)).facts["summary"] == told


def test_what_it_cannot_answer_is_never_a_pass(sandbox: Sandbox) -> None:
    found = restored(sandbox, unpacked(sandbox, archive(member(b"a", b"1"))))
    for question in (found.integrity, found.structure, found.row_counts):
        with pytest.raises(CouldNotVerify):
            question()
