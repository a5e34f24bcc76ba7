"""The published schema says what the loader does, and every option is described by examples that both accept."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
import yaml

from restore_drill import registry
from restore_drill.catalogue import reference
from restore_drill.catalogue.gather import merge
from restore_drill.catalogue.load import load
from restore_drill.catalogue.problems import CatalogueInvalid
from restore_drill.catalogue.schema import json_schema, schema_text

DOCS = Path(__file__).parents[3] / "docs"
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

EXCEPTION = {
    "id": "E",
    "target": "orders-db",
    "case": "rto",
    "reason": "known",
    "approver": "me",
    "expires": "2030-01-01",
}
BASE: dict[str, Any] = {
    "version": 1,
    "stores": {"nas": {"url": "file:///backups", "media": "disk"}, "s3": {"url": "s3://b/p", "media": "cloud"}},
    "defaults": {"timezone": "UTC"},
    "targets": {
        "orders-db": {
            "tier": "critical",
            "engine": "sqlite",
            "copies": {"nas": {"path": "db/{time:%Y%m%d_%H%M%S}.db.gz"}, "s3": {"path": "x/{time:%Y}"}},
        },
    },
    "exceptions": [EXCEPTION],
}


def _nested(path: str, value: Any) -> Any:
    """``a.b.c`` and a value as nested mappings."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


#: Where an option of each part can be tried out.
PLACES = {
    "tiers.NAME": "tiers.gold",
    "stores.NAME": "stores.s3",
    "state": "state",
    "ledger": "ledger",
    "alerts.NAME": "alerts.oncall",
    "pings.TIER": "pings.critical",
    "prices": "prices",
    "prices.stores.NAME": "prices.stores.s3",
    "controls": "controls",
    "break_glass": "break_glass",
    "break_glass.targets.NAME": "break_glass.targets.orders-db",
    "targets.NAME": "targets.orders-db",
    "copies.NAME": "targets.orders-db.copies.nas",
    "checksum": "targets.orders-db.copies.nas.checksum",
    "checksum.signature": "targets.orders-db.copies.nas.checksum.signature",
    "expect.rows.TABLE": "targets.orders-db.expect.rows.orders",
    **{
        part: f"targets.orders-db.{part}"
        for part in (
            "retention",
            "expiry",
            "size",
            "live",
            "limits",
            "sandbox",
            "deadlines",
            "expect",
            "expect.rows",
            "expect.structure",
            "expect.newest_record",
            "expect.newest_file",
            "expect.files",
            "expect.smoke",
            "runbook",
        )
    },
}
#: What a set is made of.
MEMBERS: dict[str, Any] = {
    "shop-db": {"tier": "critical", "engine": "server", "copies": {"nas": {"path": "y/{time:%Y}.dump"}}},
    "shop-files": {
        "tier": "critical",
        "engine": "sqlite",
        "copies": {"nas": {"path": "z/{time:%Y}.tar"}, "offsite": {"store": "s3", "path": "z/{time:%Y}.tar"}},
    },
}
#: What must stand beside an option, by its part and (where it matters) its name.
BESIDE: dict[str, Any] = {
    "alerts.NAME": _nested("alerts.oncall.url", "env:X"),
    "pings.TIER": _nested("pings.critical.url", "env:X"),
    "tiers.NAME": _nested("tiers.gold", {"rpo": "1h", "rto": "1h", "drill_every": "1d"}),
    "state": {"state": {"url": "s3://drills"}},
    "expect.newest_record": _nested("targets.orders-db.expect.newest_record", {"sql": "select 1", "within": "1h"}),
    "runbook": _nested("targets.orders-db.runbook.document", "../runbooks/orders.md"),
    "runbook generated": _nested("targets.orders-db.runbook.document", None),
    "expiry": _nested("targets.orders-db.expiry.after", "60d"),
    "holds copy": _nested("targets.orders-db.copies.offsite", {"store": "s3", "path": "q/{time:%Y}"}),
    "stores.NAME options": _nested("stores.s3.url", "mirror://x"),
    "the file targets": {"exceptions": None},
    "the file sets": {"targets": MEMBERS},
    "the file prices": _nested("stores.offsite", {"url": "s3://elsewhere", "media": "object-storage"}),
    "prices stores": _nested("stores.offsite", {"url": "s3://elsewhere", "media": "object-storage"}),
    "the file stores": _nested("targets.orders-db.copies.s3", None),
    "the file exceptions": _nested("targets.orders-db.sensitive", True),
    "targets.NAME sensitive": _nested("targets.orders-db.decrypt.age.identity", "env:X"),
    "exceptions case": _nested("targets.orders-db.sensitive", True),
    "copies.NAME shared_folder": _nested("targets.orders-db.copies.nas.path", "{time:%Y-%m-%d}/orders.sql.gz"),
    "checksum.signature": _nested(
        "targets.orders-db.copies.nas.checksum.signature", {"kind": "minisign", "keys": ["file:backup.pub"]}
    ),
    "checksum sha256": _nested("targets.orders-db.frozen", True),
    "checksum sha512": _nested("targets.orders-db.frozen", True),
    "expect.rows.TABLE recorded": _nested("targets.orders-db.expect.rows.recorded", "{stem}.json"),
    "targets.NAME sample": _nested("targets.orders-db.depth", "sample"),
    "targets.NAME depends_on": _nested(
        "targets.accounts-db",
        {"tier": "critical", "engine": "sqlite", "copies": {"nas": {"path": "a/{time:%Y%m%d}.db"}}},
    ),
    "ledger required": _nested("ledger.key", "env:X"),
    "exceptions detail": _nested("targets.orders-db.expect.rows.orders", 5),
}


FILES = {"target": "shop-files", "files": "**"}
QUERY = {"name": "q", "ask": {"target": "shop-db", "sql": "select 1"}, "is_in": FILES}


def _in_set(where: str, name: str, value: Any) -> dict[str, Any]:
    """A set in which an option is set."""
    made: dict[str, Any] = {"targets": [*MEMBERS], "queries": [QUERY]}
    if where == "sets.NAME":
        return {**made, name: value}
    if where == "sets.NAME.application":
        return {**made, "application": {"image": "app:1", name: value}}
    if where == "sets.NAME.application.logins":
        return {**made, "application": {"image": "app:1", "logins": {"shop-db": {"user": "shop", name: value}}}}
    if where == "sets.NAME.queries.ask":
        asked = {"target": "shop-db", "sql": "select 1"} if name in ("target", "sql") else FILES
        return {**made, "queries": [{**QUERY, "ask": {**asked, name: value}}]}
    query = {part: rule for part, rule in QUERY.items() if (part, name) != ("is_in", "equals")}
    return {**made, "queries": [{**query, name: value}]}


def _catalogue(where: str, name: str, value: Any) -> dict[str, Any]:
    """A good catalogue in which an option is set."""
    found = merge(BASE, BESIDE.get(where, {}))
    found = merge(found, BESIDE.get(f"{where} {name}", {}))
    if where.startswith("sets."):
        return merge(found, {"targets": MEMBERS, "sets": {"shop": _in_set(where, name, value)}})
    if where == "the file":
        return {**found, name: value}
    if where == "exceptions":
        return {**found, "exceptions": [{**EXCEPTION, **({"case": "rows"} if name == "detail" else {}), name: value}]}
    if where.startswith("expect.smoke"):
        one = {"http": {name: value}} if where.endswith("http") else {name: value}
        rule = {"name": "up", **({} if "http" in (name, where[-4:]) else {"run": ["app", "check"]}), **one}
        return merge(found, _nested("targets.orders-db.expect.smoke", [rule]))
    if where == "holds":
        hold = {"id": "LH-1", "reason": "litigation", "by": "legal", name: value}
        return merge(found, _nested("targets.orders-db.holds", [hold]))
    if where == "runbook.stubs":
        rule = {"document": "../runbooks/orders.md", "stubs": [{"command": "true", name: value}]}
        return merge(found, _nested("targets.orders-db.runbook", rule))
    if where == "expect.queries":
        query = {"name": "q", "sql": "select 1", **({} if name in ("min", "max") else {"equals": 1}), name: value}
        return merge(found, _nested("targets.orders-db.expect.queries", [query]))
    return merge(found, _nested(f"{PLACES[where]}.{name}", value))


def _parts() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "the file", SCHEMA
    for name, where in reference.SECTIONS.items():
        definition = SCHEMA["$defs"][name]
        yield where, next(form for form in definition.get("anyOf", [definition]) if "properties" in form)


OPTIONS = {
    f"{where} {name}": (where, name, option) for where, form in _parts() for name, option in form["properties"].items()
}


class Everything:
    """An engine that can be asked for everything."""

    name = "sqlite"
    checks = frozenset({"integrity", "structure", "rows", "query", "newest", "files", "smoke"})
    sandboxes = ("directory", "container")
    depths = ("full", "schema", "sample")
    strictness: ClassVar[dict[str, str]] = {"not_valid": "", "sequences": ""}
    chains = True


class Reached(Everything):
    """One that applications connect to."""

    name = "server"
    port = 5432


@pytest.fixture
def project(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The layout of the project itself (where a demo is allowed), an engine, and a plug-in with a store and a check."""
    toys = sys.modules["toys_of_the_catalogue_tests"]
    toys.Everything, toys.Reached = Everything, Reached  # type: ignore[attr-defined]
    engines = {"sqlite": (f"{toys.__name__}:Everything", ""), "server": (f"{toys.__name__}:Reached", "")}
    monkeypatch.setitem(registry.BUILT_IN, "engines", engines)
    points = {
        "stores": {"mirror": EntryPoint("mirror", f"{toys.__name__}:MirrorStore", "restore_drill.stores")},
        "checks": {"invoices-render": EntryPoint("invoices-render", f"{toys.__name__}:x", "restore_drill.checks")},
    }
    monkeypatch.setattr(registry, "_third_party", lambda plug: points.get(plug, {}))
    (here / "pyproject.toml").write_text("[project]\nname = 'pytest-restore-drill'\n")
    for name in ("fixtures", "drills/targets.d"):
        (here / name).mkdir(parents=True)
    (here / "drills" / "targets.d" / "empty.yaml").write_text("{}\n")
    (here / "drills" / "orders-db.structure").write_text("table: orders\n")
    (here / "runbooks").mkdir()
    (here / "runbooks" / "orders.md").write_text("# Orders database\n\n1. `cp a b`\n")
    (here / "drills" / "controls").mkdir()
    (here / "drills" / "controls" / "house.yaml").write_text(
        "{id: house, title: H, version: 1, source: H, read: primary, note: N}\n"
    )
    (here / "drills" / "keys").mkdir()
    for name in ("ledger.pub", "ledger-2025.pub"):
        (here / "drills" / "keys" / name).write_text("-----BEGIN PUBLIC KEY-----\n")
    return here


def _load(catalogue: dict[str, Any]) -> None:
    path = Path("drills", "targets.yaml")
    path.write_text(yaml.safe_dump(catalogue), "utf-8")
    load(path)


def _schema_errors(catalogue: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(catalogue)]


def test_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert SCHEMA["$id"] and SCHEMA["title"]


def test_every_option_has_a_description_and_an_example() -> None:
    assert len(OPTIONS) > 100
    lacking = [
        name
        for name, (_, _, option) in OPTIONS.items()
        if not option.get("description", "").endswith(".") or not option.get("examples")
    ]
    assert lacking == []


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("option", OPTIONS)
def test_every_example_is_accepted_by_schema_and_loader(option: str) -> None:
    where, name, schema = OPTIONS[option]
    for example in schema["examples"]:
        catalogue = _catalogue(where, name, example)
        assert _schema_errors(catalogue) == []
        _load(catalogue)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("option", OPTIONS)
def test_no_option_takes_anything(option: str) -> None:
    where, name, _ = OPTIONS[option]
    catalogue = _catalogue(where, name, [[{"no option": "takes this"}]])
    assert _schema_errors(catalogue)
    with pytest.raises(CatalogueInvalid):
        _load(catalogue)


SHORT_FORMS = [
    ("state", "file:../state"),
    ("targets.orders-db.checksum", "pinned"),
    ("targets.orders-db.live", False),
    ("targets.orders-db.sandbox", "container"),
    ("targets.orders-db.expect.rows.customers", 59),
    ("targets.orders-db.expect.rows.tables.customers", 59),
    ("targets.orders-db.expect.integrity", False),
    ("targets.orders-db.expect.structure", "off"),
    ("include", "targets.d/*.yaml"),
    ("targets.orders-db.copies.s3.decrypt.age.identity", {"command": ["vault", "x"]}),
    ("stores.s3.endpoint", "env:X"),
    ("targets.orders-db.grace", None),
    ("targets.orders-db.expect.rows", None),
    ("defaults.tier", "critical"),
    ("defaults.expect.rows.orders", {"min": 5}),
    ("defaults.copies.nas.lag", "5m"),
]


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(("path", "value"), SHORT_FORMS)
def test_short_forms_are_accepted_by_schema_and_loader(path: str, value: Any) -> None:
    catalogue = {**BASE, "defaults": {**BASE["defaults"], "grace": "1h", "expect": {"rows": {"x": 1}}}}
    name, _, rest = path.partition(".")
    # Not merged by our own rules, under which null would remove the key.
    catalogue[name] = _set(catalogue.get(name), rest.split("."), value) if rest else value
    assert _schema_errors(catalogue) == []
    _load(catalogue)


def _set(tree: Any, path: list[str], value: Any) -> Any:
    known = tree if isinstance(tree, dict) else {}
    return {**known, path[0]: _set(known.get(path[0]), path[1:], value) if path[1:] else value}


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("version", 2),
        ("version", "1"),
        ("target", {}),
        ("targets.orders-db.tier", None),
        ("targets.orders-db.ownr", "me"),
        ("targets.orders db", BASE["targets"]["orders-db"]),
        ("targets.orders-db.grace", 15),
        ("targets.orders-db.grace", "soon"),
        ("targets.orders-db.expect.rows.orders", "many"),
        ("targets.orders-db.expect.rows.orders", {"max_drop": 5}),
        ("targets.orders-db.expect.rows.orders", {"mn": 5}),
        ("targets.orders-db.copies", {}),
        ("targets.orders-db.live", True),
        ("targets.orders-db.copies.nas.path", None),
        ("targets.orders-db.checksum", "etag"),
        ("stores.s3.ranges", 99),
        ("targets.orders-db.decrypt", {"age": {"identity": "AGE-SECRET-KEY-1"}}),
        ("stores.nas.media", None),
        ("defaults.expect.newest_record", {"sql": "x", "within": "1h"}),
        ("defaults.graec", "1h"),
        ("include", [5]),
        ("targets.orders-db.expect.integrity", True),
        ("exceptions", [{**EXCEPTION, "expires": "soon"}]),
        ("targets.orders-db.limits.bytes", "10G"),
        ("targets.orders-db.size.max_drop", 0.5),
        ("state", 5),
    ],
)
def test_mistakes_are_refused_by_schema_and_loader(path: str, value: Any) -> None:
    catalogue = _set(BASE, path.split("."), value)
    assert _schema_errors(BASE) == []
    assert _schema_errors(catalogue)
    with pytest.raises(CatalogueInvalid):
        _load(catalogue)


@pytest.mark.usefixtures("project")
@pytest.mark.parametrize("name", ["tier", "engine", "copies"])
def test_what_neither_target_nor_defaults_say_is_missing(name: str) -> None:
    value = BASE["targets"]["orders-db"][name]
    without = {**BASE, "targets": {"orders-db": {k: v for k, v in BASE["targets"]["orders-db"].items() if k != name}}}
    assert _schema_errors(without) == [f"{name!r} is a required property"]
    with pytest.raises(CatalogueInvalid):
        _load(without)
    inherited = {**without, "defaults": {**BASE["defaults"], name: value}}
    assert _schema_errors(inherited) == []
    _load(inherited)


def test_included_files_have_a_schema_of_their_own() -> None:
    included = jsonschema.Draft202012Validator({"$ref": "#/$defs/Included", "$defs": SCHEMA["$defs"]})
    assert included.is_valid({name: BASE[name] for name in ("targets", "stores", "exceptions")})
    assert not included.is_valid({"version": 1})


def test_the_guides_example_is_accepted() -> None:
    example = re.search(r"```yaml\n(.*?)```", (DOCS / "catalogue.md").read_text("utf-8"), re.DOTALL)
    assert example is not None
    assert _schema_errors(json.loads(json.dumps(yaml.safe_load(example[1]), default=str))) == []


def test_the_published_schema_is_up_to_date() -> None:
    assert (DOCS / "catalogue.schema.json").read_text("utf-8") == schema_text(), (
        "run python -m restore_drill.catalogue.schema > docs/catalogue.schema.json"
    )


def test_the_guides_table_is_up_to_date() -> None:
    page = (DOCS / "catalogue.md").read_text("utf-8")
    assert reference.insert(page) == page, "run python -m restore_drill.catalogue.reference docs/catalogue.md"


def test_the_table_has_every_part_of_the_schema() -> None:
    parts = {name for name in SCHEMA["$defs"] if not name.startswith("Partial")} - {"Included", "JsonValue"}
    assert parts == set(reference.SECTIONS)
    table = reference.reference()
    assert [name for _, name, _ in OPTIONS.values() if f"| `{name}` |" not in table] == []


def test_a_page_without_markers_is_not_rewritten() -> None:
    with pytest.raises(ValueError, match="the page lacks"):
        reference.insert("# A page\n")
