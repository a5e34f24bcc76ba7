"""Generated runbooks of servers: what is asked of which database, and whose accounts are made of a dump's own words."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.bench import Bench, drilled
from tests.support.plans import planned_copy, planned_target

from restore_drill.recovery.book import WrittenStep
from restore_drill.recovery.runbook import Runbook, compose

DUMP = """\
ALTER TABLE public.orders OWNER TO shop;
ALTER TABLE public.items OWNER TO "Shop Team";
GRANT SELECT ON TABLE public.orders TO reader;
GRANT SELECT ON TABLE public.orders TO PUBLIC;
REVOKE ALL ON SCHEMA public FROM other;
ALTER DEFAULT PRIVILEGES FOR ROLE keeper IN SCHEMA public GRANT SELECT ON TABLES TO reader;
1\tALTER TABLE x OWNER TO forged;
ALTER TABLE x OWNER TO evil superuser;
ALTER TABLE x OWNER TO "a$make$; drop database shop; --";
"""
TRIGGERS = """\
/*!50003 CREATE*/ /*!50017 DEFINER=`app`@`%`*/ /*!50003 TRIGGER t BEFORE INSERT ON o FOR EACH ROW
CREATE DEFINER=`job`@`localhost` PROCEDURE p(IN days INT)
INSERT INTO notes VALUES ('CREATE DEFINER=`forged`@`%` ');
"""


def of_server(engine: str, form: str, databases: list[str], counts: dict[str, int], **more: Any) -> Runbook:
    """Of a drill whose engine said of the restore which databases came back, and more."""
    copy = planned_copy("nas", "{any}.sql")
    known = drilled(copy, "d.sql", b"", [{"format": form}])
    known.target = planned_target(copy, name="shop-db", engine=engine)
    restored = known.evidence["stages"][1]["facts"]
    restored |= {"facts": {"databases": databases, **more}}
    known.evidence["stages"][2]["facts"]["counts"] = counts
    return compose(known)


def titled(runbook: Runbook, title: str) -> WrittenStep:
    return next(step for step in runbook.steps if step.title == title)


def made(step: WrittenStep, dump: str, bench: Bench, name: str) -> list[str]:
    """The file that a step makes of a dump, without the command that hands it to the server."""
    (bench.work / "verified").mkdir(parents=True)
    (bench.work / "verified" / "d.sql").write_text(dump)
    script = WrittenStep("", step.commands[:-1]).script()
    subprocess.run(["bash", "-e", "-c", script], env=bench.variables, check=True)
    return (bench.work / name).read_text().splitlines()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_roles_are_made_of_statements_and_of_nothing_else(bench: Bench) -> None:
    runbook = of_server("postgres", "postgres-script", ["restored"], {"orders": 1}, unnamed=["restored"], stood_in=1)
    lines = made(titled(runbook, "Make the roles"), DUMP, bench, "roles")
    roles = [line.removeprefix("do $make$ begin create role ").partition(" nologin;")[0] for line in lines]
    assert roles == sorted(['"Shop Team"', "keeper", "other", "reader", "shop"])
    assert all(line.endswith("exception when duplicate_object then null; end $make$;") for line in lines)


def test_accounts_are_made_of_definers_and_of_nothing_else(bench: Bench) -> None:
    runbook = of_server("mariadb", "mysql-dump", ["a/b&c"], {"orders": 1}, unnamed=[], stood_in=2)
    lines = made(titled(runbook, "Make the accounts"), TRIGGERS, bench, "accounts")
    grant = "account lock; grant all privileges on `a/b&c`.* to"
    assert lines == [
        f"create user if not exists `app`@`%` {grant} `app`@`%`;",
        f"create user if not exists `job`@`localhost` {grant} `job`@`localhost`;",
    ]


@pytest.mark.parametrize(
    ("engine", "form", "title"),
    [
        ("postgres", "postgres-script", "Make the roles"),
        ("postgres", "postgres-custom", "Make the roles"),
        ("mariadb", "mysql-dump", "Make the accounts"),
    ],
)
@pytest.mark.parametrize(
    ("told", "made"), [({"stood_in": 3}, True), ({"stood_in": 0}, False), ({}, True)], ids=["some", "none", "not told"]
)
def test_roles_and_accounts_are_made_where_the_drill_had_to(
    engine: str, form: str, title: str, told: dict[str, Any], made: bool
) -> None:
    runbook = of_server(engine, form, ["shop"], {"orders": 1}, **told)
    assert (title in [step.title for step in runbook.steps]) is made


@pytest.mark.parametrize(
    ("facts", "loads", "name"),
    [
        ({"databases": ["restored"], "unnamed": ["restored"], "provided": ["restored"]}, "a new database", "shop-db"),
        ({"databases": ["restored"], "unnamed": [], "provided": []}, "the script", "restored"),
        # As the catalogue calls it; the script makes none.
        ({"databases": ["shop"], "unnamed": [], "provided": ["shop"]}, "a new database", "shop"),
        ({"databases": ["shop"], "unnamed": [], "provided": []}, "the script", "shop"),
        # Evidence from before it was told.
        ({"databases": ["restored"]}, "a new database", "shop-db"),
        ({"databases": ["shop"]}, "the script", "shop"),
    ],
)
def test_only_what_the_dump_has_no_name_for_is_nameless(facts: dict[str, Any], loads: str, name: str) -> None:
    runbook = of_server("postgres", "postgres-script", facts.pop("databases"), {"orders": 1}, stood_in=0, **facts)
    titles = [step.title for step in runbook.steps]
    assert ("Load the script" in titles, "Load the dump into a new database" in titles) == (
        loads == "the script",
        loads != "the script",
    )
    assert f'alter database "{name}" rename to "{name}_rejected"' in runbook.rollback[0].script()


@pytest.mark.parametrize(("unnamed", "name"), [(["restored"], "shop-db"), ([], "restored")])
def test_a_database_of_mysql_is_nameless_where_the_dump_has_no_name_for_it(unnamed: list[str], name: str) -> None:
    runbook = of_server("mysql", "mysql-dump", ["restored"], {"orders": 1}, unnamed=unnamed, stood_in=0)
    assert f"drop database `{name}`" in runbook.rollback[0].script()


@pytest.mark.parametrize(
    ("engine", "form", "databases", "asked", "back"),
    [
        (
            "postgres",
            "postgres-script",
            ["restored"],
            'public."orders"',
            'alter database "shop-db" rename to "shop-db_rejected";',
        ),
        (
            "postgres",
            "postgres-script",
            ["shop", "log"],
            'public."orders"',
            'alter database "log" rename to "log_rejected";',
        ),
        (
            "postgres",
            "postgres-custom",
            ["shop"],
            'public."orders"',
            'alter database "shop" rename to "shop_rejected";',
        ),
        ("mysql", "mysql-dump", ["shop", "log"], "`orders`", "drop database `shop`; drop database `log`"),
        ("mariadb", "mysql-dump", ["restored"], "`orders`", "drop database `shop-db`"),
    ],
)
def test_databases_are_called_by_their_names(
    engine: str, form: str, databases: list[str], asked: str, back: str
) -> None:
    counts = {"orders": 1, "log.entries": 2}
    runbook = of_server(engine, form, databases, counts, stood_in=0)
    script = runbook.verification[0].script()
    assert f"count(*) from {asked};" in script or f"count(*)) from {asked};" in script
    if engine == "postgres":
        assert 'from "log"."entries";' in script  # a schema
    elif len(databases) > 1:
        assert "from `log`.`entries`;" in script  # another database
    assert back in runbook.rollback[0].script()
    assert "test -e" in runbook.going_live[0].script()
    loads = runbook.steps[-1].script()
    overwrites: Any = "createdb" in loads or "test -z" in loads
    assert overwrites, "what exists could be written into"


#: Stands in for a server's client: says what it was asked, and answers with what there is.
CLIENT = """#!/bin/sh
printf '%s\\n' "$*" >>"$HOME/asked"
case "$*" in *datname\\ in*|*schema_name\\ in*) cat "$HOME/there"; exit "$(cat "$HOME/status")" ;; esac
cat >>"$HOME/asked"
"""
KINDS = [
    ("mysql", "mysql-dump", ["shop", "log"], "mysql", "drop database `shop`"),
    ("postgres", "postgres-script", ["shop", "log"], "psql", 'alter database "shop" rename to "shop_rejected";'),
    ("postgres", "postgres-custom", ["shop"], "psql", 'alter database "shop" rename to "shop_rejected";'),
]


@pytest.mark.parametrize(("engine", "form", "databases", "client", "back"), KINDS)
@pytest.mark.parametrize("there", ["", "shop", "not known"])
def test_what_it_did_not_make_is_not_taken_away(
    bench: Bench, engine: str, form: str, databases: list[str], client: str, back: str, there: str
) -> None:
    """A person whose load was refused, because the database runs there, may still come to the rollback."""
    runbook = of_server(engine, form, databases, {"orders": 1}, unnamed=[], stood_in=0)
    for name in (client, "createdb", "pg_restore"):
        (bench.root / "bin" / name).write_text(CLIENT)
        (bench.root / "bin" / name).chmod(0o755)
    (bench.root / "there").write_text("" if there == "not known" else there)
    (bench.root / "status").write_text("1" if there == "not known" else "0")
    for place in ("verified", "accepted"):
        (bench.work / place).mkdir(parents=True)
    (bench.work / "verified" / "d.sql").write_text("select 1;\n")
    loads = runbook.steps[-1]
    if form == "postgres-custom":  # beside the old one: only going live changes anything
        assert bench.run([loads]) == (1, "")
        loads = runbook.going_live[0]
        if not there:
            (bench.work / "accepted" / "shop-db").touch()
    done, said = bench.run([loads])
    assert done == (0 if there else 1)
    # A client that fails says so itself.
    assert ("STOPPED: " in said) is (bool(there) and (there == "shop" or form == "postgres-custom"))
    assert bench.run(list(runbook.rollback))[0] == (0 if there else 1)
    asked = (bench.root / "asked").read_text()
    assert (back in asked) is not bool(there)
    assert bench.run(list(runbook.rollback))[0] == 0, "a second time there is nothing left to take back"


def test_the_role_that_loads_is_not_made_anew(bench: Bench) -> None:
    runbook = of_server("postgres", "postgres-script", ["shop"], {"orders": 1}, unnamed=[], stood_in=0)
    command = next(each.text for each in runbook.steps[-1].commands if each.text.startswith("sed "))
    (bench.work / "verified").mkdir(parents=True)
    made = ["CREATE ROLE backup_admin;", 'CREATE ROLE "Shop Team";', "CREATE ROLE postgre;", "CREATE ROLE shop;"]
    for user, gone in {"backup_admin": made[0], "Shop Team": made[1], "postgres": ""}.items():
        (bench.work / "verified" / "d.sql").write_text("\n".join(made) + "\n")
        bench.variables["PGUSER"] = user
        assert bench.type([command]) == (1, "")
        assert (bench.work / "script").read_text().splitlines() == [each for each in made if each != gone]


def test_names_that_a_server_takes_for_signs_are_asked_for_as_they_are() -> None:
    table = "a\\'b`"
    script = of_server("mariadb", "mysql-dump", ["shop"], {table: 3}, unnamed=[], stood_in=0).verification[0].script()
    assert "select concat('a\\\\''b`', '|', count(*)) from `a\\'b```;" in script
    assert f"\n{table}|3\n" in script
    assert "--raw" in script
