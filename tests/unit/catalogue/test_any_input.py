"""Whatever a file holds: a plan, or problems that each have a place. Never another exception."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from restore_drill.catalogue import load as loading
from restore_drill.catalogue.problems import CatalogueInvalid
from restore_drill.plan import Plan

GOOD: dict[str, Any] = {
    "version": 1,
    "include": [],
    "tiers": {"gold": {"rpo": "1h", "rto": "15m", "drill_every": "1d"}},
    "stores": {
        "nas": {"url": "file:///backups", "media": "disk"},
        "s3": {
            "url": "s3://b/p",
            "media": "cloud",
            "endpoint": "https://x",
            "ranges": 2,
            "options": {},
            "credentials": {"access_key_id": "env:A", "secret_access_key": {"command": ["a", "b"]}},
        },
    },
    "state": {"url": "file:state"},
    "defaults": {"timezone": "UTC", "expect": {"integrity": "quick"}},
    "targets": {
        "db": {
            "tier": "gold",
            "engine": "toy",
            "frozen": False,
            "sensitive": True,
            "live": {"media": "disk"},
            "checksum": {"sidecar": "{name}.sha256"},
            "decrypt": {"age": {"identity": "env:K"}},
            "retention": {"daily": 7},
            "copies": {
                "nas": {"path": "db/{time:%Y%m%d}.gz", "codecs": ["gzip"], "parts": ["{name}-wal"]},
                "other": {"store": "s3", "path": "{time:%Y%m%d}/{any}.gz", "lag": "5m", "timezone": "Asia/Tokyo"},
            },
            "expect": {
                "rows": {"a": 5, "b": {"min": 1, "max_drop": "5%"}, "ignore": ["t*"], "default": {"max": 9}},
                "queries": [{"name": "q", "sql": "select 1", "equals": 1}],
                "newest_record": {"sql": "select 1", "within": "1h"},
            },
            "limits": {"bytes": "1 GiB", "allow": ["setuid"]},
        },
        "tree": {
            "tier": "critical",
            "engine": "tree",
            "live": False,
            "copies": {"nas": {"path": "t/{time:%s}/", "latest": "t/l"}},
        },
    },
    "exceptions": [
        {
            "id": "E",
            "target": "db",
            "copy": "nas",
            "case": "rows",
            "detail": "a",
            "reason": "why",
            "approver": "me",
            "expires": "2030-01-01",
        },
    ],
}


def _paths(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from _paths(value, (*path, key))


def _at(tree: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


PATHS = list(_paths(GOOD))
NAMES = sorted(
    {str(key) for path in PATHS for key in path if isinstance(key, str)} | {"<<", "tables", "case", "", "no", "5"}
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.dates(),
    st.datetimes(),
    st.text(max_size=12),
    st.sampled_from(
        [
            "x",
            "1h",
            "5%",
            "env:X",
            "s3://b",
            "file:",
            "s3://a:b@c",
            "{time:%Y}",
            "{",
            "a/",
            "pinned",
            "http://[::1",
            "\0",
        ]
    ),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.one_of(st.sampled_from(NAMES), st.integers(), st.text(max_size=5)), inner, max_size=4),
    ),
    max_leaves=8,
)
MUTATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("replace"), st.sampled_from(PATHS), TREES),
        st.tuples(st.just("remove"), st.sampled_from(PATHS[1:]), st.none()),
        st.tuples(st.just("add"), st.sampled_from(PATHS), st.tuples(st.sampled_from(NAMES), TREES)),
        st.tuples(st.just("move"), st.sampled_from(PATHS[1:]), st.sampled_from(PATHS)),
    ),
    min_size=1,
    max_size=4,
)


def _mutate(tree: Any, mutation: tuple[str, tuple[Any, ...], Any]) -> Any:
    how, path, what = mutation
    try:
        if not path:
            return what if how == "replace" else tree
        parent = _at(tree, path[:-1])
        if how == "replace":
            parent[path[-1]] = what
        elif how == "remove":
            del parent[path[-1]]
        elif how == "move":
            parent[path[-1]] = _at(GOOD, what)
        else:
            _at(tree, path)[what[0]] = what[1]
    except (KeyError, IndexError, TypeError, AttributeError, ValueError):
        pass  # an earlier mutation took the place away
    return tree


def _load(data: bytes) -> Plan | CatalogueInvalid:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "targets.yaml")
        path.write_bytes(data)
        try:
            return loading.load(path)
        except CatalogueInvalid as error:
            return error


def _check(found: Plan | CatalogueInvalid, data: bytes) -> None:
    if isinstance(found, Plan):
        assert list(found.cases())
        return
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").splitlines() or [""]
    assert found.problems
    for problem in found.problems:
        assert 1 <= problem.line <= len(lines) + 1
        assert problem.column >= 1
        assert problem.message
        assert str(problem).startswith(f"{problem.file}:{problem.line}:{problem.column}: ")


def test_the_unchanged_catalogue_is_good() -> None:
    found = _load(yaml.safe_dump(GOOD).encode())
    assert isinstance(found, Plan), str(found)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(MUTATIONS)
def test_any_tree_is_a_plan_or_has_problems_with_places(mutations: list[Any]) -> None:
    tree = yaml.safe_load(yaml.safe_dump(GOOD))
    for mutation in mutations:
        tree = _mutate(tree, mutation)
    data = yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "replace")
    _check(_load(data), data)


TEXT = yaml.safe_dump(GOOD)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.integers(0, len(TEXT)), st.integers(0, 30), st.text("{}[]:,&*!|>'\"%@#-? \n\tnoa\u20285é", max_size=6))
@example(0, 0, "")
def test_any_change_of_the_text_is_a_plan_or_has_problems_with_places(start: int, length: int, new: str) -> None:
    data = (TEXT[:start] + new + TEXT[start + length :]).encode()
    _check(_load(data), data)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_plan_or_has_problems_with_places(text: str) -> None:
    data = text.encode("utf-8", "replace")
    assert isinstance(_load(data), CatalogueInvalid)
    _check(_load(data), data)


@pytest.mark.parametrize(
    "bomb", ["[" * 100_000, "a: &a [*a]", "{a: " * 5000, "a: " + "[a,b]," * 5000, "&a [" + "*a," * 9 + "]"]
)
def test_bombs_have_problems_with_places(bomb: str) -> None:
    found = _load(bomb.encode())
    assert isinstance(found, CatalogueInvalid)
    _check(found, bomb.encode())
