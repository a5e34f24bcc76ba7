"""Sets: what they are made of, and the place of each mistake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from restore_drill import registry
from restore_drill.plan import Plan

ENGINES = dict(registry.BUILT_IN["engines"])
CATALOGUE = """\
version: 1
stores:
  nas: {{url: file:///backups, media: disk}}
  offsite: {{url: s3://acme/prod, media: object-storage, offsite: true}}
defaults: {{timezone: UTC}}
targets:
  shop-db:
    tier: critical
    engine: postgres
    depth: {depth}
    copies: {{nas: {{path: "db/{{time:%Y%m%dT%H%M%SZ}}.dump"}}}}
  shop-files:
    tier: important
    engine: files
    frozen: {frozen}
    copies:
      nas: {{path: "files/{{time:%Y%m%dT%H%M%SZ}}.tar"}}
      offsite: {{path: "files/{{time:%Y%m%dT%H%M%SZ}}.tar"}}
  ledger-db:
    tier: important
    engine: mysql
    copies: {{nas: {{path: "ledger/{{time:%Y%m%dT%H%M%SZ}}.sql"}}}}
sets:
  shop:
    targets: {targets}
    copies: {copies}
    queries: [{query}]
    application: {application}
"""
QUERY = (
    "{name: every upload is a file, ask: {target: shop-db, sql: select path from uploads}, "
    "is_in: {target: shop-files, files: '**'}}"
)
GOOD = {
    "frozen": "false",
    "depth": "full",
    "targets": "[shop-db, shop-files]",
    "copies": "{}",
    "query": QUERY,
    "application": "{image: 'registry.example.net/shop:4', mounts: {shop-files: /srv/files}, "
    "hosts: {db.internal: shop-db}, logins: {shop-db: shop}, health: {port: 8080, path: /health}}",
}


@pytest.fixture(autouse=True)
def _engines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "engines", ENGINES)


def written(**changes: str) -> str:
    return CATALOGUE.format(**{**GOOD, **changes})


def test_a_set_is_drilled_with_its_first_target(plan: Callable[..., Plan]) -> None:
    first, second, third = plan(written(copies="{shop-files: offsite}")).targets
    assert second.sets == third.sets == ()
    (planned,) = first.sets
    assert planned.members == (("shop-db", "nas"), ("shop-files", "offsite"))
    assert planned.model.within == timedelta(minutes=15) and planned.rpo == timedelta(hours=24), "of the most lenient"
    told = [(case.case, case.detail) for case in first.cases() if not case.copy and case.case.startswith("set")]
    assert told == [
        ("set", "shop"), ("set-query", "shop/every-upload-is-a-file"), ("set-boot", "shop"), ("set-disposed", "shop")
    ]  # fmt: skip


def test_what_no_longer_changes_says_nothing_of_how_much_may_be_lost(plan: Callable[..., Plan]) -> None:
    assert plan(written(frozen="true")).targets[0].sets[0].rpo == timedelta(hours=1)


_ASK = "ask: {target: shop-db, sql: select 1}"
_FILES = "{target: shop-files, files: '**'}"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"targets": "[shop-db, shop-file]", "query": f"{{name: q, {_ASK}, is_in: {{target: shop-db, sql: select 1}}}}",
          "application": "null"}, "there is no target 'shop-file'; did you mean 'shop-files'"),
        ({"targets": "[shop-db, shop-files, shop-db]"}, "'shop-db' is in the set twice"),
        ({"depth": "schema"}, "shop-db is restored at depth schema"),
        ({"copies": "{shop-files: offside}"}, "shop-files has no copy 'offside'; did you mean 'offsite'"),
        ({"copies": "{ledger-db: nas}"}, "'ledger-db' is no target of the set"),
        ({"query": f"{{name: q, {_ASK}}}"}, "give either is_in or equals"),
        ({"query": f"{{name: q, {_ASK}, is_in: {_FILES}, equals: {_FILES}}}"}, "give either is_in or equals"),
        ({"query": f"{{name: q, ask: {{target: shop-db}}, is_in: {_FILES}}}"}, "give either sql, a statement, or"),
        ({"query": f"{{name: q, ask: {{target: shop-db, files: '**'}}, is_in: {_FILES}}}"},
         "shop-db cannot be asked for files: the engine 'postgres' has none"),
        ({"query": f"{{name: q, {_ASK}, is_in: {{target: shop-files, sql: select 1}}}}"},
         "shop-files cannot be asked for sql: the engine 'files' has none; ask for files"),
        ({"query": f"{{name: q, {_ASK}, is_in: {{target: shop-fils, files: '**'}}}}"},
         "'shop-fils' is no target of the set; did you mean 'shop-files'"),
        ({"query": f"{{name: q, {_ASK}, is_in: {{target: shop-files, files: '**', below: ../x}}}}"},
         "below is a directory inside the tree"),
        ({"query": f"{QUERY}, {QUERY}"}, "'shop/every-upload-is-a-file' has the same id in reports as"),
        ({"query": "", "application": "null"}, "a set without queries and without an application proves nothing"),
        ({"application": "{image: app, mounts: {shop-db: /srv/db}}"}, "shop-db is a server, whose files no"),
        ({"application": "{image: app, mounts: {shop-files: /etc/app}}"}, "/etc/app is no place of an application"),
        ({"application": "{image: app, hosts: {files: shop-files}}"}, "shop-files is no server that an"),
        ({"application": "{image: app, hosts: {localhost: shop-db}}"}, "'localhost' is not usable as the name"),
        ({"application": "{image: app, logins: {shop-file: app}}"}, "'shop-file' is no target of the set"),
        ({"application": "{image: 'a b'}"}, "the image's name"),
        ({"targets": "[shop-files, shop-db, ledger-db]", "application": "{image: app, hosts: {db: ledger-db}}"},
         "ledger-db is no server that an application can reach: its engine is 'mysql'"),
    ],
)  # fmt: skip
def test_each_mistake_is_told_with_its_place(
    only_problem: Callable[..., str], changes: dict[str, str], said: str
) -> None:
    told = only_problem(written(**changes))
    message, _, hint = said.partition("; ")
    assert told.startswith("targets.yaml:") and message in told.splitlines()[0]
    assert hint in told


@pytest.mark.parametrize(
    ("second", "query", "said"),
    [
        ("shop-every", "upload is a file", "'shop-every/upload-is-a-file' has the same id in reports as"),
        ("shop-Every", "Upload is a file", "'shop-Every/Upload-is-a-file' has the same id in reports as"),
        ("shop-every-upload-is-a-file", "another", "'shop-every-upload-is-a-file' has the same id in reports as"),
        ("shop-every", "upload is a tree", ""),
    ],
)
def test_ids_of_two_sets_with_the_same_first_target_differ(
    plan: Callable[..., Plan], only_problem: Callable[..., str], second: str, query: str, said: str
) -> None:
    other = QUERY.replace("every upload is a file", query)
    text = written() + f"  {second}: {{targets: [shop-db, shop-files], queries: [{other}]}}\n"
    if said:
        assert said in only_problem(text)
        assert plan(text.replace("[shop-db, shop-files], queries", "[shop-files, shop-db], queries")).targets
    else:
        assert len(plan(text).targets[0].sets) == 2


def test_an_exception_may_speak_of_a_query_of_a_set(
    plan: Callable[..., Plan], only_problem: Callable[..., str]
) -> None:
    approved = (
        "exceptions: [{{id: EX-1, target: {}, case: set-query, detail: shop/{}, reason: known since spring, "
        "approver: the ciso, expires: 2030-01-01}}]\n"
    )
    assert plan(written() + approved.format("shop-db", "every-upload-is-a-file")).targets[0].exceptions
    assert "bears no case set-query" in only_problem(written() + approved.format("shop-db", "each-upload"))
    told = only_problem(written() + approved.format("shop-files", "every-upload-is-a-file"))
    assert "a set's cases are those of its first target" in told
