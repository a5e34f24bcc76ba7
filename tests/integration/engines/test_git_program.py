"""Repositories that the real git made: bundles, chains, mirrors, and mirrors that were made to be run."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.here import here

from restore_drill.engines.base import Restored, RestoreOptions
from restore_drill.engines.git import GitEngine
from restore_drill.errors import BackupFailed, CouldNotVerify, UsageProblem
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.registry import load
from restore_drill.sandboxes.base import Limits, Sandbox

ENVIRONMENT = {
    "PATH": os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
    **{f"GIT_{who}_{what}": "ada@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    "GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000",
}  # fmt: skip


class Origin:
    """A repository with real history."""

    def __init__(self, git: str, directory: Path, *options: str) -> None:
        self._git = git
        self.path = directory
        directory.mkdir()
        self("init", "-q", "-b", "main", *options)

    def __call__(self, *arguments: str) -> str:
        done = subprocess.run([self._git, *arguments], cwd=self.path, env=ENVIRONMENT, check=True, capture_output=True)
        return done.stdout.decode()

    def commit(self, number: int) -> None:
        (self.path / "file").write_text(f"{number}\n" * 100)
        self("add", ".")
        self("commit", "-qm", f"commit {number}")


@pytest.fixture
def origin(request: pytest.FixtureRequest, tmp_path: Path, require_program: Callable[[str], str]) -> Origin:
    made = Origin(require_program("git"), tmp_path / "origin", f"--object-format={getattr(request, 'param', 'sha1')}")
    for number in range(5):
        made.commit(number)
    made("tag", "-am", "first", "v1")
    made("branch", "topic", "HEAD~2")
    made("gc", "-q")
    return made


@pytest.fixture
def sandbox(tmp_path: Path) -> Sandbox:
    return here(tmp_path / "work")


@pytest.fixture
def confined(tmp_path: Path) -> Iterator[Sandbox]:
    (tmp_path / "work").mkdir()
    with load("sandboxes", "directory")(tmp_path / "work", run="test", name="git", limits=Limits()) as one:
        yield one


def payload(path: Path, sandbox: Sandbox) -> Payload:
    target = sandbox.work / path.name
    if path.is_dir():
        shutil.copytree(path, target, symlinks=True)
        return Payload(PayloadForm.TREE, target, "tar", 1)
    shutil.copyfile(path, target)
    return Payload(PayloadForm.FILE, target, "git-bundle", path.stat().st_size)


def restored(sandbox: Sandbox, *paths: Path, **settings: Any) -> Restored:
    options = RestoreOptions(deadline=60, settings=settings)
    payloads = [payload(path, sandbox) for path in paths]
    return GitEngine().restore(GitEngine().link(payloads, sandbox, options).payloads, sandbox, options)


COUNTS = {"commits": 5, "trees": 5, "blobs": 5, "annotated_tags": 1, "refs": 3, "branches": 2, "tags": 1}


@pytest.mark.parametrize("origin", ["sha1", "sha256"], indirect=True)
def test_a_bundle_and_a_chain_of_two_hold_what_git_counts(origin: Origin, tmp_path: Path, sandbox: Sandbox) -> None:
    origin("bundle", "create", "-q", str(tmp_path / "full.bundle"), "--all")
    origin.commit(5)
    origin("bundle", "create", "-q", str(tmp_path / "more.bundle"), "--all", "^v1^{commit}")
    one = restored(sandbox, tmp_path / "full.bundle", tmp_path / "more.bundle")
    assert one.row_counts() == {**COUNTS, "commits": 6, "trees": 6, "blobs": 6}
    assert one.row_counts()["commits"] == int(origin("rev-list", "--all", "--count"))
    assert one.integrity()["problems"] == one.integrity("quick")["problems"] == []
    assert one.structure() == {"branch": ["main"]}
    assert one.query("select max(committed_at), count(*) from commits") == [(1_700_000_000, 6)]
    assert one.scalar("select id from refs where name = 'refs/heads/main'") == origin("rev-parse", "HEAD").strip()


def test_a_bundle_that_builds_on_others_is_none(origin: Origin, tmp_path: Path, sandbox: Sandbox) -> None:
    origin("bundle", "create", "-q", str(tmp_path / "more.bundle"), "main", "^main~2")
    with pytest.raises(BackupFailed, match="builds on 1 commits that are not there") as caught:
        restored(sandbox, tmp_path / "more.bundle")
    assert caught.value.stage is Stage.RESTORE


def test_nothing_of_a_mirror_is_run(origin: Origin, tmp_path: Path, confined: Sandbox) -> None:
    """Values that name programs, hooks and filters; each would leave a mark."""
    origin("clone", "-q", "--mirror", ".", str(tmp_path / "mirror.git"))
    mirror, mark = tmp_path / "mirror.git", confined.work / "mark"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    with (mirror / "config").open("a") as config:
        for section, name in (
            ("core", "fsmonitor"), ("core", "pager"), ("core", "sshCommand"), ("core", "alternateRefsCommand"),
            ("gpg", "program"), ("core", "editor"), ("credential", "helper"), ("uploadpack", "packObjectsHook"),
        ):  # fmt: skip
            config.write(f"[{section}]\n\t{name} = {program}\n")
        config.write(f"[core]\n\thooksPath = {tmp_path}\n[include]\n\tpath = {program}\n")
    for hook in ("post-index-change", "reference-transaction", "pre-auto-gc", "fsmonitor-watchman"):
        shutil.copy(program, mirror / "hooks" / hook)
    one = restored(confined, mirror)
    assert one.row_counts() == COUNTS
    assert one.integrity()["problems"] == []
    assert one.scalar("select count(*) from commits") == 5
    assert not mark.exists()
    assert "program" not in (one.path / "config").read_text()


def test_a_work_tree_and_the_only_repository_in_a_tree_are_found(origin: Origin, sandbox: Sandbox) -> None:
    parent = origin.path.parent / "backup"
    shutil.copytree(origin.path, parent / "srv" / "app")
    assert restored(sandbox, parent).row_counts() == COUNTS


def test_of_several_repositories_none_is_guessed(origin: Origin, sandbox: Sandbox) -> None:
    parent = origin.path.parent / "backup"
    for name in ("a", "b"):
        shutil.copytree(origin.path, parent / name)
    with pytest.raises(CouldNotVerify, match="holds 2 Git repositories"):
        restored(sandbox, parent)


@pytest.mark.parametrize("part", ["objects", "refs"])
def test_a_mirror_with_links_is_refused(part: str, origin: Origin, sandbox: Sandbox) -> None:
    """What a link leads to would be read as if it were the backup's."""
    (origin.path / ".git" / part / "more").symlink_to("/etc/passwd")
    with pytest.raises(BackupFailed, match=f"{part} hold something that git does not write"):
        restored(sandbox, origin.path)


def test_a_shallow_clone_is_told(origin: Origin, tmp_path: Path, sandbox: Sandbox) -> None:
    origin("clone", "-q", "--bare", "--depth", "2", f"file://{origin.path}", str(tmp_path / "shallow.git"))
    one = restored(sandbox, tmp_path / "shallow.git")
    assert [problem["rule"] for problem in one.integrity()["problems"]] == ["shallow"]


def test_options_that_mean_nothing_are_refused(tmp_path: Path, sandbox: Sandbox) -> None:
    (tmp_path / "a.bundle").touch()
    for settings in ({"branch": "x"}, {"repository": "../x"}, {"strict": "yes"}, {"ignore": ["a b"]}):
        with pytest.raises(UsageProblem, match="git engine"):
            restored(sandbox, tmp_path / "a.bundle", **settings)


def test_a_repository_is_named_and_its_other_forms_are_told_apart(origin: Origin, sandbox: Sandbox) -> None:
    parent = origin.path.parent / "backup"
    shutil.copytree(origin.path, parent / "a")
    (parent / "b").symlink_to("/srv")
    with pytest.raises(BackupFailed, match="lies behind a link"):
        restored(sandbox, parent, repository="b")
    with pytest.raises(BackupFailed, match="holds no Git repository"):
        restored(here(sandbox.work / "1"), parent, repository="c")
    (parent / "a/.git/HEAD").write_text("what?\n")
    with pytest.raises(BackupFailed, match="no valid HEAD"):
        restored(here(sandbox.work / "2"), parent, repository="a")
    with (parent / "a/.git/config").open("a") as config:
        config.write("[extensions]\n\trefStorage = reftable\n")
    with pytest.raises(CouldNotVerify, match="reftable"):
        restored(here(sandbox.work / "3"), parent, repository="a")


def test_what_git_warns_of_is_noted_unless_it_is_to_fail(origin: Origin, tmp_path: Path, sandbox: Sandbox) -> None:
    """A mode with a zero before it, as old tools wrote them."""
    tree = b"0100644 file\0" + bytes.fromhex(origin("rev-parse", "HEAD:file").strip())
    (tmp_path / "tree").write_bytes(tree)
    identity = origin("hash-object", "-w", "-t", "tree", "--literally", str(tmp_path / "tree")).strip()
    origin("update-ref", "refs/heads/main", origin("commit-tree", identity, "-m", "old").strip())
    one = restored(sandbox, origin.path)
    assert one.integrity()["problems"] == []
    assert one.integrity()["notes"] == ["git warns: zeroPaddedFilemode (1)"]
    strict = restored(here(sandbox.work / "strict"), origin.path, strict=True).integrity()["problems"]
    assert strict == [{"rule": "object", "message": "objects are malformed: zeroPaddedFilemode", "count": 1}]
    work = here(sandbox.work / "ignored")
    assert restored(work, origin.path, strict=True, ignore=["zeroPaddedFilemode"]).integrity()["problems"] == []


def test_a_chain_is_made_of_bundles(origin: Origin, sandbox: Sandbox) -> None:
    with pytest.raises(UsageProblem, match="a chain of Git backups"):
        restored(sandbox, origin.path, shutil.copytree(origin.path, origin.path.with_name("again")))


def test_references_that_git_refuses(origin: Origin, tmp_path: Path, sandbox: Sandbox) -> None:
    """The pack is whole, and the name of a branch is one that leads out of the repository."""
    path = tmp_path / "all.bundle"
    origin("bundle", "create", "-q", str(path), "main")
    path.write_bytes(path.read_bytes().replace(b"refs/heads/main\n", b"refs/../../main\n", 1))
    with pytest.raises(BackupFailed, match="refuses the references"):
        restored(sandbox, path)
    assert not (sandbox.work.parent / "main").exists()
