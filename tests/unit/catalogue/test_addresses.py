from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from restore_drill import registry
from restore_drill.catalogue.addresses import place_of
from restore_drill.catalogue.problems import Problem
from restore_drill.plan import Plan
from restore_drill.secrets import SecretReference

NO_CREDENTIALS = "a url must not hold credentials"
INSIDE = "serves a machine's own credentials (link-local or metadata address)"


@pytest.fixture
def store(good: str, problems: Callable[..., list[Problem]]) -> Callable[[str], list[str]]:
    """What is wrong with a catalogue whose second store is written so; every problem stands on its line."""

    def find(written: str) -> list[str]:
        text = "\n".join(
            f"  offsite: {written}" if line.startswith("  offsite:") else line for line in good.splitlines()
        )
        found = problems(text)
        assert {problem.line for problem in found} == {4}
        return [problem.message for problem in found]

    return find


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("/backups", "the url has no scheme"),
        ("backups", "the url has no scheme"),
        ("//host/x", "the url has no scheme"),
        ("ftp://host/x", "no store serves ftp: urls"),
        ("S4://bucket", "no store serves s4: urls"),
        ("C:\\backups", "no store serves c: urls"),
        ("s3://", "an s3: url needs a bucket"),
        ("s3:///prefix", "an s3: url needs a bucket"),
        ("s3:bucket/prefix", "an s3: url needs a bucket"),
        ("s3:", "an s3: url needs a bucket"),
        ("s3://bu cket", "'bu cket' is not a bucket's name"),
        ("s3://bucket:9000/x", "'bucket:9000' is not a bucket's name"),
        ("s3://bucket/a//b", "the prefix has empty parts, '.' or '..'"),
        ("s3://bucket//", "the prefix has empty parts, '.' or '..'"),
        ("s3://bucket/../b", "the prefix has empty parts, '.' or '..'"),
        ("s3://bucket/a?x=1", "an s3: url has neither ? nor #"),
        ("file://host/backups", "a file: url has no host, and 'host' stands where one would be"),
        ("file://localhost/backups", "a file: url has no host, and 'localhost' stands where one would be"),
        ("file://backups", "a file: url has no host, and 'backups' stands where one would be"),
        ("file:", "the url names no directory"),
        ("file://", "the url names no directory"),
        ("file:~/backups", "~ is not expanded"),
        ("s3://169.254.169.254/x", f"169.254.169.254 {INSIDE}"),
        ("s3://metadata.google.internal/x", f"metadata.google.internal {INSIDE}"),
    ],
)
def test_urls_that_are_refused(store: Callable[[str], list[str]], url: str, message: str) -> None:
    assert store(f"{{url: '{url}', media: disk}}") == [message]


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA123:c2VjcmV0@bucket/x",
        "s3://AKIA123@bucket",
        "s3://AKIA123:se/cr/et@bucket",
        "ftp://me:c2VjcmV0@host/x",
        "s3://bucket/x?X-Amz-Signature=c2VjcmV0",
        "mirror://host/x?access_token=c2VjcmV0",
        "mirror://host/x#password=c2VjcmV0",
        "https://me@host/x",
    ],
)
def test_credentials_in_a_url_are_refused_and_not_repeated(
    good: str, problems: Callable[..., list[Problem]], url: str
) -> None:
    found = problems(good.replace("s3://acme-backups/prod, media: object-storage", f"'{url}', media: disk, rangs: 5"))
    assert [problem.message for problem in found if problem.line == 4] == [NO_CREDENTIALS, "unknown option 'rangs'"]
    assert "c2VjcmV0" not in "".join(map(str, found)) and "AKIA" not in "".join(map(str, found))
    assert "se/cr/et" not in "".join(map(str, found))


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254",
        "http://169.254.170.2:80/x",
        "http://[fe80::1]:9000",
        "http://[fd00:ec2::254]",
        "http://metadata.google.internal",
        "http://METADATA.google.internal.:80",
        "http://2852039166",
        "http://0xA9FEA9FE",
        "http://0251.0376.0251.0376",
        "http://169.254.43518",
        "http://[::ffff:169.254.169.254]",
        "http://[::ffff:a9fe:a9fe]",
        "http://[64:ff9b::a9fe:a9fe]",
        "http://[2002:a9fe:a9fe::1]",
        "http://[fe80::1%25eth0]",
        "http://%31%36%39.254.169.254",
        "http://100.100.100.200",
        "https://instance-data",
    ],
)
def test_endpoints_that_serve_a_machines_own_credentials_are_refused(
    store: Callable[[str], list[str]], endpoint: str
) -> None:
    found = store(f"{{url: 's3://b/x', media: disk, endpoint: '{endpoint}'}}")
    assert [message.endswith(INSIDE) for message in found] == [True]


@pytest.mark.parametrize(
    ("endpoint", "message"),
    [
        ("minio:9000", "an endpoint is an http: or https: url"),
        ("minio.example", "an endpoint is an http: or https: url"),
        ("https://", "an endpoint is an http: or https: url"),
        ("https:///x", "an endpoint is an http: or https: url"),
        ("ftp://host", "an endpoint is an http: or https: url"),
        ("https://me:pw@host", "an endpoint must not hold credentials"),
        ("https://me@host", "an endpoint must not hold credentials"),
        ("https://[::1", "the host of the url cannot be read"),
    ],
)
def test_endpoints_that_are_refused(store: Callable[[str], list[str]], endpoint: str, message: str) -> None:
    assert store(f"{{url: 's3://b/x', media: disk, endpoint: '{endpoint}'}}") == [message]


@pytest.mark.parametrize(
    "written",
    [
        "{url: 's3://b/x/', media: disk, endpoint: 'http://127.0.0.1:9000', path_style: true, region: eu-central-1}",
        "{url: 's3://b', media: disk, endpoint: 'https://minio.example:9000/s3', ranges: 8, profile: reader}",
        "{url: 's3://b', media: disk, endpoint: env:MINIO}",
        "{url: 's3://b', media: disk, endpoint: {command: [vault, minio]}}",
        "{url: 's3://b', media: disk, credentials: {access_key_id: env:A, secret_access_key: file:b}}",
        "{url: 'file:/srv/other backups', media: disk, offsite: true}",
        "{url: 'file:../elsewhere', media: disk}",
        "{url: 'file:/x@y/z', media: disk, path_style: false}",
    ],
)
def test_addresses_that_are_taken(good: str, plan: Callable[..., Plan], written: str) -> None:
    text = "\n".join(f"  offsite: {written}" if line.startswith("  offsite:") else line for line in good.splitlines())
    assert len(plan(text).targets) == 2


@pytest.mark.parametrize(
    "option",
    [
        "endpoint: env:X",
        "region: eu",
        "profile: me",
        "path_style: true",
        "ranges: 2",
        "credentials: {access_key_id: env:A, secret_access_key: env:B}",
    ],
)
def test_options_of_another_kind_of_store(store: Callable[[str], list[str]], option: str) -> None:
    name = option.partition(":")[0]
    assert store(f"{{url: 'file:/srv/x', media: disk, {option}}}") == [f"file: stores have no option {name!r}"]


def test_a_path_holds_no_zero_byte(store: Callable[[str], list[str]]) -> None:
    assert store('{url: "file:/a\\0b", media: disk}') == ["a path cannot hold a zero byte"]


def test_options_that_a_store_does_not_declare(store: Callable[[str], list[str]]) -> None:
    assert store("{url: 's3://b/x', media: disk, options: {a: 1}}") == ["s3: stores have no option 'a'"]
    assert store("{url: 's3://b/x', media: disk, options: {region: eu}}") == ["'region' stands beside the url"]


def test_credentials_that_a_store_does_not_declare(store: Callable[[str], list[str]]) -> None:
    assert store("{url: 's3://b/x', media: disk, credentials: {access_key_id: env:A, pasword: env:B}}") == [
        "'secret_access_key' is missing in 'credentials'",
        "unknown option 'pasword'",
    ]
    assert len(store("{url: 's3://b/x', media: disk, credentials: {}}")) == 2


@pytest.fixture
def mirror(good: str, problems: Callable[..., list[Problem]], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Where and what is wrong with the second store when it is one that a plug-in brings."""
    point = EntryPoint("mirror", "toys_of_the_catalogue_tests:MirrorStore", "restore_drill.stores")
    monkeypatch.setattr(registry, "_third_party", lambda plug: {"mirror": point} if plug == "stores" else {})

    def find(url: str, rest: str) -> list[tuple[str, str, str]]:
        text = good.replace("s3://acme-backups/prod, media", f"'{url}', {rest}, media")
        lines = text.splitlines()
        return [
            (lines[problem.line - 1][problem.column - 1 :].split(":")[0].split("}")[0], problem.message, problem.hint)
            for problem in problems(text)
        ]

    return find


def test_everything_that_a_store_declares_is_compared_at_once(mirror: Callable[..., Any]) -> None:
    assert mirror(
        "mirror://a", "options: {depht: 2, known_hosts: 5, order: newst, whole: 1, through: a, endpoint: x}"
    ) == [
        ("depht", "mirror: stores have no option 'depht'", "did you mean 'depth'?"),
        ("5, order", "'known_hosts' needs a path", "Whom it trusts, for example known_hosts: ssh/known_hosts"),
        ("newst, whole", "'order' needs one of newest, oldest", "Which first, for example order: newest"),
        ("1, through", "'whole' needs true or false", "Whether all of it, for example whole: True"),
        ("a, endpoint", "'through' needs a list of texts", "What it goes through, for example through: ['a', 'b']"),
        ("endpoint", "mirror: stores have no option 'endpoint'", "known: depth, known_hosts, order, through, whole"),
    ]
    assert mirror("mirror://3", "region: eu, options: {depth: 0}, credentials: {other: env:A, others: env:B}") == [
        ("'mirror", "no three in a url", "count to two"),
        ("region", "mirror: stores have no option 'region'", "remove it, or correct the url"),
        ("0", "'depth' needs a whole number, 1 or more", "How deep, for example depth: 2"),
        ("credentials", "'word' is missing in 'credentials'", "The word, for example word: env:BACKUP_WORD"),
        ("others", "unknown option 'others'", "did you mean 'other'?"),
    ]


def test_what_a_store_says_of_one_address(mirror: Callable[..., Any]) -> None:
    assert mirror("mirror://a", "options: {depth: 3}, credentials: {word: env:A, other: env:B}") == [
        ("other", "three deep needs no other", "take it out"),
    ]


def test_every_host_that_an_address_leads_to_is_looked_at(mirror: Callable[..., Any]) -> None:
    assert mirror("mirror://[fe80::1]/a", "options: {through: [good.example, 'me@metadata.goog']}") == [
        ("'mirror", f"fe80::1 {INSIDE}", "a store is never there"),
        ("through", f"metadata.goog {INSIDE}", "a store is never there"),
    ]


def test_options_reach_the_store_as_their_type(
    mirror: Callable[..., Any], good: str, plan: Callable[..., Plan]
) -> None:
    options = "options: {depth: 2, known_hosts: ssh/known, through: [a, b], whole: false, order: oldest}"
    text = good.replace(
        "s3://acme-backups/prod, media", f"'mirror://a', {options}, credentials: {{word: env:A}}, media"
    )
    settings = plan(text).by_name["orders-db"].copies[1].settings
    assert settings.options == {
        "depth": 2, "known_hosts": Path.cwd() / "ssh/known", "through": ("a", "b"), "whole": False, "order": "oldest",
    }  # fmt: skip
    assert settings.secrets == {"word": SecretReference("env", "A")}


def test_two_ways_to_say_who_asks(store: Callable[[str], list[str]]) -> None:
    both = "profile: me, credentials: {access_key_id: env:A, secret_access_key: env:B}"
    assert store(f"{{url: 's3://b/x', media: disk, {both}}}") == [
        "profile and credentials say two things about who asks"
    ]


def test_the_state_has_the_same_rules(good: str, problems: Callable[..., list[Problem]]) -> None:
    for state, message in [
        ("mirror://x", "no store serves mirror: urls"),
        ("/state", "the url has no scheme"),
        ("s3://a:b@c/d", NO_CREDENTIALS),
        ("{url: file:x, region: eu}", "file: stores have no option 'region'"),
        ("{url: s3://b, endpoint: http://169.254.169.254}", f"169.254.169.254 {INSIDE}"),
        ("{}", "'url' is missing in 'state'"),
        ("5", "'state' needs a mapping (option: value), not the number 5"),
    ]:
        found = problems(good.replace("s3://acme-drills/state", state))
        assert [(problem.line, problem.message) for problem in found] == [(6, message)]


def test_stores_of_third_parties_are_known_by_their_schemes(
    good: str, plan: Callable[..., Plan], only_problem: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = good.replace("s3://acme-backups/prod, media", "'mirrors://me@host/x', options: {depth: 2}, media")
    assert "no store serves mirrors: urls" in only_problem(text)
    point = EntryPoint("mirror", "toys_of_the_catalogue_tests:MirrorStore", "restore_drill.stores")
    monkeypatch.setattr(registry, "_third_party", lambda plug: {"mirror": point} if plug == "stores" else {})
    assert plan(text).by_name["orders-db"].copies[1].settings.options == {"depth": 2}
    assert INSIDE in only_problem(text.replace("me@host", "169.254.169.254"))
    missing = EntryPoint("mirror", "a_library_nobody_has:Store", "restore_drill.stores")
    monkeypatch.setattr(registry, "_third_party", lambda plug: {"mirror": missing} if plug == "stores" else {})
    assert "stores 'mirror' needs a_library_nobody_has" in only_problem(text)
    assert len(plan(good).targets) == 2


@pytest.mark.parametrize(
    ("outer", "inner", "holds"),
    [
        ("file:/a", "file:/a/b", True),
        ("file:/a", "file:/a", True),
        ("file:/a", "file:/ab", False),
        ("file:/a/", "file:/a/b", True),
        ("file:/a/b", "file:/a", False),
        ("file:x", "file:///base/x/y", True),
        ("file:..", "file:/base", True),
        ("file:/", "file:/a", True),
        ("file:/a", "s3://a", False),
        ("s3://b", "s3://b/x", True),
        ("s3://b/x/", "s3://b/x/y", True),
        ("s3://b/x", "s3://b/xy", False),
        ("s3://b", "s3://c", False),
    ],
)
def test_places_inside_one_another(outer: str, inner: str, holds: bool) -> None:
    around, within = place_of(outer, Path("/base")), place_of({"url": inner}, Path("/base"))
    assert around is not None and within is not None
    assert around.holds(within) is holds


def test_another_endpoint_is_another_place() -> None:
    one = place_of({"url": "s3://b", "endpoint": "https://one"}, Path("/"))
    two = place_of({"url": "s3://b/x", "endpoint": "https://two"}, Path("/"))
    same = place_of({"url": "s3://b/x", "endpoint": "https://ONE/"}, Path("/"))
    assert one is not None and two is not None and same is not None
    assert (one.holds(two), one.holds(same)) == (False, True)


@pytest.mark.parametrize("raw", [None, 5, [], {}, {"url": 5}, "s3://", "text"])
def test_what_has_no_place(raw: object) -> None:
    assert place_of(raw, Path("/")) is None
