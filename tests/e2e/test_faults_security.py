"""Hostile backups: members that climb, links that lead outside, bombs, dumps that reach out, schemas that never end.

Nothing of what they try may happen: beside the verdict, every test looks at what lies around the sandbox.
"""

from __future__ import annotations

import io
import os
import re
import stat
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.support.contents import altered, dump, files, gz, shop, sql, tar, xz
from tests.support.estate import Project
from tests.support.matrix import AGES, FaultMatrix, Make, Matrix, Row, Site, stored
from tests.support.tar_builder import GNU, archive, header, long_name, member, octal, pax

_TIME = "{time:%Y%m%d_%H%M%S}"
_ANY_SIZE = {"predecessors": 60}
#: What a hostile backup tries to write; nothing of that name may be anywhere.
_LOOT = "owned-by-a-backup"


def a_volume(site: Site) -> None:
    site.copy(f"{_TIME}.tar")
    site.options |= {"engine": "files", "size": _ANY_SIZE}
    for age in AGES:
        site.put(age, tar(files(), site.now - age))


def a_small_volume(site: Site) -> None:
    """With the limits that an honest archive of this kind never comes near."""
    site.copy(f"{_TIME}.tar.gz")
    limits = {"bytes": "1 MiB", "members": 100}
    site.options |= {"engine": "files", "size": _ANY_SIZE, "limits": limits}
    for age in AGES:
        site.put(age, gz(tar(files(), site.now - age)))


def a_dump(site: Site) -> None:
    site.copy(f"{_TIME}.sql.xz")
    site.options["size"] = _ANY_SIZE
    for age in AGES:
        site.put(age, xz(dump(shop(site.now - age))))


def a_database(site: Site) -> None:
    site.copy(f"{_TIME}.db")
    site.options |= {"deadlines": {"check": "5s", "restore": "30s"}}
    for age in AGES:
        site.put(age, shop(site.now - age))


def under_any_directory(site: Site) -> None:
    """A directory of the key is whatever somebody called it."""
    site.copy(f"{{any}}/{_TIME}.db", "cloud")
    for age in AGES:
        site.put(age, shop(site.now - age), "cloud", key=f"{site.name}/shop/{site.now - age:%Y%m%d_%H%M%S}.db")


def holds(*parts: bytes) -> Make:
    """The archive holds an honest file and these members."""
    return stored(lambda _: archive(member(b"etc/app.toml", b"[app]\n"), *parts))


def small(data: bytes) -> Make:
    return stored(lambda _: data)


def added(statement: str) -> Make:
    """The dump has one more statement."""

    def harm(site: Site) -> None:
        text = dump(shop(site.when(site.newest()))).decode().replace("COMMIT;", f"COMMIT;\n{statement}\n")
        site.rewrite(xz(text.encode()))
        site.sign()

    return harm


def nested(layers: int) -> bytes:
    data = tar(files(), _THEN)
    for _ in range(layers):
        data = gz(data)
    return data


def sparse(size: int) -> bytes:
    """GNU's old form of a file with holes: 512 bytes of data that claim to be this long."""
    map_of_holes = octal(0, 12) + octal(512, 12) + bytes(72) + b"\0" + octal(size, 12)
    return archive(header(b"holes", b"S", 512, magic=GNU, tail=bytes(41) + map_of_holes) + bytes(512))


def long_links() -> tuple[bytes, ...]:
    """CVE-2025-4517: a chain of links so long that ``realpath`` gives up, and then a way out."""
    directory, parts, path = b"d" * 247, [], b""
    for letter in b"abcdefghijklmnop":
        here = path + directory
        parts += [long_name(here), member(b"d", b"", b"5"), long_name(path + bytes([letter]))]
        parts.append(header(b"l", b"2", 0, target=b"d", magic=GNU))
        path = here + b"/"
    climb = b"../" * 16
    parts += [long_name(path + climb, b"K"), header(b"escape", b"2", 0, target=b"x", magic=GNU)]
    return (*parts, member(f"escape/{_LOOT}".encode(), b"!"))


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr(f"../{_LOOT}", "!")
    return buffer.getvalue()


def key_that_climbs(site: Site) -> None:
    """A key of the bucket holds ``..`` where a name is expected."""
    age = timedelta(minutes=10)
    site.put(age, shop(site.now - age), "cloud", key=f"{site.name}/../{site.now - age:%Y%m%d_%H%M%S}.db")


#: An expression that takes a moment, evaluated by CHECK for each of 6000 rows.
_ENDLESS = "length(hex(zeroblob(5000000 + cents))) > cents"
_THEN = datetime(2026, 1, 1, tzinfo=UTC)


def never_ending(site: Site) -> None:
    def change(data: bytes) -> bytes:
        bomb = sql(
            "pragma ignore_check_constraints=1",
            f"create table bomb (cents integer check ({_ENDLESS}))",
            "insert into bomb select id * 10 + customer from orders, (select 1 from orders limit 20)",
        )
        return altered(data, bomb)

    stored(change)(site)


def trusting(site: Site) -> None:
    """A view that would call what is not harmless, were it asked: nobody asks it."""
    stored(lambda data: altered(data, sql(f"create view loot as select load_extension('/tmp/{_LOOT}')")))(site)


ROWS = [
    Row(
        83, "member with ..", a_volume, holds(member(f"../{_LOOT}".encode(), b"!")), "nas/unpacks", "climbs out with",
        ".", blocked=("nas/restores", "nas/files"),
    ),
    Row(
        83, "member with .. in the middle", a_volume, holds(member(f"etc/../../{_LOOT}".encode(), b"!")), "nas/unpacks",
        "climbs out with", ".",
    ),
    Row(
        83, "absolute member", a_volume, holds(member(f"/tmp/{_LOOT}".encode(), b"!")), "nas/unpacks",
        "name is absolute", ".",
    ),
    Row(
        83, ".. in an extended header", a_volume, holds(pax({b"path": f"../{_LOOT}".encode()}), member(b"x", b"!")),
        "nas/unpacks", "climbs out with", ".",
    ),
    Row(
        84, "symlink write-through", a_volume,
        holds(header(b"out", b"2", target=b"/tmp"), member(f"out/{_LOOT}".encode(), b"!")), "nas/unpacks",
        "symbolic link has an absolute target", ".",
    ),
    Row(
        84, "relative symlink outside", a_volume,
        holds(header(b"out", b"2", target=b"../../.."), member(f"out/{_LOOT}".encode(), b"!")), "nas/unpacks",
        "leads outside", ".",
    ),
    Row(
        84, "hardlink escape", a_volume, holds(header(b"passwd", b"1", target=b"../../../etc/passwd")), "nas/unpacks",
        "climbs out with", ".",
    ),
    Row(
        84, "absolute hardlink", a_volume, holds(header(b"passwd", b"1", target=b"/etc/passwd")), "nas/unpacks",
        "name is absolute", ".",
    ),
    Row(
        85, "device", a_volume, holds(header(b"disk", b"4", device=(8, 0))), "nas/unpacks", "a device or a FIFO",
        "special-files|limits",
    ),
    Row(
        85, "FIFO", a_volume, holds(header(b"pipe", b"6")), "nas/unpacks", "a device or a FIFO", "special-files|limits",
    ),
    Row(
        85, "setuid", a_volume, holds(member(b"sh", b"!", mode=0o4755)), "nas/unpacks", "set-user-id",
        "setuid|limits",
    ),
    Row(86, "zip with ..", a_volume, small(zipped()), "nas/unpacks", "climbs out with", "by hand"),
    Row(
        87, "backslash traversal", a_volume, holds(member(f"..\\..\\{_LOOT}".encode(), b"!")), "nas/unpacks",
        "climbs out with", ".",
    ),
    Row(
        88, "data filter bypass CVE-2025-4517", a_volume, holds(*long_links()), "nas/unpacks",
        "written through a symbolic link", ".",
    ),
    Row(
        89, "bomb: more than limits.bytes", a_small_volume, small(gz(tar({"zeroes": bytes(4 << 20)}, _THEN))),
        "nas/unpacks", "more than the .* that limits.bytes allows", "limits.bytes",
    ),
    Row(
        89, "bomb: more members than limits.members", a_small_volume,
        small(gz(tar({f"f{n}": b"" for n in range(300)}, _THEN))), "nas/unpacks", "more than 100 members",
        "limits.members",
    ),
    Row(
        89, "bomb: 60 GB sparse tar", a_volume, small(sparse(60 << 30)), "nas/unpacks",
        "files with holes of more than 1000 times their data", ".",
    ),
    Row(89, "bomb: nested gzip", a_small_volume, small(nested(9)), "nas/unpacks", "more than 6 layers", "."),
    Row(89, "two layers of gzip", a_small_volume, small(nested(2))),
    Row(
        93, ".shell in a dump", a_dump, added(f".shell touch /tmp/{_LOOT}"), "nas/restores",
        "the shell command .shell, which reaches outside", "Look at the dump",
    ),
    Row(
        93, ".system in a dump", a_dump, added(f".system touch /tmp/{_LOOT}"), "nas/restores",
        "the shell command .system, which reaches outside", "Look at the dump",
    ),
    Row(93, ".mode in a dump", a_dump, added(".mode insert")),
    Row(
        96, "hostile schema that never ends", a_database, never_ending, "nas/integrity", "did not end in time",
        ".", verdict="error",
    ),
    Row(96, "hostile schema that calls out", a_database, trusting),
    Row(101, "object key as a path", under_any_directory, key_that_climbs),
    Row(
        104, "ATTACH in a dump", a_dump, added(f"ATTACH '/tmp/{_LOOT}.db' AS loot; CREATE TABLE loot.t (x);"),
        "nas/restores", "ATTACH or VACUUM INTO, which reaches outside", "Look at the dump",
    ),
    Row(
        104, "VACUUM INTO in a dump", a_dump, added(f"VACUUM INTO '/tmp/{_LOOT}.db';"), "nas/restores",
        "VACUUM INTO, which reaches outside", "Look at the dump",
    ),
    Row(
        104, "readfile and writefile in a dump", a_dump,
        added(f"INSERT INTO settings VALUES ('x', writefile('/tmp/{_LOOT}', 'x'));"), "nas/restores",
        "no such function: writefile", ".", verdict="error",
    ),
]  # fmt: skip
IN_CLOUD = True


class TestFaults(FaultMatrix):
    """The rows of this module."""


def test_nothing_was_written_where_it_should_not_be(matrix: Matrix) -> None:
    around = [*Path("/tmp").glob(f"*{_LOOT}*"), *matrix.project.root.parent.rglob(f"*{_LOOT}*")]
    assert around == []
    assert matrix.project.root.is_dir()


def test_a_key_that_climbs_decides_nothing_about_local_names(matrix: Matrix) -> None:
    """Row 101: it was drilled, as the newest snapshot, from a file of our own naming."""
    row = next(row for row in ROWS if row.number == 101)
    facts = matrix.run(row).facts(f"{row.target}/cloud", "fetch")
    assert f"{row.target}/../" in facts["artifacts"][0]["key"]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    a_volume(Site(project, "volume", "critical"))
    return project


def test_a_planted_link_in_the_work_directory_is_not_followed(project: Project, tmp_path: Path) -> None:
    """Row 102."""
    victim = tmp_path / "victim"
    victim.mkdir()
    planted = project.root / "work" / f"restore-drill-{os.geteuid()}"
    planted.symlink_to(victim)
    run = project.drill()
    assert run.status == 75
    assert "it is not a directory of this user" in run.screen
    assert list(victim.iterdir()) == []
    planted.unlink()
    run = project.drill()
    assert run.status == 0, run.screen
    assert stat.S_IMODE(planted.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x: !!python/object/apply:os.system ['touch owned-by-a-backup']\n", "tag|unknown"),
        ("a: &a [&b {c: *a}]\n", "alias|cycle|itself|refers|unknown"),
        ("a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 9)}]\n" for n in range(8)
        ), "alias|too many|nodes|limit"),
        ("version: 1\nversion: 1\n", "twice|again|duplicate"),
    ],
    ids=["97: YAML tags", "97: cycles", "97: alias bombs", "97: duplicate keys"],
)  # fmt: skip
def test_a_hostile_catalogue_is_refused(project: Project, text: str, says: str) -> None:
    project.write()
    path = project.root / "drills" / "targets.yaml"
    path.write_text(path.read_text() + text)
    run = project.command_status("validate")
    assert run.returncode not in (0, 75)
    assert re.search(says, run.stderr), run.stderr
    assert "Traceback" not in run.stderr
    assert not list(project.root.rglob(_LOOT))


@pytest.mark.parametrize(
    "store",
    [
        {"url": "s3://backups/x", "endpoint": "http://169.254.169.254"},
        {"url": "s3://backups/x", "endpoint": "http://[fd00:ec2::254]/"},
        {"url": "s3://backups/x", "endpoint": "http://metadata.google.internal"},
        {"url": "ftp://127.0.0.1/backups"},
        {"url": "http://169.254.169.254/latest"},
        {"url": "s3://user:password@backups/x"},
    ],
    ids=[
        "100: metadata",
        "100: metadata over IPv6",
        "100: metadata by name",
        "100: unknown scheme",
        "100: metadata of a web server",
        "100: credentials",
    ],
)
def test_a_store_that_reaches_inside_is_refused(project: Project, store: dict[str, str]) -> None:
    project.write()
    assert project.command_status("validate").returncode == 0
    project.catalogue["stores"]["inside"] = {"media": "disk", **store}
    project.write()
    run = project.command_status("validate")
    assert run.returncode not in (0, 75)
    assert "targets.yaml:" in run.stderr
    assert "password" not in run.stderr.replace("user:password@", "")
