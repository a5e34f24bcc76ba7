"""Extended attributes and access lists come back where they can, and are noted where they cannot."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.calls import DirectCall
from tests.support.tar_builder import archive, member, pax
from tests.support.trees import IS_ROOT
from tests.support.unprivileged import as_nobody, open_directory

from restore_drill.archives import attributes
from restore_drill.archives.attributes import NOT_KEPT
from restore_drill.archives.copying import copy_generation
from restore_drill.archives.unpack import unpack_tree

Require = Callable[[str], str]
Unpack = Callable[..., dict[str, Any]]

#: cap_net_raw+ep, as ``setcap`` writes it.
_CAPABILITY = bytes.fromhex("0100000200200000000000000000000000000000")
ARCHIVERS = {
    "gnu": ["tar", "--format=posix", "--xattrs", "--xattrs-include=*", "--acls"],
    "bsd": ["bsdtar", "--format=pax", "--xattrs", "--acls"],
}


def decorated(root: Path) -> Path:
    """Files and directories with attributes of every kind that a user can give them."""
    (root / "d" / "e").mkdir(parents=True)
    for name in ("plain", "tagged", "listed", "d/both", "read-only"):
        (root / name).write_bytes(name.encode())
    os.setxattr(root / "tagged", "user.comment", b"new\nline\0and = more")
    os.setxattr(root / "tagged", "user.empty", b"")
    os.setxattr(root / "d" / "both", "user.\xfc\xf1 1", bytes(range(256)))
    os.setxattr(root / "d" / "e", "user.of.a.directory", b"1")
    os.setxattr(root / "read-only", "user.x", b"1")
    (root / "read-only").chmod(0o444)
    for options, name in (
        (["-m", "u:1000:rw,g:2000:r,m::rwx"], "listed"), (["-m", "u:1000:---"], "d/both"),
        (["-m", "u:1:x", "-d", "-m", "u:1000:rx,g::-"], "d"),
    ):  # fmt: skip
        subprocess.run(["setfacl", *options, root / name], check=True)
    return root


def attributes_of(root: Path) -> dict[str, Any]:
    """Mode and attributes of everything in a tree."""
    return {
        str(path.relative_to(root)): (
            path.lstat().st_mode,
            {name: os.getxattr(path, name) for name in os.listxattr(path) if name != "security.selinux"},
        )
        for path in sorted([root, *root.rglob("*")])
    }


@pytest.fixture
def source(tmp_path: Path, require_program: Require) -> Path:
    require_program("setfacl")
    return decorated(tmp_path / "source")


@pytest.mark.parametrize("archiver", ARCHIVERS)
def test_out_of_an_archive(
    tmp_path: Path, source: Path, unpack: Unpack, require_program: Require, archiver: str
) -> None:
    program, *options = ARCHIVERS[archiver]
    require_program(program)
    data = subprocess.run([program, *options, "-cf", "-", "-C", source, "."], check=True, capture_output=True).stdout
    facts = unpack(data)
    assert facts["notes"] == [] and facts["attributes"] == 6
    assert attributes_of(tmp_path / "work" / "root") == attributes_of(source)


def test_names_that_gnu_tar_has_to_encode(tmp_path: Path, unpack: Unpack, require_program: Require) -> None:
    (tmp_path / "source").mkdir()
    path = tmp_path / "source" / "file"
    path.write_bytes(b"1")
    for name in ("user.a=b", "user.100%", "user.%3D", "user.%253D"):
        os.setxattr(path, name, name.encode())
    argv = [require_program("tar"), *ARCHIVERS["gnu"][1:], "-cf", "-", "-C", tmp_path / "source", "."]
    unpack(subprocess.run(argv, check=True, capture_output=True).stdout)
    assert attributes_of(tmp_path / "work" / "root")["file"] == attributes_of(tmp_path / "source")["file"]


@pytest.mark.parametrize("threads", [1, 2])
def test_out_of_a_generation(tmp_path: Path, source: Path, threads: int) -> None:
    (tmp_path / "work").mkdir()
    call = DirectCall(tmp_path / "work")
    facts = copy_generation(call, source=str(source), root="root", limits={}, threads=threads)
    assert facts["notes"] == [] and facts["attributes"] == 6
    assert attributes_of(tmp_path / "work" / "root") == attributes_of(source)
    plain = tmp_path / "plain"
    (plain / "d").mkdir(parents=True)
    (plain / "d" / "a").write_bytes(b"1")
    facts = copy_generation(call, source=str(plain), root="other", limits={}, threads=threads)
    assert facts["notes"] == [] and facts["attributes"] == 0


def test_somebody_without_privileges_gets_what_is_a_users(source: Path, require_program: Require) -> None:
    data = subprocess.run([*ARCHIVERS["gnu"], "-cf", "-", "-C", source, "."], check=True, capture_output=True).stdout
    expected = attributes_of(source)

    def as_user() -> None:
        call = DirectCall(work, [data])
        facts = unpack_tree(call, archive="tar", root="root", limits={})
        assert facts["notes"] == [] and facts["attributes"] == 6, facts
        found = attributes_of(work / "root")
        assert {name: each[1] for name, each in found.items()} == {name: each[1] for name, each in expected.items()}

    with open_directory() as work:
        as_nobody(as_user)


def test_what_is_not_restored_is_noted(tmp_path: Path, unpack: Unpack) -> None:
    """Once a member, whatever it carries; the files come back all the same."""
    members = {
        b"label": {b"RHT.security.selinux": b"system_u:object_r:etc_t:s0"},
        b"nfs": {b"SCHILY.acl.ace": b"owner@:rwx::allow"},
        b"strange": {b"SCHILY.xattr.other.space": b"1", b"SCHILY.xattr.": b"2", b"SCHILY.xattr.user.": b"3"},
        b"nul": {b"SCHILY.xattr.user.a\0b": b"1"},
        b"contradicts": {b"SCHILY.acl.access": b"user::rw-"},
        b"unknown": {b"SCHILY.acl.access": b"user::rw-,user:nobody-of-this-name:r--,group::r--,mask::r--,other::---"},
        b"no base64": {b"LIBARCHIVE.xattr.user.x": b"!"},
        b"too large": {b"SCHILY.xattr.user.x": b"x" * 70_000},
        b"too many": {b"SCHILY.xattr.user.%d" % number: b"1" for number in range(5000)},
        b"far too large": {b"SCHILY.xattr.user.x": b"x" * 700_000},
        b"kept": {b"SCHILY.xattr.user.x": b"1"},
        b"half": {b"SCHILY.xattr.user.x": b"1", b"SCHILY.xattr.other.y": b"1"},
    }
    data = b"".join(pax(said) + member(name, b"1") for name, said in members.items())
    facts = unpack(archive(data + member(b"none", b"1")))
    labels = "members whose labels of a security module were not restored: 1"
    assert facts["notes"] == sorted([f"{NOT_KEPT}: 10", labels])
    assert facts["attributes"] == 3 and facts["files"] == 13
    assert os.getxattr(tmp_path / "work" / "root" / "half", "user.x") == b"1"


def test_file_capabilities_come_back_where_set_id_bits_may(tmp_path: Path, unpack: Unpack) -> None:
    data = archive(pax({b"SCHILY.xattr.security.capability": _CAPABILITY}) + member(b"ping", b"1", mode=0o755, uid=7))
    facts = unpack(data)
    assert facts["notes"] == [
        "members whose file capabilities were not restored; limits.allow: [setuid] restores them: 1"
    ]
    assert os.listxattr(tmp_path / "work" / "root" / "ping") == []
    facts = unpack(data, "allowed", allow=["setuid"])
    if not IS_ROOT:  # nobody else may give them, and what was not given is counted
        assert facts["notes"] == [f"{NOT_KEPT}: 1"] and facts["attributes"] == 0
        return
    assert facts["notes"] == [] and facts["attributes"] == 1
    assert os.getxattr(tmp_path / "work" / "allowed" / "ping", "security.capability") == _CAPABILITY


def test_a_link_has_none_and_a_tree_that_is_not_written_needs_none(unpack: Unpack) -> None:
    said = pax({b"SCHILY.xattr.user.x": b"1"})
    data = archive(said + member(b"a", b"1") + said + member(b"l", b"", b"2", target=b"a"))
    assert unpack(data)["notes"] == [f"{NOT_KEPT}: 1"]
    facts = unpack(data, discard=True)
    assert facts["notes"] == [] and facts["attributes"] == 0
    # They have no part in the digest.
    assert facts["digest"] == unpack(archive(member(b"a", b"1") + member(b"l", b"", b"2", target=b"a")), "b")["digest"]


@pytest.mark.parametrize(
    "text",
    [
        b"user::rwx,user:1000:r-x,group::r--,group:2000:-wx,mask::rwx,other::--x",
        b"user::rwx\nuser:1000:r-x\t#effective:r-x\ngroup::r--\ngroup:2000:-wx\nmask::rwx\nother::--x\n\n# comment",
        b"group:someone:-wx:2000,other:--x,mask:rwx,user::rwx,group::r--,user:someone-else:r-x:1000",
    ],
    ids=["commas", "lines", "star's numbers"],
)
def test_an_access_list_is_what_the_kernel_keeps(tmp_path: Path, require_program: Require, text: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    entries = "u::rwx,u:1000:r-x,g::r--,g:2000:-wx,m::rwx,o::--x"
    subprocess.run([require_program("setfacl"), "--set", entries, path], check=True)
    assert attributes.binary_acl(text) == os.getxattr(path, "system.posix_acl_access")


def test_names_of_an_access_list_are_those_of_this_machine() -> None:
    assert attributes.binary_acl(b"user:root:r--") == attributes.binary_acl(b"user:0:r--")
    assert attributes.binary_acl(b"group:root:r--") == attributes.binary_acl(b"group:0:r--") != None  # noqa: E711


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", b"user", b"user::", b"user::rwxx", b"user::abc", b"nobody::rwx", b"mask:1:rwx", b"user:4294967295:r--",
     b"user:1:2:3:4", b"other::rw-,user:who-is-this:rwx", b"\xff::rwx", b"user::r--," * 5000],
)  # fmt: skip
def test_an_access_list_that_cannot_be_read(text: bytes) -> None:
    assert attributes.binary_acl(text) is None


@given(st.dictionaries(st.binary(max_size=20), st.none() | st.binary(max_size=40), max_size=5))
def test_packed_attributes_are_one_word(given: dict[bytes, bytes | None]) -> None:
    word = attributes.pack(given)
    assert attributes.unpack(word) == given
    assert not set(word) & set(b"\t\n \\")
