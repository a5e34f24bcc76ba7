"""Directories that the real slapadd loads and slapcat reads back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.here import here

from restore_drill.engines.base import Restored, RestoreOptions
from restore_drill.engines.ldif import LdifEngine
from restore_drill.engines.ldif_samples import directory
from restore_drill.errors import BackupFailed, CouldNotVerify, UsageProblem
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.process import run
from restore_drill.sandboxes.base import Sandbox


@pytest.fixture
def slapcat(require_program: Callable[[str], str]) -> str:
    require_program("slapadd")
    return require_program("slapcat")


@pytest.fixture
def sandbox(tmp_path: Path, slapcat: str) -> Sandbox:
    return here(tmp_path / "work")


def restored(sandbox: Sandbox, data: bytes, **settings: Any) -> Restored:
    path = sandbox.work / "payload-0"
    path.write_bytes(data)
    payload = Payload(PayloadForm.FILE, path, "ldif", len(data))
    return LdifEngine().restore([payload], sandbox, RestoreOptions(deadline=60, settings=settings))


def test_what_slapcat_exports_is_counted_again(sandbox: Sandbox, slapcat: str) -> None:
    one = restored(sandbox, directory())
    counts = one.row_counts()
    configuration = str(sandbox.work / "slapd.conf")
    exported = run([slapcat, "-f", configuration], deadline=30).stdout
    assert exported.count(b"\ndn:") + exported.startswith(b"dn:") == counts["entries"] == 16
    assert one.facts["openldap"].startswith("2.")
    assert one.structure()["suffix"] == ["dc=example,dc=org"]
    assert one.query("select count(*), max(modified_at) from entries") == [(16, "2023-11-14T21:13:20Z")]
    assert one.scalar("select value from attributes where name = 'sn' order by entry limit 1") == "Müller 0"
    assert one.scalar("select value from attributes where name = 'description' limit 1").endswith("because it is long")
    for name in ("slapd.conf", "payload-0"):
        (sandbox.work / name).unlink()
    (one.path / "data.mdb").unlink()
    (one.path / "lock.mdb").unlink()
    one.path.rmdir()
    assert restored(sandbox, exported).row_counts() == counts


#: A person without the surname that inetOrgPerson requires.
UNNAMED = b"dn: dc=x\nobjectClass: domain\ndc: x\n\ndn: cn=a,dc=x\nobjectClass: inetOrgPerson\ncn: a\n\n"


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (UNNAMED, "lacks an attribute that its object class requires"),
        (UNNAMED.replace(b"cn: a\n", b"cn: a\nsn: b\nou:: /w==\n"), "an entry is malformed"),
        (UNNAMED.replace(b"cn: a\n", b"cn: a\nsn: b\nc: de\n"), "do not allow"),
        (UNNAMED.replace(b"cn=a,dc=x", b"cn=a,dc=y"), "outside of the suffix"),
        (UNNAMED.replace(b"cn: a\n", b"cn a\n"), "a line has no attribute and value"),
        (UNNAMED.replace(b"dn: cn=a", b"cn: cn=a"), "does not begin with its name"),
        (UNNAMED[:-2], "its last line has no end"),
        (UNNAMED.replace(b"dn: dc=x\n", b"dn: dc=x\nchangetype: add\n"), "change records"),
        (b"version: 1\n\n# nobody\n", "nothing came back"),
        (b"dn:\nobjectClass: top\n\n", "no valid name"),
        (b"dn: dc=x\ncn:: =\n\n", "no valid base64"),
        (b" folded\n", "continues nothing"),
    ],
)
def test_every_kind_of_damage_has_its_own_words(data: bytes, cause: str, sandbox: Sandbox) -> None:
    with pytest.raises(BackupFailed, match=cause) as caught:
        restored(sandbox, data)
    assert caught.value.stage is Stage.RESTORE
    assert caught.value.remedy


def test_a_schema_that_is_not_there_says_nothing_of_the_backup(sandbox: Sandbox) -> None:
    """Until it is named; then what is wrong with it counts."""
    data = UNNAMED.replace(b"inetOrgPerson", b"spaceship")
    with pytest.raises(CouldNotVerify, match="an object class is in no schema that is loaded"):
        restored(sandbox, data)


def test_more_schemas_can_be_named_and_schemas_left_out(sandbox: Sandbox, tmp_path: Path) -> None:
    schema = tmp_path / "ships.schema"
    schema.write_text("objectclass ( 1.3.6.1.4.1.4203.666.1 NAME 'spaceship' SUP top STRUCTURAL MUST cn )\n")
    one = restored(sandbox, UNNAMED.replace(b"inetOrgPerson", b"spaceship"), schemas=[str(schema)])
    assert one.row_counts() == {"entries": 2, "domain": 1, "spaceship": 1}


def test_a_suffix_cannot_write_the_configuration(sandbox: Sandbox) -> None:
    """It is the first entry's name, which the backup chooses."""
    name = b'o=a\\"\\20b'
    one = restored(sandbox, b"dn: " + name + b'\nobjectClass: organization\no: a" b\n\n')
    assert one.row_counts()["entries"] == 1


@pytest.mark.parametrize("name", [b"cn=config", b"CN = Schema, cn=config"])
def test_the_configuration_of_a_server_is_never_loaded(name: bytes, sandbox: Sandbox) -> None:
    """It could name modules to be loaded."""
    data = b"dn: " + name + b"\nobjectClass: olcGlobal\ncn: config\nolcModuleLoad: /tmp/x.so\n\n"
    with pytest.raises(CouldNotVerify, match="configuration of a server"):
        restored(sandbox, data)


def test_options_that_mean_nothing_are_refused(sandbox: Sandbox) -> None:
    for settings in ({"base": "x"}, {"schemas": ["relative.schema"]}, {"modules": ["../x"]}, {"suffix": "a\nb"}):
        with pytest.raises(UsageProblem, match="ldif engine"):
            restored(sandbox, UNNAMED, **settings)
