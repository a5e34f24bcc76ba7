from __future__ import annotations

import gc
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from restore_drill.catalogue.load import load
from restore_drill.catalogue.problems import CatalogueInvalid, Problem
from restore_drill.plan import Plan

DOCS = Path(__file__).parents[3] / "docs"

MANY = """\
version: 1
tiers:
  gold: {rpo: 15, rto: 1:30, drill_evry: 1d}
stores:
  nas: {url: file:///backups, media: disk, region: eu}
  cloud: {url: s3://, media: object-storage, credentials: {access_key_id: hunter2, secret_access_key: env:X}}
defaults: {timezone: Europa/Berlin, expect: {integrity: ful}}
include: more/*.yaml
targets:
  orders-db:
    tier: golden
    engine: toi
    owner: no
    rows: {a: 5}
    copies:
      nas: {path: "{tim:%Y}", parts: a}
      nass: {path: "{time:%Y-%m-%d}.gz", timezone: UTC}
    expect:
      rows: {customers: -59, orders: {min: 5, max: 3}}
      queries:
        - {name: every item, sql: 5, equals: true}
  Orders-DB:
    engine: tree
    tier: gold
    copies: {}
exceptions:
  - {id: EX-1, target: orders, case: row, reason: legacy, approver: , expires: 2027-02-30}
"""

MANY_FOUND = """\
targets.yaml:3:3: 'drill_every' is missing in 'gold'
      gold: {rpo: 15, rto: 1:30, drill_evry: 1d}
      ^
  hint: How often every copy must pass a whole drill, for example drill_every: 1d
targets.yaml:3:15: 'rpo' needs a number with a unit, such as 15m, 1h30m or 1 week, not the number 15
      gold: {rpo: 15, rto: 1:30, drill_evry: 1d}
                  ^
targets.yaml:3:24: 1:30 is the number 90 in YAML 1.1 (base 60) and text in YAML 1.2
      gold: {rpo: 15, rto: 1:30, drill_evry: 1d}
                           ^
  hint: give a duration its units (1h30m, 90s); put it in quotes if it is text: '1:30'
targets.yaml:3:30: unknown option 'drill_evry'
      gold: {rpo: 15, rto: 1:30, drill_evry: 1d}
                                 ^
  hint: did you mean 'drill_every'?
targets.yaml:5:44: file: stores have no option 'region'
      nas: {url: file:///backups, media: disk, region: eu}
                                               ^
  hint: remove it, or correct the url
targets.yaml:6:16: an s3: url needs a bucket
  hint: write s3://bucket/prefix
targets.yaml:6:75: 'access_key_id': a secret is never in the catalogue: write env:NAME, file:PATH, sops:FILE#KEY or {command: [program, ...]}
targets.yaml:7:22: 'timezone' cannot be used: 'Europa/Berlin' is not a time zone of the IANA database, such as Europe/Berlin or UTC
    defaults: {timezone: Europa/Berlin, expect: {integrity: ful}}
                         ^
targets.yaml:7:57: 'integrity' may be 'full', 'quick' or 'off', not the text 'ful'
    defaults: {timezone: Europa/Berlin, expect: {integrity: ful}}
                                                            ^
  hint: did you mean 'full'?
targets.yaml:11:11: there is no tier 'golden'
        tier: golden
              ^
  hint: did you mean 'gold'?
targets.yaml:12:13: there is no engine 'toi'
        engine: toi
                ^
  hint: did you mean 'toy'?
targets.yaml:13:12: 'owner' needs text, not the truth value that YAML reads in no
        owner: no
               ^
  hint: put it in quotes: 'no'
targets.yaml:14:5: unknown option 'rows'
        rows: {a: 5}
        ^
  hint: 'rows' belongs under expect
targets.yaml:16:19: 'path' cannot be used: unknown field {tim}; fields are {time:...}, {kind:...}, {seq}, {rotation}, {part} and {any}
          nas: {path: "{tim:%Y}", parts: a}
                      ^
targets.yaml:16:38: 'parts' needs a list ([one, two]), not the text 'a'
          nas: {path: "{tim:%Y}", parts: a}
                                         ^
  hint: put it in brackets: [a]
targets.yaml:17:7: there is no store 'nass' (a copy uses the store of its own name)
          nass: {path: "{time:%Y-%m-%d}.gz", timezone: UTC}
          ^
  hint: did you mean 'nas'?
targets.yaml:19:25: 'customers' is -59, and may be at least 0
          rows: {customers: -59, orders: {min: 5, max: 3}}
                            ^
targets.yaml:19:30: min (5) is above max (3): no count can satisfy both
          rows: {customers: -59, orders: {min: 5, max: 3}}
                                 ^
targets.yaml:21:35: 'sql' needs text, not the number 5
            - {name: every item, sql: 5, equals: true}
                                      ^
  hint: put it in quotes: '5'
targets.yaml:21:46: 'equals' needs a number or text, not the truth value that YAML reads in true
            - {name: every item, sql: 5, equals: true}
                                                 ^
  hint: put it in quotes: 'true'
targets.yaml:22:3: the target 'Orders-DB' differs from 'orders-db' only by case
      Orders-DB:
      ^
  hint: rename one: file systems and reports mix them up
targets.yaml:25:5: 'copies' is empty
        copies: {}
        ^
targets.yaml:27:24: there is no target 'orders'
      - {id: EX-1, target: orders, case: row, reason: legacy, approver: , expires: 2027-02-30}
                           ^
  hint: did you mean 'orders-db'?
targets.yaml:27:38: there is no case 'row'
      - {id: EX-1, target: orders, case: row, reason: legacy, approver: , expires: 2027-02-30}
                                         ^
  hint: did you mean 'rows'?
targets.yaml:27:69: 'approver' needs text, not nothing
      - {id: EX-1, target: orders, case: row, reason: legacy, approver: , expires: 2027-02-30}
                                                                        ^
  hint: write a value, or remove the key
targets.yaml:27:80: 2027-02-30 is not a day of the calendar
      - {id: EX-1, target: orders, case: row, reason: legacy, approver: , expires: 2027-02-30}
                                                                                   ^
  hint: correct the date, or put it in quotes if it is text
more/a.yaml:3:30: 'tier' cannot be used: 'very important' is not usable as a name: letters, digits, '-', '_' and '.', at most 63, no spaces
      wiki: {engine: tree, tier: very important, copies: {nas: {path: "w/{time:%Y%m%d}/"}}, sandbox: cloud}
                                 ^
more/a.yaml:3:98: there is no sandbox 'cloud'
      wiki: {engine: tree, tier: very important, copies: {nas: {path: "w/{time:%Y%m%d}/"}}, sandbox: cloud}
                                                                                                     ^
  hint: known: directory, container
more/a.yaml:4:1: unknown option 'target'
    target: 5
    ^
  hint: did you mean 'targets'?
the catalogue has 29 problems."""  # noqa: E501 - as it is printed


def test_everything_is_reported_in_one_pass(plan: Callable[..., Plan]) -> None:
    included = """
        targets:
          wiki: {engine: tree, tier: very important, copies: {nas: {path: "w/{time:%Y%m%d}/"}}, sandbox: cloud}
        target: 5
        """
    with pytest.raises(CatalogueInvalid) as caught:
        plan(MANY, a=included)
    assert str(caught.value) == MANY_FOUND
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("text", ["[]", "5", "text", "- a: 1"])
def test_what_is_no_mapping_is_no_catalogue(only_problem: Callable[..., str], text: str) -> None:
    assert only_problem(text).startswith("targets.yaml:1:1: a catalogue is a mapping")


def test_a_missing_file_is_a_problem(here: Path) -> None:
    with pytest.raises(CatalogueInvalid) as caught:
        load(Path("absent.yaml"))
    assert "absent.yaml:1:1: the file cannot be read: No such file or directory" in str(caught.value)


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(good: str, here: Path, enabled: bool) -> None:
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        _load(here, good.encode())
        assert gc.isenabled() is enabled
        with pytest.raises(CatalogueInvalid):
            _load(here, b"[]")
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


@pytest.mark.parametrize("part", ["tiers", "stores", "targets", "exceptions", "defaults"])
@pytest.mark.parametrize("value", ["5", "text", "", "[[]]", "{a: 5}", "[a]", "{5: {}}"])
def test_parts_of_the_wrong_shape_are_problems(problems: Callable[..., list[Problem]], part: str, value: str) -> None:
    found = problems(f"version: 1\n{part}: {value}\n")
    assert all(problem.line in (1, 2) for problem in found)
    assert any(problem.line == 2 for problem in found) or (part, value) == ("defaults", "{a: 5}")


def test_line_ends_marks_and_tabs_of_other_systems(good: str, here: Path) -> None:
    expected = [target.name for target in _load(here, good.encode()).targets]
    assert [target.name for target in _load(here, b"\xef\xbb\xbf" + good.encode()).targets] == expected
    assert [target.name for target in _load(here, good.replace("\n", "\r\n").encode()).targets] == expected
    with pytest.raises(CatalogueInvalid) as caught:
        _load(here, good.replace("    tier: critical", "\ttier: critical").encode())
    assert [(problem.line, problem.hint) for problem in caught.value.problems] == [
        (9, "indent with spaces; YAML does not allow tabs")
    ]


def _load(here: Path, data: bytes) -> Plan:
    (here / "targets.yaml").write_bytes(data)
    return load(Path("targets.yaml"))


def test_the_example_of_the_guide_is_a_good_catalogue(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from restore_drill import registry

    example = re.search(r"```yaml\n(.*?)```", (DOCS / "catalogue.md").read_text("utf-8"), re.DOTALL)
    assert example is not None
    engines = registry.BUILT_IN["engines"]
    monkeypatch.setitem(registry.BUILT_IN, "engines", {"sqlite": engines["toy"], "files": engines["tree"]})
    (here / "targets.yaml").write_text(example[1], "utf-8")
    (here / "targets.d").mkdir()
    (here / "targets.d" / "more.yaml").write_text("stores: {}\n")
    assert [target.name for target in load(Path("targets.yaml")).targets] == ["orders-db", "accounts-2019"]
