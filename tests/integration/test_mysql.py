"""The mariadb engine with a real server in each sandbox: real dumps, faults beside undamaged twins, hostile text."""

# ruff: noqa: E501 - statements and dumps stand as they are

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pymysql
import pytest
from tests.support import foreign
from tests.support.mariadb_source import CUSTOMERS, ORDERS, Source

from restore_drill.engines.base import Restored, RestoreOptions
from restore_drill.engines.mysql import feeding
from restore_drill.engines.mysql.engine import MariadbEngine, MysqlEngine
from restore_drill.engines.mysql.restored import RestoredMysql
from restore_drill.engines.mysql.server import MysqlServer
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.sandboxes.base import Limits, Sandbox, SandboxOptions
from restore_drill.sandboxes.container import ContainerSandbox
from restore_drill.sandboxes.directory import DirectorySandbox

MakeSandbox = Callable[[str], Sandbox]
STRUCTURE = {
    "table": ["Customers", "measured", "of two", "old", "orders", "other-one.notes", "ticks"],
    "sequence": ["numbers"],
    "view": ["best", "totals"],
    "trigger": ["no_less"],
    "procedure": ["tidy"],
    "function": ["gross"],
    "event": ["tick"],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("mysql")


@pytest.fixture(scope="module")
def new_sandbox(place: Path, request: pytest.FixtureRequest) -> Iterator[MakeSandbox]:
    """Makes and enters sandboxes of a kind; all are disposed of at the end, and leave nothing behind."""
    made: list[Sandbox] = []

    def make(kind: str) -> Sandbox:
        base = place / "sandboxes"
        base.mkdir(exist_ok=True)
        name = f"one-{len(made)}"
        sandbox: Sandbox
        if kind == "container":
            options = SandboxOptions(image=request.getfixturevalue("stand_in")("mariadb"))
            sandbox = ContainerSandbox(base, run="mysql-tests", name=name, limits=Limits(), options=options)
        else:
            sandbox = DirectorySandbox(base, run="mysql-tests", name=name, limits=Limits())
        made.append(sandbox.__enter__())
        return sandbox

    yield make
    assert [sandbox.dispose().left for sandbox in made] == [()] * len(made)


@pytest.fixture(scope="module")
def source(new_sandbox: MakeSandbox, require_program: Callable[[str], str]) -> Source:
    for name in ("mariadbd", "mariadb", "mariadb-dump"):
        require_program(name)
    return Source(new_sandbox("directory"))


@pytest.fixture(scope="module")
def shop(source: Source, place: Path) -> bytes:
    """One database, as mariadb-dump writes it."""
    return source.dump(place / "shop.sql", "shop").read_bytes()


@pytest.fixture(scope="module")
def tables(source: Source, place: Path) -> bytes:
    """The same without its sequence: tables that several clients may load at once."""
    return source.dump(place / "tables.sql", "--ignore-table=shop.numbers", "shop").read_bytes()


@pytest.fixture
def several_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every table is worth a client of its own."""
    monkeypatch.setattr(feeding, "WORTH", 1)


@pytest.fixture(scope="module")
def everything(source: Source, place: Path) -> bytes:
    return source.dump(place / "all.sql", "--all-databases").read_bytes()


def restore(
    text: bytes, sandbox: Sandbox, engine: type[MysqlEngine] = MariadbEngine, **settings: object
) -> RestoredMysql:
    path = sandbox.work / "payload-0"
    path.write_bytes(text)
    payload = Payload(PayloadForm.FILE, path, engine.recognises(text[:1024]) or "", len(text))
    restored = engine().restore([payload], sandbox, RestoreOptions(deadline=120, settings=settings, threads=2))
    assert isinstance(restored, RestoredMysql)
    return restored


@pytest.fixture(scope="module")
def restored(new_sandbox: MakeSandbox, shop: bytes) -> RestoredMysql:
    """One restored shop that tests may ask, and do no harm to."""
    return restore(shop, new_sandbox("directory"))


# --- what comes back ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["directory", "container"])
def test_everything_comes_back(kind: str, new_sandbox: MakeSandbox, everything: bytes) -> None:
    sandbox = new_sandbox(kind)
    restored = restore(everything, sandbox)
    counts = restored.row_counts()
    assert counts == {
        "Customers": CUSTOMERS, "orders": ORDERS, "of two": 2, "measured": 500, "old": 50, "ticks": 0,
        "other-one.notes": 2,
    }  # fmt: skip
    structure = restored.structure()
    assert {kind: structure[kind] for kind in STRUCTURE} == STRUCTURE
    assert {"orders.of_customer", "of two.self"} <= set(structure["foreign key"])
    integrity = restored.integrity()
    assert (integrity["problems"], integrity.get("undone")) == ([], None)
    assert "2 foreign keys" in integrity["checked"]
    assert restored.facts["databases"] == ["shop", "other-one"]
    assert any("app@10.%" in note for note in restored.notes)
    assert any("accounts and privileges are not verified" in note for note in restored.notes)
    assert connected(restored) == ORDERS
    restored.close()


@pytest.mark.usefixtures("several_clients")
@pytest.mark.parametrize("kind", ["directory", "container"])
def test_what_several_clients_load_is_the_same(
    kind: str, tables: bytes, restored: RestoredMysql, new_sandbox: MakeSandbox
) -> None:
    loaded = restore(tables, new_sandbox(kind))
    assert (loaded.facts["clients"], restored.facts["clients"]) == (2, 1)
    assert loaded.row_counts() == restored.row_counts()
    assert loaded.structure() == {kind: names for kind, names in restored.structure().items() if kind != "sequence"}
    every_row = [f"SELECT * FROM `{name.replace('`', '``')}`" for name in loaded.row_counts()]
    found = [each._server.ask(every_row, seconds=30, database="shop") for each in (loaded, restored)]
    rows = [[sorted(answer.rows) for answer in answers] for answers in found]
    assert rows[0] == rows[1]
    assert sorted(map(len, rows[0])) == sorted(loaded.row_counts().values())
    assert loaded.integrity()["problems"] == []


def connected(restored: Restored) -> int:
    """What PyMySQL is answered over the socket."""
    address = urlsplit(restored.dsn())
    options = parse_qs(address.query)
    with (
        pymysql.connect(
            unix_socket=options["unix_socket"][0], user=address.username, database=unquote(address.path[1:])
        ) as connection,
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT COUNT(*) FROM orders")
        found = cursor.fetchone()
        with pytest.raises(pymysql.err.OperationalError):
            cursor.execute("DELETE FROM orders")
    assert found
    return int(found[0])


@pytest.mark.parametrize(
    "options", [["--hex-blob", "--skip-extended-insert"], ["--skip-comments", "--tz-utc=0"]], ids=str
)
def test_other_ways_of_dumping(options: list[str], source: Source, new_sandbox: MakeSandbox, place: Path) -> None:
    text = source.dump(place / "other.sql", *options, "shop").read_bytes()
    restored = restore(text, new_sandbox("directory"))
    same = (
        "SELECT (SELECT BIT_XOR(CRC32(CONCAT_WS('|', id, customer_id, amount, tax, twice, placed))) FROM orders), "
        "(SELECT BIT_XOR(CRC32(CONCAT_WS('|', id, HEX(name), created_at, HEX(picture), HEX(note), flags, HEX(j)))) "
        "FROM `Customers`), (SELECT BIT_XOR(CRC32(CONCAT_WS('|', at, value))) FROM measured), "
        "(SELECT BIT_XOR(CRC32(CONCAT_WS('|', id, what))) FROM old)"
    )
    asked = source.server.ask([same], seconds=60, database="shop")[0].rows
    name = str(restored.facts["databases"][0])
    assert name == ("restored" if "--skip-comments" in options else "shop")
    assert restored.facts["unnamed"] == (["restored"] if "--skip-comments" in options else [])
    assert restored._server.ask([same], seconds=60, database=name)[0].rows == asked
    assert len(set(asked[0])) == 4


def test_five_hundred_tables(source: Source, new_sandbox: MakeSandbox, place: Path) -> None:
    tables = "".join(
        f"CREATE TABLE many.t{n} (id INT PRIMARY KEY, s VARCHAR(9)); INSERT INTO many.t{n} VALUES ({n}, 'x');"
        for n in range(500)
    )
    source.run(
        f"CREATE DATABASE many; {tables} "
        "CREATE TABLE many.large (id INT PRIMARY KEY) SELECT seq AS id FROM mysql.seq_1_to_500000;"
    )
    text = source.dump(place / "many.sql", "many").read_bytes()
    source.run("DROP DATABASE many")
    restored = restore(text, new_sandbox("directory"))
    counts = restored.row_counts()
    assert (len(counts), counts["t499"], counts["large"], restored.estimates()) == (501, 1, 500_000, {})
    assert restored.integrity()["problems"] == []
    # Without time, only what is small is counted, and the rest is called an estimate.
    hurried = RestoredMysql(restored._server, RestoreOptions(deadline=0.0), ["many"], {}, [])
    hurried._tables_found = restored._tables()
    assert "large" not in hurried.row_counts()
    assert hurried.estimates()["large"] > 100_000
    assert any("large" in what for what in hurried.integrity()["undone"])


def test_an_application_is_let_in_with_its_own_name_and_password(restored: RestoredMysql) -> None:
    assert "lets nobody in" in restored.serve("", "").notes[0]
    served = restored.serve("o'shop", "drill's")
    socket = str(served.socket)
    let_in = pymysql.connect(unix_socket=socket, user="o'shop", password="drill's")
    with contextlib.closing(let_in) as connection, connection.cursor() as cursor:
        cursor.execute("create table shop.written (a int)")
        cursor.execute("drop table shop.written")
        with pytest.raises(pymysql.err.OperationalError, match="denied"):
            cursor.execute("select * from mysql.user")
    with pytest.raises(pymysql.err.OperationalError):
        pymysql.connect(unix_socket=socket, user="o'shop", password="")
    for refused in ("o" * 500, "restore_drill", "mariadb.sys"):  # too long; its own, which it could not do without
        with pytest.raises(CouldNotVerify, match="cannot be made"):
            restored.serve(refused, "drill's")
    assert restored.scalar("SELECT COUNT(*) FROM orders") == ORDERS


def test_an_application_whose_objects_these_are_is_let_in(
    source: Source, place: Path, new_sandbox: MakeSandbox
) -> None:
    """A locked account stood in for it while the dump was loaded; its views and triggers work on."""
    source.run(
        "CREATE DATABASE sums; CREATE DEFINER=`app`@`10.%` VIEW sums.dear AS SELECT * FROM shop.best;"
        "CREATE DEFINER=`app`@`10.%` VIEW sums.dearest AS SELECT * FROM sums.dear"
    )
    dump = source.dump(place / "own.sql", "--databases", "shop", "sums").read_bytes()
    source.run("DROP DATABASE sums")
    text = dump.replace(b"`app`@`10.%`", b"`shop`@`localhost`")
    assert text.count(b"`shop`@`localhost`") >= 5
    restored = restore(text, new_sandbox("directory"))
    assert any("locked accounts: shop@localhost" in note for note in restored.notes)
    told = next(note for note in restored.notes if "locked accounts" in note)
    assert restored.facts["stood_in"] == told.count("@") == 2
    for password in ("drill", "another"):  # a second one counts, too
        served = restored.serve("shop", password)
        let_in = pymysql.connect(unix_socket=str(served.socket), user="shop", password=password, database="shop")
        with contextlib.closing(let_in) as connection, connection.cursor() as cursor:
            assert cursor.execute("select * from totals") == CUSTOMERS
            cursor.execute("insert into orders (customer_id, amount, placed) values (1, -5, now())")
            cursor.execute("select amount from orders where id = last_insert_id()")
            assert cursor.fetchall() == ((0,),)  # the trigger was asked
            assert cursor.execute("select * from sums.dearest") > 0
    assert restored.scalar("SELECT COUNT(*) FROM totals") == CUSTOMERS
    assert restored.integrity()["problems"] == []


def test_questions(restored: RestoredMysql) -> None:
    row = restored.query(
        "SELECT id, name, created_at, picture, note, flags, NULL, 1.5e0, CAST(1 AS DECIMAL(5,2)), 18446744073709551615,"
        " DATE('2024-01-31'), 'NULL', '<a & \"b\">' FROM `Customers` WHERE id = 1;"
    )[0]
    assert row[0:3] == (1, "customer 1", "2023-11-14 20:00:01.000")
    assert row[3]["bytes"] == 9
    assert row[4] == 'it\'s "a" \\ note; -- #\nDELIMITER ;;\r\n☂ 𝄞'
    assert row[5:] == ("a,b", None, 1.5, 1.0, 2**64 - 1, "2024-01-31", "NULL", '<a & "b">')
    assert restored.scalar("SELECT total FROM best ORDER BY total DESC LIMIT 1") > 100
    assert restored.scalar("SELECT name FROM `Customers` WHERE id < 0") is None
    assert restored.query(
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION SELECT i + 1 FROM n WHERE i < 3) SELECT i FROM n"
    ) == [(1,), (2,), (3,)]


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("DELETE FROM orders", "more than read"),
        ("SELECT 1; DELETE FROM orders", "more than one statement"),
        ("CALL tidy(0)", "more than read"),
        ("DROP TABLE orders", "more than read"),
        ("SELECT secret FROM orders", "column does not exist"),
        ("SELECT * FROM nothing", "table does not exist"),
        ("SELEC 1", "no valid SQL"),
        ("SELECT LOAD_FILE('/etc/passwd') INTO OUTFILE '/tmp/owned'", "more than read"),
        ("\\! touch /tmp/owned", "no valid SQL"),
        ("SELECT * FROM shop.`Customers` a, shop.`Customers` b, shop.`Customers` c", "4 MiB"),
        ("", "no SQL statement"),
    ],
)  # fmt: skip
def test_questions_that_are_refused(sql: str, words: str, restored: RestoredMysql) -> None:
    with pytest.raises(CouldNotVerify) as caught:
        restored.query(sql, deadline=20)
    assert words in caught.value.cause
    assert restored.scalar("SELECT COUNT(*) FROM orders") == ORDERS
    assert not Path("/tmp/owned").exists()


def test_a_question_ends_in_time(restored: RestoredMysql) -> None:
    with pytest.raises(CouldNotVerify) as caught:
        restored.query("SELECT COUNT(*) FROM orders a, orders b, orders c, orders d", deadline=0.2)
    assert "took longer" in caught.value.cause


def test_a_database_nobody_here_wrote(
    source: Source, new_sandbox: MakeSandbox, place: Path, require_program: Callable[[str], str]
) -> None:
    """Zabbix's: every count of the dump's origin comes back, and every foreign key holds."""
    source.run("CREATE DATABASE zabbix CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
    source.run("USE zabbix;\n" + foreign.script("zabbix-mysql", require_program).decode())
    text = source.dump(place / "zabbix.sql", "--hex-blob", "zabbix").read_bytes()
    here = RestoredMysql(source.server, RestoreOptions(deadline=120), ["zabbix"], {}, [])
    restored = restore(text, new_sandbox("directory"))
    assert restored.row_counts() == here.row_counts()
    assert restored.structure() == here.structure()
    assert len(restored.structure()["foreign key"]) > 200
    integrity = restored.integrity()
    assert (integrity["problems"], integrity.get("undone")) == ([], None)
    source.run("DROP DATABASE zabbix")
    restored.close()


# --- faults ---------------------------------------------------------------------------------------------------------


def replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(text: bytes) -> bytes:
        assert old in text
        return text.replace(old, new, 1)

    return change


FAULTS = [
    ("a row twice", replaced(b"\n(17,", b"\n(16,"), BackupFailed, "a key is there twice", "the rows of Customers"),
    ("a table lost", replaced(b"CREATE TABLE `Customers`", b"CREATE TABLE `Others`"), BackupFailed, "", "Customers"),
    ("an unknown collation", replaced(b"COLLATE=utf8mb4_general_ci", b"COLLATE=utf8mb4_0900_ai_ci"), CouldNotVerify, "collation", "line"),
        ("bytes lost", replaced(b",'2023-11-14 20:00:40.000',", b"0.000',"), BackupFailed, "", "Customers"),
    ("an impossible date", replaced(b"2023-11-14 20:00:40.000", b"2023-19-14 20:00:40.000"), BackupFailed, "came back changed", "1 warnings"),
    ("a check broken", replaced(b",40.50,", b",-4.50,"), BackupFailed, "CHECK", "orders"),
    ("a newer server", lambda text: text.replace(b"10.11.", b"11.4."), CouldNotVerify, "older", ""),
]  # fmt: skip


@pytest.mark.usefixtures("several_clients")
@pytest.mark.parametrize(
    ("damage", "kind", "words", "where"), [one[1:] for one in FAULTS], ids=[one[0] for one in FAULTS]
)
def test_a_damaged_dump_is_told(
    damage: Callable[[bytes], bytes], kind: type[RestoreDrillError], words: str, where: str, tables: bytes,
    new_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Whoever met it first, the verdict is that of a load in order: the same line of the same dump."""
    with pytest.raises(kind) as caught:
        restore(damage(tables), new_sandbox("directory"))
    together = caught.value
    monkeypatch.setattr(feeding, "WORTH", sys.maxsize)
    with pytest.raises(kind) as caught:
        restore(damage(tables), new_sandbox("directory"))
    assert (caught.value.cause, caught.value.looked_at) == (together.cause, together.looked_at)
    assert type(caught.value) is kind
    assert words in caught.value.cause
    assert where in caught.value.looked_at
    assert caught.value.stage is Stage.RESTORE
    assert "customer" not in f"{caught.value}".replace("Customers", "")


def test_a_key_to_a_database_that_is_not_in_the_backup_is_a_remark(shop: bytes, new_sandbox: MakeSandbox) -> None:
    place = shop.rindex(b"/*!40103 SET TIME_ZONE=@OLD")
    more = b"CREATE TABLE far (n INT, FOREIGN KEY (n) REFERENCES elsewhere.things (id)); INSERT INTO far VALUES (1);\n"
    integrity = restore(shop[:place] + more + shop[place:], new_sandbox("directory")).integrity()
    assert (integrity["problems"], integrity.get("undone")) == ([], None)
    (remark,) = integrity["remarks"]
    assert (remark["rule"], remark["message"].endswith(": far")) == ("foreign_elsewhere", True)
    assert remark["rule"] in MariadbEngine.strictness


def test_what_a_load_does_not_notice_is_found(shop: bytes, new_sandbox: MakeSandbox) -> None:
    more = (
        b"INSERT INTO orders (id, customer_id, amount, placed) VALUES (9001, 4711, 1, NOW()), (9002, 4712, 1, NOW());\n"
        b"ALTER TABLE `Customers` CHANGE name title VARCHAR(80) NOT NULL;\n"
    )
    place = shop.rindex(b"/*!40103 SET TIME_ZONE=@OLD")
    integrity = restore(shop[:place] + more + shop[place:], new_sandbox("directory")).integrity()
    found = {(problem["rule"], problem["count"]): problem["message"] for problem in integrity["problems"]}
    assert "rows of orders refer to rows of Customers" in found["foreign_key", 2]
    assert {problem["message"].split()[2] for problem in integrity["problems"] if problem["rule"] == "view"} == {
        "totals",
        "best",
    }
    assert len(integrity["problems"]) == 3


def test_a_damaged_table_is_found(shop: bytes, new_sandbox: MakeSandbox) -> None:
    """The server's own check reads what lies on the disk."""
    sandbox = new_sandbox("directory")
    restored = restore(shop, sandbox)
    assert restored.integrity()["problems"] == []
    server = restored._server
    server.ask(["FLUSH TABLES"], seconds=60, account=server.admin)
    data = sandbox.work.parent / "data" / "server" / "shop" / "old.MYI"
    with data.open("r+b") as file:
        file.seek(1024)
        file.write(bytes(64))
    restored._integrity.clear()
    problems = restored.integrity()["problems"]
    assert [(problem["rule"], problem["message"]) for problem in problems] == [
        ("check_table", "the server finds old damaged")
    ]


def test_a_dump_of_mysql_goes_where_the_catalogue_says(shop: bytes, new_sandbox: MakeSandbox) -> None:
    from restore_drill.engines.mysql.samples import dump

    text = dump(mysql=True)
    restored = restore(text, new_sandbox("directory"), MysqlEngine, server="mariadb")
    assert any("it is not shown that MySQL 5.7 loads it" in note for note in restored.notes)
    with pytest.raises(CouldNotVerify) as caught:
        restore(text, new_sandbox("directory"), MysqlEngine)
    assert "mysql" in f"{caught.value}"


def test_a_server_that_does_not_come_up_says_nothing_of_the_backup(
    shop: bytes, new_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("restore_drill.engines.mysql.server._UP_IN", 0.0)
    with pytest.raises(CouldNotVerify, match=r"was not ready within.*nothing of the backup was in it") as caught:
        restore(shop, new_sandbox("directory"))
    assert type(caught.value) is CouldNotVerify


# --- hostile text ---------------------------------------------------------------------------------------------------

#: What no scan of the text sees: each is tried by the account and with the client that load a dump.
HOSTILE = {
    "a file by a prepared statement": "SET @s = CONCAT('SELECT 1 INTO OUT', 'FILE \"{0}\"'); PREPARE p FROM @s; EXECUTE p;",
    "a file by a procedure": "DELIMITER ;;\nCREATE PROCEDURE x() BEGIN SELECT 1 INTO DUMPFILE '{0}'; END;;\nDELIMITER ;\nCALL x();",
    "a local file": "LOAD /* x */ DATA LOCAL INFILE '/etc/passwd' INTO TABLE old;",
    "a library": "SET @s = 'INSTALL SONAME \"ha_federatedx\"'; PREPARE p FROM @s; EXECUTE p;",
    "a function of a library": "SET @s = 'CREATE FUNCTION f RETURNS INT SONAME \"udf.so\"'; PREPARE p FROM @s; EXECUTE p;",
    "a log as a file": "SET @a = 1, GLOBAL general_log_file = '{0}';",
    "events": "SET @a = 1, GLOBAL event_scheduler = ON;",
    "more privileges": "UPDATE mysql.global_priv SET Priv = '{{\"access\": 18446744073709551615}}';",
    "more privileges by a grant": "GRANT FILE ON *.* TO CURRENT_USER();",
    "another account's rights": "CREATE DEFINER=`root`@`localhost` PROCEDURE y() SELECT 1 INTO OUTFILE '{0}'; CALL y();",
    "a command": "\\! touch {0}",
    "a command in a comment": "/*!40101 \\! touch {0} */;",
    "a command by name": "system touch {0}",
    "a script": "source /etc/passwd",
    "a copy of what is said": "tee {0}",
    "a command after a delimiter": "DELIMITER \\\n\\! touch {0}\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_held(text: str, restored: RestoredMysql, place: Path) -> None:
    server: MysqlServer = restored._server
    owned = f"{server.ground.data}/owned"
    for mode in (["--binary-mode"], []):
        client = server.client(server.loader, "--batch", "--database=shop", *mode)
        done = server.begin(client, seconds=30, stdin=text.format(owned).encode()).result()
        seen = server.begin(
            ["ls", server.ground.data, f"{server.ground.data}/server", f"{server.ground.data}/server.none"], seconds=30
        ).result()
        assert b"owned" not in seen.stdout
        assert (done.returncode, seen.returncode) == (1, 0), done
    server.ask([f"DROP PROCEDURE IF EXISTS shop.{name}" for name in ("x", "y")], seconds=30, account=server.admin)


def test_events_come_back_and_never_run(restored: RestoredMysql) -> None:
    assert restored.query("SELECT @@event_scheduler, @@local_infile, @@skip_networking") == [("OFF", 0, 1)]
    assert restored.scalar("SELECT status FROM information_schema.events WHERE event_name = 'tick'") == "ENABLED"
    assert restored.row_counts()["ticks"] == 0


def test_a_database_that_is_not_there_is_no_default(everything: bytes, new_sandbox: MakeSandbox) -> None:
    restored = restore(everything, new_sandbox("directory"), database="other-one")
    assert restored.scalar("SELECT COUNT(*) FROM notes") == 2
    assert restored.row_counts()["shop.orders"] == ORDERS
    with pytest.raises(CouldNotVerify) as caught:
        restore(everything, new_sandbox("directory"), database="nothing")
    assert "did not come back" in caught.value.cause


def test_a_text_that_cannot_be_read_to_its_end_is_no_short_one(
    shop: bytes, everything: bytes, new_sandbox: MakeSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its beginning is loaded without an error; with what is left out, and without."""
    for text, reads in ((shop, 'cat <"$file"'), (everything, 'dd if="$file" bs=1M')):
        assert reads in feeding.SCRIPT
        broken = feeding.SCRIPT.replace(reads, 'head -c 200 "$file" && false' if "cat" in reads else "false")
        with monkeypatch.context() as patch:
            patch.setattr(feeding, "SCRIPT", broken)
            with pytest.raises(CouldNotVerify) as caught:
                restore(text, new_sandbox("directory"))
        assert "not read to its end" in caught.value.cause
