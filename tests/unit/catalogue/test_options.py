"""Single options written wrongly: what is said, where, and with which hint."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from restore_drill.catalogue.problems import Problem
from restore_drill.plan import Plan


@pytest.mark.parametrize(
    ("before", "after", "printed"),
    [
        (
            "version: 1\n",
            "",
            "targets.yaml:1:1: 'version' is missing\n"
            "    stores:\n    ^\n  hint: Format of this file, for example version: 1",
        ),
        (
            "version: 1",
            "version: 2",
            "targets.yaml:1:10: 'version' may be 1, not the number 2\n"
            "    version: 2\n             ^\n  hint: write version: 1; this program reads no other format",
        ),
        (
            "version: 1",
            "version: yes",
            "targets.yaml:1:10: 'version' may be 1, not the truth value that YAML reads in yes\n"
            "    version: yes\n             ^\n  hint: write version: 1; this program reads no other format",
        ),
        (
            "tier: critical",
            "tiers: critical",
            "targets.yaml:8:3: 'tier' is missing in 'orders-db'\n"
            "      orders-db:\n      ^\n  hint: Criticality: critical, important, archival, or a tier of your own, "
            "for example tier: critical\n"
            "targets.yaml:9:5: unknown option 'tiers'\n"
            "        tiers: critical\n        ^\n  hint: did you mean 'tier'?",
        ),
        (
            "offsite: true}",
            "offsite: 'yes'}",
            "targets.yaml:4:74: 'offsite' needs true or false, not the text 'yes'\n"
            "      offsite: {url: s3://acme-backups/prod, media: object-storage, offsite: 'yes'}\n"
            f"    {' ' * 73}^\n  hint: write it without quotes: yes",
        ),
        (
            "max_drop: 5%",
            "max_drop: 5",
            "targets.yaml:15:59: 'max_drop' needs a percentage, such as 5%, not the number 5\n"
            "          rows: {customers: 59, orders: {min: 1000, max_drop: 5}}\n"
            f"    {' ' * 58}^",
        ),
        (
            "max_drop: 5%",
            "max_drop: 105%",
            "targets.yaml:15:59: 'max_drop' cannot be used: '105%' is not a percentage; "
            "write 5% (between 0% and 100%)\n"
            "          rows: {customers: 59, orders: {min: 1000, max_drop: 105%}}\n"
            f"    {' ' * 58}^",
        ),
        (
            "min: 1000",
            "min: 1e3",
            "targets.yaml:15:43: 1e3 is text in YAML 1.1 and a number in YAML 1.2\n"
            "          rows: {customers: 59, orders: {min: 1e3, max_drop: 5%}}\n"
            f"    {' ' * 42}^\n  hint: write a number in plain digits; put it in quotes if it is text: '1e3'",
        ),
        (
            "tier: important",
            "tier: important\n    owner: 2026-11-23",
            "targets.yaml:18:12: 'owner' needs text, not the date that YAML reads in 2026-11-23\n"
            "        owner: 2026-11-23\n               ^\n  hint: put it in quotes: '2026-11-23'",
        ),
        (
            "    expect:\n      files: {min: 100}\n",
            "    expect:\n",
            "targets.yaml:21:12: 'expect' needs a mapping (option: value), not nothing\n"
            "        expect:\n               ^\n  hint: write a value, or remove the key",
        ),
    ],
)
def test_prints_exactly(
    good: str, problems: Callable[..., list[Problem]], before: str, after: str, printed: str
) -> None:
    assert before in good
    assert "\n".join(map(str, problems(good.replace(before, after, 1)))) == printed


@pytest.mark.parametrize(
    ("option", "message", "hint"),
    [
        ("descripton: x", "unknown option 'descripton'", "did you mean 'description'?"),
        ("zzz: x", "unknown option 'zzz'", "known: tier, engine, copies"),
        ("newest_record: x", "unknown option 'newest_record'", "'newest_record' belongs under expect"),
        ("url: x", "unknown option 'url'", "'url' belongs under stores"),
        ("'': x", "unknown option ''", "known: tier"),
        ("description: ''", "'description' is empty", ""),
        ("description: 1.50", "'description' needs text, not the number 1.50", "put it in quotes: '1.50'"),
        ("description: [a]", "'description' needs text, not a list", ""),
        ("grace: 15", "'grace' needs a number with a unit, such as 15m, 1h30m or 1 week, not the number 15", ""),
        ("grace: soon", "'grace' cannot be used: 'soon' is not a duration", ""),
        ("grace: 0s", "'grace' cannot be used: '0s' is not longer than zero", ""),
        (
            "clock_skew: yes",
            "'clock_skew' needs a number with a unit, such as 15m, 1h30m or 1 week, not the truth value",
            "",
        ),
        ("limits: {bytes: 10G}", "'bytes' cannot be used: '10G' could be GB (powers of 1000) or GiB", ""),
        ("limits: {ratio: 1}", "'ratio' is 1, and may be at least 2", ""),
        ("limits: {ratio: 2.5}", "'ratio' needs a whole number, not the number 2.5", ""),
        ("limits: {ratio: '5'}", "'ratio' needs a whole number, not the text '5'", "write it without quotes: 5"),
        (
            "limits: {allow: [setuid, exec]}",
            "'allow' may be 'outside-links', 'setuid' or 'special-files', not the text 'exec'",
            "",
        ),
        (
            "limits: {allow: setuids}",
            "'allow' needs a list ([one, two]), not the text 'setuids'",
            "put it in brackets: [setuids]",
        ),
        ("size: {predecessors: 99}", "'predecessors' is 99, and may be at most 60", ""),
        ("sensitive: 1", "'sensitive' needs true or false, not the number 1", ""),
        ("live: true", "'live' needs a mapping (option: value), not the truth value", ""),
        ("live: {mdia: disk}", "unknown option 'mdia'", "did you mean 'media'?"),
        ("timezone: Berlin", "'timezone' cannot be used: 'Berlin' is not a time zone", ""),
        ("timezone: ../UTC", "'timezone' cannot be used: '../UTC' is not a time zone", ""),
        ("timezone: 1", "'timezone' cannot be used: 1 is not a time zone", ""),
        ("checksum: etag", "'checksum' cannot be used: an ETag is not a digest", ""),
        ("checksum: {sha256: abc}", "'sha256' must look like ^[0-9a-fA-F]{64}$", ""),
        (
            "checksum: {sidecar: x, manifest: y}",
            "the digest can be recorded in one place: keep one of sidecar, manifest",
            "",
        ),
        (
            "checksum: {mode: pinned, manifest: y}",
            "pinned means that no digest was recorded: remove pinned or manifest",
            "",
        ),
        (
            "checksum: {sidecar: '{nam}.sha'}",
            "'sidecar' cannot be used: '{nam}.sha': {name} and {stem} are the only fields",
            "",
        ),
        (
            "checksum: {provider: any, sidecar: x}",
            "the digest can be recorded in one place: keep one of sidecar, provider",
            "",
        ),
        ("checksum: {mode: pinned, provider: any}", "pinned means that no digest was recorded: remove pinned or", ""),
        ("checksum: {provider: etag}", "'provider' may be 'metadata' or 'any'", ""),
        ("checksum: {algorithm: whirlpool}", "'whirlpool' is no known algorithm: md5, sha1,", ""),
        ("checksum: {provider: any, algorithm: md5}", "algorithm is for a digest in a file", ""),
        (
            "checksum: {mode: pinned, signature: {kind: gpg, keys: ['file:x'], of: digest}}",
            "no file with the digest is looked for that could be signed",
            "",
        ),
        ("checksum: {signature: {kind: minisgn, keys: ['file:x']}}", "signatures has nothing called 'minisgn'", ""),
        ("checksum: {signature: {kind: gpg, keys: []}}", "a signature needs a key", ""),
        ("checksum: {signature: {kind: cosign, keys: [x]}}", "a key of cosign needs a public key in PEM", ""),
        ("checksum: {signature: {kind: gpg, keys: [5]}}", "'keys' needs a public key: file:PATH", ""),
        (
            "checksum: {signature: {kind: gpg, keys: ['env:KEY']}}",
            "'keys' needs a public key, which is no secret: file:PATH",
            "",
        ),
        ("checksum: {manifest: ../SUMS}", "'manifest' cannot be used: '../SUMS' must be relative", ""),
        ("retention: {}", "the retention promises nothing", ""),
        ("engine_options: {when: 2026-11-23}", "'when' needs plain values", "put it in quotes: '2026-11-23'"),
        ("decrypt: {age: {identity: AGE-SECRET-KEY-1XYZ}}", "'identity': a secret is never in the catalogue", ""),
        ("decrypt: {age: {identity: 5}}", "'identity': a secret is never in the catalogue", ""),
        ("decrypt: {age: {identity: {command: []}}}", "'identity': a secret is never in the catalogue", ""),
        ("three_two_one: null", "'three_two_one' needs true or false, not nothing", ""),
        ("sandbox: no", "'sandbox' needs a name, not the truth value that YAML reads in no", "put it in quotes: 'no'"),
    ],
)
def test_options_of_a_target(
    good: str, problems: Callable[..., list[Problem]], option: str, message: str, hint: str
) -> None:
    found = problems(good.replace("    tier: important", f"    {option}\n    tier: important"))
    assert {problem.line for problem in found} == {17}
    matching = [problem for problem in found if problem.message.startswith(message)]
    assert len(matching) == 1
    assert matching[0].hint.startswith(hint) if hint else not matching[0].hint.startswith("did you mean")
    assert "AGE-SECRET-KEY" not in str(matching[0])


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        ("rows: {a: '5'}", "'a' needs a mapping (option: value), not the text '5'"),
        ("rows: {a: {}}", "the rule asks for nothing"),
        ("rows: {a: {exact: 5, max: 6}}", "exact allows nothing beside it"),
        ("rows: {a: {recorded: true}}", "recorded: true needs rows.recorded"),
        ("rows: {tables: {a: 1}, a: 2}", "a has a rule under rows and another one under rows.tables"),
        ("rows: {tables: {a: {mn: 1}}}", "unknown option 'mn'"),
        ("rows: {tables: {b: 5}, a: {mn: 1}}", "unknown option 'mn'"),
        ("queries: [{name: q, sql: select 1}]", "the query has no expected answer"),
        ("queries: [{name: q, sql: select 1, equals: 1, min: 0}]", "equals allows neither min nor max beside it"),
        ("queries: [{name: q, sql: select 1, min: 2, max: 1}]", "min (2) is above max (1)"),
        ("queries: [{name: q, sql: select 1, min: many}]", "'min' needs a number, not the text 'many'"),
        ("queries: [{name: q, sql: '', equals: 1}]", "'sql' is empty"),
        ("queries: [{name: 'q?', sql: select 1, equals: 1}]", "'name' cannot be used: 'q?' is not usable as a name"),
        (
            "queries: [{name: a b, sql: x, equals: 1}, {name: a  b, sql: x, equals: 1}]",
            "two queries of orders-db are called 'a-b'",
        ),
        (
            "queries: [{name: a, sql: x, equals: 1}, {name: A, sql: x, equals: 1}]",
            "the queries 'A' and 'a' of orders-db differ only",
        ),
        ("integrity: on", "'integrity' may be 'full', 'quick' or 'off', not the truth value that YAML reads in on"),
        ("newest_record: {sql: select 1}", "'within' is missing in 'newest_record'"),
        ("checks: {rows: {}}", "'rows' is a standard check"),
        ("checks: {mine: {}}", "there is no check 'mine'"),
        ("checks: [mine]", "'checks' needs a mapping (name: value), not a list"),
    ],
)
def test_expectations(good: str, only_problem: Callable[..., str], expect: str, message: str) -> None:
    found = only_problem(re.sub(r"rows: .*", lambda _: expect, good))
    assert found.partition(": ")[2][: len(message)] == message
    assert found.startswith("targets.yaml:15:")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ("{min: 5, max: 4}", "min (5) is above max (4): no tree can satisfy both"),
        ("{min_bytes: 5 MB, max_bytes: 4 MB}", "min_bytes (5000000) is above max_bytes (4000000)"),
        ("{min_bytes: 5}", "'min_bytes' needs a number with a unit, such as 500 MB or 10 GiB, not the number 5"),
        ("{must_exist: a}", "'must_exist' needs a list ([one, two]), not the text 'a'"),
    ],
)
def test_expectations_of_a_tree(good: str, only_problem: Callable[..., str], files: str, message: str) -> None:
    found = only_problem(good.replace("{min: 100}", files))
    assert found.partition(": ")[2][: len(message)] == message
    assert found.startswith("targets.yaml:22:")


@pytest.mark.parametrize(
    "written",
    [
        "decrypt: hunter2",
        "decrypt: [hunter2]",
        "decrypt: {age: hunter2}",
        "decrypt: {age: [hunter2]}",
        "decrypt: {age: {identity: hunter2}}",
        "decrypt: {age: {identity: {comand: [hunter2]}}}",
        "decrypt: {age: {identity: [hunter2]}}",
    ],
)
def test_what_may_be_a_secret_is_never_repeated(
    good: str, problems: Callable[..., list[Problem]], written: str
) -> None:
    for text in (
        good.replace("tier: critical", f"tier: critical\n    {written}"),
        good.replace('path: "db/{time:%Y%m%dT', f'rangs: 5, {written}, path: "db/{{time:%Y%m%dT'),
        good.replace("offsite: true", written.replace("decrypt", "credentials") + ", rangs: 5"),
        good.replace("offsite: true", "credentials: {pasword: hunter2, acces_key_id: hunter2}"),
    ):
        found = problems(text)
        assert found
        assert "hunter2" not in "\n".join(map(str, found))


def test_off_is_a_word_whatever_yaml_reads_in_it(good: str, plan: Callable[..., Plan]) -> None:
    found = plan(re.sub(r"rows: .*", "integrity: off\n      structure: 'off'", good)).by_name["orders-db"]
    assert (found.model.expect.integrity, found.model.expect.structure) == ("off", "off")


def test_words_of_a_query_become_its_slug(good: str, plan: Callable[..., Plan]) -> None:
    found = plan(re.sub(r"rows: .*", "queries: [{name: every  item, sql: select 1, equals: 1}]", good)).by_name[
        "orders-db"
    ]
    assert [query.name for query in found.model.expect.queries] == ["every-item"]


def test_names_are_exact(good: str, problems: Callable[..., list[Problem]]) -> None:
    found = problems(good.replace("nas: {url", "NAS: {url"))
    assert {problem.message.partition(" (")[0] for problem in found} == {"there is no store 'nas'"}
    assert {problem.hint for problem in found} == {"did you mean 'NAS'?"}
