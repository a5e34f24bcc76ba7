from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from restore_drill.catalogue.load import load
from restore_drill.catalogue.problems import CatalogueInvalid, Problem
from restore_drill.plan import Plan

NAS = '      nas: {path: "db/{time:%Y%m%d_%H%M%S}.db.gz"}'
OFFSITE = '      offsite: {path: "db/{time:%Y%m%dT%H%M%S%z}.db.gz"}'
ROWS = "rows: {customers: 59, orders: {min: 1000, max_drop: 5%}}"
EXCEPTION = "{id: EX-1, target: orders-db, case: rto, reason: slow hardware, approver: ciso, expires: 2030-01-01}"


def changed(good: str, before: str, after: str) -> str:
    assert before in good
    return good.replace(before, after, 1)


def message(text: str) -> str:
    return text.splitlines()[0].partition(": ")[2]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        # times; ¦ marks the place that the problem must have
        (
            "{timezone: Europe/Berlin, grace: 20m}\nstate: s3://acme-drills/state\n"
            "targets:\n  orders-db:\n    tier: critical\n"
            "    engine: toy\n    copies:\n      nas: {path: ",
            "{grace: 20m}\n"
            "targets:\n  orders-db:\n    tier: critical\n    engine: toy\n    copies:\n      nas: {path: ¦",
            "the time in the name has no offset, and no timezone says what it means",
        ),
        (NAS, NAS.replace("%Y%m%d_%H%M%S", "%m%d").replace('"', '¦"', 1), "the time in the name has no year"),
        (
            NAS,
            NAS.replace("{time:%Y%m%d_%H%M%S}", "latest").replace('"', '¦"', 1),
            "nothing says when a snapshot was taken",
        ),
        # layouts
        (NAS, NAS.replace('gz"', 'gz", ¦shared_folder: true'), "no folder in the path has a time in its name"),
        ("latest: wiki/latest", "¦time_metadata: taken-at", "a directory has no metadata that could hold a time"),
        (
            'nas: {path: "wiki/{time:%Y-%m-%d%z}/", latest: wiki/latest}\n    expect:\n      files: {min: 100}',
            'offsite: {path: ¦"wiki/{time:%Y-%m-%d%z}/"}\n    expect:\n      newest_file: {within: 1d}',
            "newest_file asks for the files' own times, which a prefix of objects does not have",
        ),
        (NAS, NAS.replace('gz"', 'gz.{part}", ¦parts: ["{name}-wal"]'), "a snapshot that was split has no further"),
        (NAS, NAS.replace('gz"', 'gz.{part}", ¦time_metadata: taken-at'), "each part has metadata of its own"),
        (
            NAS,
            NAS.replace('"db/{time:%Y%m%d_%H%M%S}', '¦"db/orders{rotation:.}'),
            "nothing but the store's listing says when a rotation was taken",
        ),
        (
            NAS,
            NAS.replace('"db/', '¦"db/{rotation}.').replace('gz"', 'gz", time_metadata: taken-at'),
            "rotations are full backups that only their numbers tell apart",
        ),
        ("latest: wiki/latest", "¦parts: ['{name}-wal']", "parts are of a snapshot that is one object"),
        (
            NAS,
            NAS.replace(".db.gz", "_{kind:full=F|incremental=I}.gz").replace('"', '¦"', 1),
            "the engine 'toy' restores full backups only",
        ),
        (
            'offsite: {path: "db/{time:%Y%m%dT%H%M%S%z}.db.gz"}',
            '¦two: {store: nas, path: "db/{time:%Y%m%d_%H%M%S}.db.gz"}',
            "the copies 'nas' and 'two' are the same backups",
        ),
        (
            "    expect:\n      files: {min: 100}\n",
            "    expect:\n      files: {min: 100}\n"
            "  orders-new:\n    tier: critical\n    engine: toy\n    copies:\n"
            '      again: {store: nas, path: ¦"db/{time:%Y%m%d_%H%M%S}.db.gz"}\n',
            "the copy 'again' of orders-new is the same backups as the copy 'nas' of orders-db",
        ),
        # digests
        (
            NAS,
            NAS.replace('gz"', f'gz", checksum: {{¦sha256: {"ab" * 32}}}'),
            "one digest cannot be right for snapshot after snapshot",
        ),
        (
            NAS,
            NAS.replace('gz"', 'gz", checksum: {sidecar: ¦SUMS}'),
            "the sidecar has the same name for every snapshot",
        ),
        (
            NAS,
            NAS.replace('gz"', 'gz", checksum: {manifest: ¦"{name}.sums"}'),
            "a manifest has one name, without fields",
        ),
        (
            "latest: wiki/latest",
            "checksum: {¦sidecar: '{name}.sha256'}",
            "sidecar is of one object, and a snapshot is a directory here",
        ),
        (
            "latest: wiki/latest",
            "checksum: {¦provider: any}",
            "provider is of one object, and a snapshot is a directory here",
        ),
        (
            "latest: wiki/latest",
            "checksum: {¦algorithm: blake3}",
            "algorithm is of one object, and a snapshot is a directory here",
        ),
        (
            '"db/{time:%Y%m%dT%H%M%S%z}.db.gz"',
            '"db/{time:%Y%m%dT%H%M%S%z}/", '
            'checksum: {sidecar: "{name}.sha256", ¦signature: {kind: gpg, keys: ["file:x"]}}',
            "of many objects with a digest each nothing is signed as a whole",
        ),
        # targets
        (
            "tier: critical",
            "tier: critical\n    frozen: true\n    ¦rpo: 1h",
            "the age of a frozen target is not judged",
        ),
        ("wiki:", "¦Orders-DB:", "the target 'Orders-DB' differs from 'orders-db' only by case"),
        ("offsite: {path", "¦NAS: {store: offsite, path", "the copy 'NAS' differs from 'nas' only by case"),
        # names
        ("critical", "¦criticl", "there is no tier 'criticl'"),
        ("engine: toy", "engine: ¦tou", "there is no engine 'tou'"),
        ("engine: toy", "engine: ¦elsewhere", "engines 'elsewhere' needs a_library_nobody_has, which is not installed"),
        ("engine: toy", "engine: toy\n    sandbox: ¦dir", "there is no sandbox 'dir'"),
        ("engine: toy", "engine: toy\n    decrypt: {¦agee: {identity: env:X}}", "there is no format 'agee' to decrypt"),
        (
            "engine: toy",
            "engine: toy\n    decrypt: {age: {¦identiy: env:X}}",
            "age has no key called 'identiy'",
        ),
        (NAS, NAS.replace('gz"', 'gz", decrypt: {gzip: {¦key: env:X}}'), "gzip has no key called 'key'"),
        (NAS, NAS.replace('gz"', 'gz", codecs: [gzip, ¦gpg2]'), "there is no codec 'gpg2'"),
        (NAS, NAS.replace('gz"', 'gz", store: ¦naz'), "there is no store 'naz'"),
        ('nas: {path: "db', '¦nass: {path: "db', "there is no store 'nass' (a copy uses the store of its own name)"),
        (
            "version: 1",
            "version: 1\ntiers: {¦skip: {rpo: 1h, rto: 1h, drill_every: 1d}}",
            "'skip' cannot be a tier: pytest has a use for the word",
        ),
        # engines
        ("files: {min: 100}", "¦rows: {a: 1}", "the engine 'tree' cannot be asked for rows"),
        ("files: {min: 100}", "¦structure: baseline", "the engine 'tree' cannot be asked for structure"),
        (
            "files: {min: 100}",
            "¦newest_record: {sql: x, within: 1h}",
            "the engine 'tree' cannot be asked for newest_record",
        ),
        (ROWS, "¦files: {min: 1}", "the engine 'toy' cannot be asked for files"),
        (ROWS, "¦newest_file: {within: 1h}", "the engine 'toy' cannot be asked for newest_file"),
        (
            "orders-db:\n    tier: critical\n    engine: toy",
            "orders-db:\n    tier: critical\n    engine: chained\n    sandbox: ¦directory",
            "the engine 'chained' does not run in a directory sandbox",
        ),
        # words
        ("media: object-storage", "media: ¦Disk", "the media 'Disk' is written 'disk' elsewhere"),
        (
            "tier: important",
            "tier: important\n    live: {media: ¦DISK}",
            "the media 'DISK' is written 'disk' elsewhere",
        ),
        # places
        (
            "state: s3://acme-drills/state",
            "state: ¦s3://acme-backups/prod/state",
            "the state would lie inside the store 'offsite'",
        ),
        (
            "state: s3://acme-drills/state",
            "state: {url: ¦s3://acme-backups}",
            "the store 'offsite' lies inside the state",
        ),
        (
            "state: s3://acme-drills/state",
            "state: ¦file:/backups/x/../state",
            "the state would lie inside the store 'nas'",
        ),
    ],
)
def test_contradictions(good: str, only_problem: Callable[..., str], before: str, after: str, said: str) -> None:
    marked = changed(good, before, after)
    above, _, _ = marked.partition("¦")
    found = only_problem(marked.replace("¦", ""))
    line, column = above.count("\n") + 1, len(above) - above.rfind("\n")
    assert found.startswith(f"targets.yaml:{line}:{column}: {said}")
    assert "\n  hint: " in found


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NAS, NAS.replace('gz"', 'gz", timezone: Asia/Tokyo')),
        ("tier: critical", "tier: critical\n    timezone: Asia/Tokyo"),
        ("timezone: Europe/Berlin", "timezone: Asia/Tokyo"),
    ],
)
def test_a_time_zone_may_stand_in_three_places(good: str, plan: Callable[..., Plan], before: str, after: str) -> None:
    assert str(plan(changed(good, before, after)).by_name["orders-db"].copies[0].pattern.zone) == "Asia/Tokyo"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (NAS, NAS.replace("{time:%Y%m%d_%H%M%S}", "{time:%s}")),
        (NAS, NAS.replace("{time:%Y%m%d_%H%M%S}", "latest").replace('gz"', 'gz", time_metadata: taken-at')),
        ("tier: critical", "tier: critical\n    frozen: true"),
        ("tier: critical", "tier: critical\n    frozen: true\n    checksum: {sidecar: SUMS.txt}"),
        ("grace: 20m", "grace: 20m, rpo: 3h, frozen: true"),
        ("tier: critical", "tier: critical\n    sensitive: true\n    decrypt: {age: {identity: env:X}}"),
        ("engine: toy", "engine: toy\n    decrypt: {age: {identity: env:X, passphrase: env:Y}, exotic: {z: env:Z}}"),
        ("tier: critical", "tier: critical\n    checksum: {sidecar: '{stem}.sha256'}"),
        ("grace: 20m}", "grace: 20m, copies: {nas: {complete_when: DONE}}}"),
        ("latest: wiki/latest", "checksum: {manifest: SHA256SUMS}"),
        ('"db/{time:%Y%m%dT%H%M%S%z}.db.gz"', '"db/{time:%Y%m%dT%H%M%S%z}/"'),
        ('"db/{time:%Y%m%dT%H%M%S%z}.db.gz"', '"db/{time:%Y%m%dT%H%M%S%z}/", checksum: {sidecar: "{name}.sha256"}'),
        (NAS, NAS.replace('gz"', 'gz", latest: db/latest.db.gz')),
        (NAS, NAS.replace('gz"', 'gz.part-{part}", latest: db/LATEST, complete_when: "{name}.done"')),
        (
            NAS,
            NAS.replace("{time:%Y%m%d_%H%M%S}", "{rotation}").replace(
                'gz"', 'gz", time_metadata: taken-at, checksum: pinned'
            ),
        ),
        (
            f"{NAS}\n{OFFSITE}\n    expect:\n      {ROWS}",
            f"{NAS}\n    expect:\n      newest_record: {{sql: x, within: 1h}}".replace(
                "{time:%Y%m%d_%H%M%S}.db.gz", "orders{rotation:.}.gz"
            ),
        ),
        (
            NAS,
            NAS.replace(
                "db/{time:%Y%m%d_%H%M%S}.db.gz", '{time:%Y-%m-%d}/a.gz", shared_folder: true, complete_when: "D'
            ),
        ),
        (NAS, NAS.replace(".db.gz", "_{kind:full=F}.gz")),
        (
            NAS,
            NAS.replace('"db/{time', '"db2/{time').replace(
                "nas:", "nas2: {path: 'db/{time:%Y%m%d%H}', store: nas}\n      nas:"
            ),
        ),
        ("grace: 20m", "grace: 20m, expect: {integrity: quick, structure: baseline}"),
        ("files: {min: 100}", "newest_file: {within: 1d}"),
        ("state: s3://acme-drills/state", "state: s3://acme-backups/production"),
        ("state: s3://acme-drills/state", "state: {url: 's3://acme-backups/prod', endpoint: 'https://other.example'}"),
        ("state: s3://acme-drills/state", "state: file:/backups2"),
        ("state: s3://acme-drills/state", "state: null"),
        ("media: object-storage", "media: disk"),
        ("version: 1", "version: 1\ntiers: {wiki: {rpo: 1h, rto: 1h, drill_every: 1d}}"),
        ("tier: critical", "tier: critical\n    frozen: true\n    retention: {at_least: 1}"),
        ("tier: critical", "tier: critical\n    sensitive: false\n    live: false"),
        ("engine: toy", "engine: toy\n    engine_options: {database: a.db, deep: [1, {b: null}]}"),
    ],
)
def test_what_only_looks_like_a_contradiction(good: str, plan: Callable[..., Plan], before: str, after: str) -> None:
    assert len(plan(changed(good, before, after)).targets) == 2


@pytest.mark.parametrize(
    ("how", "notes"),
    [
        ("tier: important\n    engine: toy", ("orders-new/nas is the same backups as orders-db/nas, in another tier",)),
        ("tier: critical\n    engine: tree", ()),
        ("tier: critical\n    engine: toy\n    engine_options: {database: b.db}", ()),
    ],
    ids=["another tier", "another engine", "another part of it"],
)
def test_one_snapshot_may_be_looked_at_twice(good: str, plan: Callable[..., Plan], how: str, notes: tuple[str]) -> None:
    assert plan(good).notes == ()
    more = f'  orders-new:\n    {how}\n    copies:\n      nas: {{path: "db/{{time:%Y%m%d_%H%M%S}}.db.gz"}}\n'
    assert plan(good + more).notes == notes


def test_what_defaults_ask_of_an_engine_can_be_taken_back(
    good: str, plan: Callable[..., Plan], only_problem: Callable[..., str]
) -> None:
    text = good.replace("grace: 20m", "grace: 20m, expect: {rows: {default: {max_drop: 50%}}}")
    found = only_problem(text)
    assert found.startswith("targets.yaml:5:58: the engine 'tree' cannot be asked for rows")
    assert found.endswith("hint: write rows: null in this target to take back what defaults ask")
    assert plan(text.replace("files: {min: 100}", "rows: null")).by_name["wiki"].model.expect.rows is None


def test_a_sensitive_copy_needs_a_key_a_store_that_encrypts_or_an_exception(
    good: str, plan: Callable[..., Plan], problems: Callable[..., list[Problem]]
) -> None:
    text = good.replace("tier: critical", "tier: critical\n    sensitive: true")
    assert [problem.line for problem in problems(text)] == [13, 14]
    text = text.replace("offsite: true}", "offsite: true, accept_encryption: true}")
    assert [problem.line for problem in problems(text)] == [13]
    assert len(plan(text.replace('_%H%M%S}.db.gz"', '_%H%M%S}.db.gz", decrypt: {age: {identity: env:X}}')).targets) == 2
    excepted = EXCEPTION.replace("case: rto", "copy: nas, case: encrypted")
    assert len(plan(f"{text}exceptions: [{excepted}]\n").targets) == 2
    other_copy = EXCEPTION.replace("case: rto", "copy: offsite, case: encrypted")
    assert [problem.line for problem in problems(f"{text}exceptions: [{other_copy}]\n")] == [13]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("target: orders-db", "target: orders", "there is no target 'orders'"),
        ("case: rto", "case: rtoo", "there is no case 'rtoo'"),
        ("case: rto", "case: test_restore_meets_rto", "there is no case 'test_restore_meets_rto'"),
        ("case: rto", "case: rto, copy: nass", "there is no copy of orders-db 'nass'"),
        ("case: rto", "case: rto, detail: orders", "the case 'rto' has no detail"),
        ("case: rto", "case: 3-2-1, copy: nas", "the case '3-2-1' is about all copies of the target"),
        ("case: rto", "case: rows, detail: order", "orders-db has no table 'order' in its expectations"),
        ("case: rto", "case: query, detail: order", "orders-db has no query 'order' in its expectations"),
        ("case: rto", "case: check, detail: order", "orders-db has no check 'order' in its expectations"),
        ("case: rto", "case: encrypted", "the exception 'EX-1' covers no case: 'encrypted' is not run for this target"),
        ("case: rto", "case: retention", "the exception 'EX-1' covers no case: 'retention' is not run for this target"),
        ("id: EX-1", "id: EX 1", "'id' cannot be used: 'EX 1' is not usable as a name"),
        ("2030-01-01", "2030", "'expires' needs a date, such as 2027-03-31, not the number 2030"),
        (
            "2030-01-01",
            "2030-01-01 10:00:00",
            "'expires' needs a date, such as 2027-03-31, not the time that YAML reads",
        ),
        ("2030-01-01", "soon", "'expires' needs a date, such as 2027-03-31, not the text 'soon'"),
        ("slow hardware", "no", "'reason' needs text, not the truth value that YAML reads in no"),
    ],
)
def test_exceptions_that_are_refused(
    good: str, only_problem: Callable[..., str], before: str, after: str, said: str
) -> None:
    found = only_problem(f"{good}exceptions:\n  - {changed(EXCEPTION, before, after)}\n")
    assert found.startswith("targets.yaml:24:")
    assert message(found)[: len(said)] == said


@pytest.mark.parametrize(
    "case", ["rto", "rows", "rows, detail: orders", "agree", "rto, copy: nas", "3-2-1", "exceptions"]
)
def test_exceptions_that_cover_a_case(good: str, plan: Callable[..., Plan], case: str) -> None:
    found = plan(f"{good}exceptions:\n  - {EXCEPTION.replace('case: rto', f'case: {case}')}\n")
    assert [exception.id for exception in found.by_name["orders-db"].exceptions] == ["EX-1"]


def test_an_expired_exception_is_for_a_case_to_judge(good: str, plan: Callable[..., Plan]) -> None:
    found = plan(f"{good}exceptions: [{EXCEPTION.replace('2030', '1999')}]\n").by_name["orders-db"]
    assert [exception.expires.year for exception in found.exceptions] == [1999]


def test_two_exceptions_of_one_name(good: str, only_problem: Callable[..., str]) -> None:
    found = only_problem(f"{good}exceptions:\n  - {EXCEPTION}\n  - {EXCEPTION.replace('rto', 'agree')}\n")
    assert found.startswith("targets.yaml:25:10: two exceptions are called 'EX-1'")
    assert found.endswith("hint: give each its own; the first is at targets.yaml:24")


def test_a_catalogue_without_targets(only_problem: Callable[..., str]) -> None:
    assert only_problem("version: 1\n").startswith("targets.yaml:1:1: the catalogue has no targets")


def test_nothing_is_written_among_backups(good: str, here: Path, only_problem: Callable[..., str]) -> None:
    around = only_problem(good.replace("file:///backups", "file:."))
    assert message(around) == "the reports would lie inside the store 'nas'"
    inside = only_problem(good.replace("file:///backups", "file:reports/x"))
    assert message(inside) == "the store 'nas' lies inside the reports"
    default_state = only_problem(
        good.replace("file:///backups", "file:.restore-drill").replace("state: s3://acme-drills/state\n", "")
    )
    assert message(default_state) == "the state would lie inside the store 'nas'"
    (here / "targets.yaml").write_text(good)
    assert load(Path("targets.yaml"), reports=Path("elsewhere")).reports == str(here / "elsewhere")
    with pytest.raises(CatalogueInvalid, match="the reports would lie inside the store 'nas'"):
        load(Path("targets.yaml"), reports=Path("/backups/reports"))


def test_the_demo_is_the_projects_own(good: str, here: Path, only_problem: Callable[..., str]) -> None:
    demo = good + "demo: true\n"
    assert only_problem(demo).startswith("targets.yaml:23:1: only the project's own drills/targets.yaml is a demo")
    drills = here / "drills"
    drills.mkdir()
    (drills / "targets.yaml").write_text(demo)
    (here / "pyproject.toml").write_text("[project]\nname = 'pytest-restore-drill'\n")
    with pytest.raises(CatalogueInvalid):
        load(drills / "targets.yaml")
    (here / "fixtures").mkdir()
    assert load(drills / "targets.yaml").demo is True
    (drills / "other.yaml").write_text(demo)
    with pytest.raises(CatalogueInvalid):
        load(drills / "other.yaml")
    for project in ("[project]\nname = 'somebody-elses'\n", "project = 5\n", "not toml"):
        (here / "pyproject.toml").write_text(project)
        with pytest.raises(CatalogueInvalid):
            load(drills / "targets.yaml")


def test_a_rule_is_silent_about_what_is_malformed(good: str, problems: Callable[..., list[Problem]]) -> None:
    text = re.sub(r"path: \"db/\{time:%Y%m%d_[^\"]*\"", "path: 5", good).replace(
        "tier: critical", "tier: critical\n    frozen: 5"
    )
    assert [problem.message for problem in problems(text)] == [
        "'frozen' needs true or false, not the number 5",
        "'path' needs text, not the number 5",
    ]
