"""What the engines of tables read: options, trees of tables, and what a hostile or a careless exporter writes."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from tests.support.here import here

from restore_drill.engines import parquet_samples
from restore_drill.engines.base import Restored, RestoreOptions
from restore_drill.engines.csv import CsvEngine
from restore_drill.engines.ndjson import NdjsonEngine
from restore_drill.engines.parquet import ParquetEngine
from restore_drill.engines.tables import TableEngine
from restore_drill.engines.tables_probe import COLUMNS_AT_MOST, distinct, read
from restore_drill.engines.text_tables import LONGEST, sniff
from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, UsageProblem
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.registry import load
from restore_drill.sandboxes.base import Limits, Sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    with load("sandboxes", "directory")(tmp_path, run="test", name="tables", limits=Limits()) as one:
        yield one


def facts(engine: type[TableEngine], data: bytes | Mapping[str, bytes], directory: Path, **options: Any) -> Any:
    """What reading finds, in this process."""
    place = directory / f"payload-{len(list(directory.iterdir()))}"
    if isinstance(data, bytes):
        place.write_bytes(data)
    else:
        for name, content in data.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(content)
    call: Any = SimpleNamespace(work=directory, until=time.monotonic() + 60)
    return read(call, engine.reader, place.name, not isinstance(data, bytes), engine._settings(options))


def rules(found: Mapping[str, Any]) -> dict[str, int]:
    return {problem["rule"]: problem["count"] for problem in found["problems"]}


def test_parts_of_a_directory_are_one_table(tmp_path: Path) -> None:
    files = {
        "orders/part-0.csv": b"id,what\n1,a\n", "orders/part-1.csv": b"id,what\n2,b\n3,c\n", "orders/_SUCCESS": b"",
        "day=1/x.csv": b"id\n9\n", "loose.csv": b"id\n1\n2\n", ".hidden.csv": b"x\n", "README": b"hello\n",
    }  # fmt: skip
    found = facts(CsvEngine, files, tmp_path, tables="directories")
    assert found["rows"] == {"data": 2, "day=1": 1, "orders": 3}
    assert found["notes"] == ["1 files of the tree are no tables"]
    assert facts(CsvEngine, files, tmp_path, match=["orders/*.csv"])["rows"] == {"orders/part-0": 1, "orders/part-1": 2}
    files["orders/part-1.csv"] = b"id,why\n2,b\n"
    assert rules(facts(CsvEngine, files, tmp_path, tables="directories")) == {"schema": 1}


def test_two_files_of_the_same_name_are_not_guessed_at(tmp_path: Path) -> None:
    with pytest.raises(CouldNotVerify, match="same table"):
        facts(CsvEngine, {"a.csv": b"id\n1\n", "a.tsv": b"id\n1\n"}, tmp_path)


@pytest.mark.parametrize(
    ("data", "options", "rows"),
    [
        (b"a;b\n1;2\n", {}, 1),
        (b"a\tb\r\n1\t2\r\n", {}, 1),
        (b"a\x01b\n1\x012\n", {}, 1),
        ("ä,b\n1,2\n".encode("utf-16"), {}, 1),
        ("ä,b\n1,ü\n".encode("latin-1"), {"encoding": "latin-1"}, 1),
        (b"1,2\n3,4\n", {"header": False}, 2),
        (b'a,b\n1,"say \\"no\\""\n', {"escape": "\\"}, 1),
        (b'a,b\n1,5" disk\n2,it\'s "it\n', {"quote": ""}, 2),
        (b"a,b\n\n1,2\n\n", {}, 1),
        (b"a\n1\n\n", {}, 1),
        (b"2023,2024\n1,2\n", {"columns": ["2023", "2024"]}, 1),
        (b"a,b\r1,2\r", {}, 1),
    ],
)
def test_dialects(data: bytes, options: dict[str, Any], rows: int, tmp_path: Path) -> None:
    found = facts(CsvEngine, data, tmp_path, **options)
    assert (sum(found["rows"].values()), found["problems"]) == (rows, [])


@pytest.mark.parametrize(
    ("data", "options", "cause"),
    [
        (b"a,b\n1,2\n3", {}, "cut short in its last record"),
        (b"a,b\n1,2\n3,4", {"final_newline": "required"}, "last line has no end"),
        (b'a,b\n1,"2\n3,4\n', {}, "a quoted field does not end"),
        (b'a,b\n1,"2"x\n', {}, "follows the end of a quoted field"),
        (b"a,b\n1,\xff\n", {}, "not valid utf-8"),
        (b"ada@example.org,2\n", {}, "the first line is no header: 2 of its 2"),
        (b"a,c\n1,2\n", {"columns": ["a", "b"]}, "not the header that the catalogue names"),
        (b"a,b\n1," + b"x" * (LONGEST + (2 << 20)) + b"\n", {}, "a line is longer than"),
    ],
)
def test_what_cannot_be_read_to_its_end_did_not_come_back(
    data: bytes, options: dict[str, Any], cause: str, tmp_path: Path
) -> None:
    with pytest.raises(BackupFailed, match=cause) as caught:
        facts(CsvEngine, data, tmp_path, **options)
    assert caught.value.stage is Stage.RESTORE
    assert caught.value.remedy


def test_names_that_sqlite_cannot_tell_apart() -> None:
    assert distinct(["id", "ID", "a", "id_2"]) == ["id", "ID_2", "a", "id_2_2"]


def test_keys_of_objects(tmp_path: Path) -> None:
    lines = [{"id": 1, "a": None}, {"id": 2, "rare": 1}, {"id": 3, "a": 1}]
    found = facts(NdjsonEngine, "".join(f"{json.dumps(line)}\n" for line in lines).encode(), tmp_path)
    assert found["columns"]["data"] == [("id", "", True), ("a", "", True), ("rare", "", False)]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b'{"a": 1} {"b": 2}', "json"),
        (b"[" * 100_000, "json"),
        (b'{"a": ' + b"1" * 5000 + b"}", "json"),
        (b'"text"', "object"),
        (b'{"a": {"b": 1, "b": 2}}', "duplicate_key"),
        (b'{"a": -Infinity}', "not_a_number"),
        (b'{"a": "\xff"}', "encoding"),
    ],
)
def test_a_bad_line_is_counted_as_a_record_and_told(line: bytes, rule: str, tmp_path: Path) -> None:
    found = facts(NdjsonEngine, b'{"a": 0}\n' + line + b'\n{"a": 2}\n', tmp_path)
    assert (found["rows"], rules(found)) == ({"data": 3}, {rule: 1})


def test_exports_that_stand_one_behind_the_other(tmp_path: Path) -> None:
    export = b"id,name\n1,id\nid,x\n"
    assert facts(CsvEngine, export, tmp_path)["problems"] == []
    for second in (export, b"\xef\xbb\xbf" + export):
        assert rules(facts(CsvEngine, export + second, tmp_path)) == {"header": 1}
    assert facts(CsvEngine, b"word\na\nword\n", tmp_path)["problems"] == []  # a list of words may have this one
    assert rules(facts(CsvEngine, b"a,b\na,b\n", tmp_path, header=False)) == {}


def test_values_as_questions_see_them(sandbox: Sandbox) -> None:
    path = sandbox.work / "payload-0"
    path.write_bytes(
        b'{"n": 1, "f": 2.5, "t": true, "x": null, "o": {"k": [1]}, "big": 99999999999999999999, "s": "\\ud800"}\n'
    )
    one = restored(NdjsonEngine, path, sandbox)
    assert one.query("select n + 1, f, t, x, json_extract(o, '$.k[0]'), big, length(s) from data") == [
        (2, 2.5, 1, None, 1, "99999999999999999999", 1)
    ]
    with pytest.raises(CouldNotVerify, match="does more than read"):
        one.query("delete from data")
    assert one.scalar("select count(*) from data") == 1


def restored(engine: type[TableEngine], path: Path, sandbox: Sandbox, **options: Any) -> Restored:
    payload = Payload(PayloadForm.FILE, path, engine.name, path.stat().st_size)
    return engine().restore([payload], sandbox, RestoreOptions(deadline=60, **options))


def test_options_that_mean_nothing_are_refused() -> None:
    for engine, options in (
        (CsvEngine, {"separator": ","}), (CsvEngine, {"delimiter": "::"}), (CsvEngine, {"encoding": "rot13"}),
        (CsvEngine, {"encoding": "utf-99"}), (CsvEngine, {"columns": "id"}), (NdjsonEngine, {"tables": "sheets"}),
        (ParquetEngine, {"match": []}),
    ):  # fmt: skip
        with pytest.raises(UsageProblem, match=f"the {engine.name} engine"):
            engine._settings(options)


def test_reading_gives_up_in_time(tmp_path: Path) -> None:
    (tmp_path / "payload").write_bytes(b"a,b\n1,2\n")
    call: Any = SimpleNamespace(work=tmp_path, until=time.monotonic())
    with pytest.raises(DeadlineExceeded):
        read(call, CsvEngine.reader, "payload", False, CsvEngine._settings({}))


def test_an_encrypted_table_is_not_called_damaged(tmp_path: Path) -> None:
    assert ParquetEngine.recognises(b"PARE....") == "parquet-encrypted"
    with pytest.raises(CouldNotVerify, match="encrypted"):
        facts(ParquetEngine, b"PARE" + bytes(100) + b"PARE", tmp_path)


@pytest.mark.parametrize(
    ("head", "delimiter"),
    [
        (b"id,name\n", ","), (b"a;b;c\n1;2;3\n1,5;2;3\n", ";"), (b"id\n1\n2\n", ""),
        (b"a|b\n" + b"x|y\n" * 9 + b"x", "|"),
        (b"a sentence of many words, in fields;" * 40, ","),
        (b"hello world\n", None), (b"Dear all, I write this, at length.\nNo.\n", None), (b"a,b\n\x00\x01", None),
        (b"<a,b>\n", None), (b"", None),
    ],
)  # fmt: skip
def test_delimiters_are_found_out(head: bytes, delimiter: str | None) -> None:
    assert sniff(head) == delimiter


TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=8)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(rows=st.lists(st.lists(TEXT, min_size=3, max_size=3), min_size=1, max_size=20), data=st.data())
def test_whatever_was_written_is_counted_and_a_lost_field_is_told(
    rows: list[list[str]], data: st.DataObject, tmp_path: Path
) -> None:
    def written(lines: list[list[str]]) -> bytes:
        out = io.StringIO(newline="")
        csv.writer(out).writerows([["first", "second", "third"], *lines])
        return out.getvalue().encode()

    whole = facts(CsvEngine, written(rows), tmp_path, delimiter=",")
    assert (whole["rows"], whole["problems"]) == ({"data": len(rows)}, [])
    place = data.draw(st.integers(0, len(rows) - 1))
    broken = [row[:2] if number == place else row for number, row in enumerate(rows)]
    assert rules(facts(CsvEngine, written(broken), tmp_path, delimiter=",")) == {"width": 1}


def test_parts_of_objects_are_one_table(tmp_path: Path) -> None:
    """What is in most objects of every part is usual; a part that lost a key all over loses the column."""
    files = {"day/1.jsonl": b'{"id": 1, "a": 1}\n', "day/2.jsonl": b'{"id": 2, "b": 1}\n'}
    found = facts(NdjsonEngine, files, tmp_path, tables="directories")
    assert found["rows"] == {"day": 2}
    assert found["columns"]["day"] == [("id", "", True), ("a", "", False), ("b", "", False)]


def test_objects_of_endlessly_many_shapes_take_bounded_memory(tmp_path: Path) -> None:
    lines = "".join(f'{{"id": {number}, "key-{number}": 1}}\n' for number in range(5_100))
    found = facts(NdjsonEngine, lines.encode(), tmp_path)
    assert found["rows"] == {"data": 5_100}
    assert len(found["columns"]["data"]) <= COLUMNS_AT_MOST
    assert [name for name, _, usual in found["columns"]["data"] if usual] == ["id"]
    assert "different keys" in found["notes"][0]


def test_every_kind_of_value_in_parquet_can_be_asked_for(tmp_path: Path) -> None:
    table = pyarrow.table(
        {
            "n": pyarrow.array([2**63, None], pyarrow.uint64()),
            "d": pyarrow.array([decimal.Decimal("1.50"), None]),
            "t": pyarrow.array([datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), None]),
            "l": pyarrow.array([[1, 2], None]),
            "m": pyarrow.array([{"k": "v"}, None]),
            "w": pyarrow.array([datetime.timedelta(seconds=1), None]),
            "b": pyarrow.array([b"\0", None]),
            "f": pyarrow.array([float("nan"), None]),
        }
    )
    sandbox = here(tmp_path)
    parquet.write_table(table, tmp_path / "payload", write_page_checksum=True)
    one = restored(ParquetEngine, tmp_path / "payload", sandbox)
    assert one.integrity()["problems"] == []
    assert "data.l list<element: int64>" in one.structure()["column"]
    assert one.query("select n, d, t, l, json_extract(m, '$.k'), w, length(b) from data where n is not null") == [
        (str(2**63), "1.50", "2026-01-02T00:00:00+00:00", "[1, 2]", "v", "0:00:01", 1)
    ]


def test_statistics_of_every_type_raise_no_false_alarm(tmp_path: Path) -> None:
    """Zeros with a sign, times finer than Python's, numbers without one, columns that have only nulls."""
    numbers = [0, 1, 2**31 - 1, None]
    arrays = {
        **{f"i{kind}": pyarrow.array(numbers, kind) for kind in (pyarrow.int32(), pyarrow.uint32(), pyarrow.uint64())},
        **{f"t{unit}": pyarrow.array(numbers, pyarrow.timestamp(unit)) for unit in ("s", "ms", "us", "ns")},
        "tz": pyarrow.array(numbers, pyarrow.timestamp("ns", tz="Europe/Berlin")),
        **{f"c{unit}": pyarrow.array(numbers, pyarrow.time64(unit)) for unit in ("us", "ns")},
        **{f"d{kind}": pyarrow.array([0, 20_000, 1, None], kind) for kind in (pyarrow.date32(), pyarrow.time32("s"))},
        **{
            f"f{kind}": pyarrow.array([-0.0, 0.0, float("inf"), None], kind)
            for kind in (pyarrow.float32(), pyarrow.float64())
        },
        "nan": pyarrow.array([float("nan"), 1.5, -2.5, None]),
        "none": pyarrow.array([None] * 4, pyarrow.int64()),
        "e": pyarrow.array(["a", "b", "a", None]).dictionary_encode(),
        "flag": pyarrow.array([True, False, True, None]),
        "big": pyarrow.array([decimal.Decimal("1e20"), decimal.Decimal("-1"), None, None]),
        "s": pyarrow.array([{"k": 1}, {"k": None}, None, {"k": 9}]),
    }
    parquet.write_table(pyarrow.table(arrays), tmp_path / "written", row_group_size=3)
    found = facts(ParquetEngine, (tmp_path / "written").read_bytes(), tmp_path)
    assert (found["rows"], found["problems"]) == ({"data": 4}, [])


def test_without_its_library_nothing_is_known_of_parquet(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    path = sandbox.work / "t.parquet"
    parquet.write_table(pyarrow.table({"n": [1]}), path)
    assert restored(ParquetEngine, path, sandbox).facts["rows"] == 1
    monkeypatch.setattr(ParquetEngine, "libraries", ("a_library_nobody_has",))
    with pytest.raises(CouldNotVerify, match="'parquet' needs a_library_nobody_has, which is not installed") as raised:
        restored(ParquetEngine, path, sandbox)
    assert raised.value.remedy == "pip install 'pytest-restore-drill[parquet]'"


@pytest.mark.parametrize(
    ("change", "error", "cause"),
    [
        (lambda data: data[:-4] + b"PARE", CouldNotVerify, "encrypted"),
        (lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1", BackupFailed, "footer cannot be as long"),
        (lambda data: data[:4] + bytes(200) + data[204:], BackupFailed, "checksum of a page|read to its end"),
    ],
)
def test_damaged_parquet_has_its_own_words(change: Any, error: Any, cause: str, tmp_path: Path) -> None:
    whole = parquet_samples.table()
    assert facts(ParquetEngine, whole, tmp_path)["rows"] == {"data": 120}
    with pytest.raises(error, match=cause):
        facts(ParquetEngine, change(whole), tmp_path)


def test_a_table_that_is_too_wide_for_questions_is_counted_nevertheless(tmp_path: Path) -> None:
    names = ",".join(f"c{number}x" for number in range(COLUMNS_AT_MOST + 1))
    (tmp_path / "payload").write_bytes(f"{names}\n{names}\n".encode())
    one = restored(CsvEngine, tmp_path / "payload", here(tmp_path))
    assert one.row_counts() == {"data": 1}
    with pytest.raises(CouldNotVerify, match=f"has {COLUMNS_AT_MOST + 1} columns"):
        one.scalar("select count(*) from data")


def test_records_of_another_width_can_be_asked_for_too(tmp_path: Path) -> None:
    (tmp_path / "payload").write_bytes(b"a,b\n1\n\n2,3,4\n")
    one = restored(CsvEngine, tmp_path / "payload", here(tmp_path))
    assert one.query("select * from data") == [("1", None), ("2", "3")]
    assert one.path == tmp_path / "payload"


def test_too_many_tables_are_not_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("restore_drill.engines.tables_probe.TABLES_AT_MOST", 1)
    with pytest.raises(CouldNotVerify, match="more than 1 tables"):
        facts(CsvEngine, {"a.csv": b"x\n1\n", "b.csv": b"x\n1\n"}, tmp_path)
