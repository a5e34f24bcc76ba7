"""What SQLite's lines mean, and that no row is named where it may be published."""

from __future__ import annotations

import json

import pytest

from restore_drill.engines.sqlite_verdicts import Verdicts, classify, problem_lines

#: Lines as several versions of SQLite write them; 4711 stands for what must not be published.
LINES = [
    ("row 4711 missing from index orders_customer", "index", "orders_customer"),
    ("row 4711 values differ from index orders_customer", "index", "orders_customer"),
    ("wrong # of entries in index orders_customer", "index", "orders_customer"),
    ("rowid not at end-of-record for row 4711 of index i", "index", "i"),
    ("non-unique entry in index orders_note", "unique", "orders_note"),
    ("NULL value in orders.note", "not_null", "orders.note"),
    ("CHECK constraint failed in customers", "check_constraint", "customers"),
    ("row not in PRIMARY KEY order for pairs", "key_order", "pairs"),
    ("non-INT value in st.a", "datatype", "st.a"),
    ("TEXT value in orders.amount", "datatype", "orders.amount"),
    ("NUMERIC value in orders.name", "datatype", "orders.name"),
    ("Page 4711 is never used", "unused_page", ""),
    ("Page 4711: never used", "unused_page", ""),
    ("Main freelist: size is 4711 but should be 1", "freelist", ""),
    ("Freelist: freelist leaf count too big on page 4711", "freelist", ""),
    ("Bad ptr map entry key=4711 expected=(5,2) got=(1,0)", "pointer_map", ""),
    ("Pointer map page 4711 is referenced", "pointer_map", ""),
    ("On tree page 4711 cell 3: Rowid 4711 out of order", "b_tree", ""),
    ("Tree 2 page 4711 cell 0: Child page depth differs", "b_tree", ""),
    ("2nd reference to page 4711", "b_tree", ""),
    ("Fragmentation of 4711 bytes reported as 0 on page 3", "b_tree", ""),
    ("unable to validate the inverted index for FTS5 table main.f", "virtual_table", ""),
    ("a line of a version that is not yet written, about row 4711", "b_tree", ""),
]


@pytest.mark.parametrize(("line", "rule", "named"), LINES)
def test_lines_are_sorted_and_stripped(line: str, rule: str, named: str) -> None:
    found, message = classify(line)
    assert found == rule
    assert named in message
    assert "4711" not in message


def test_names_from_a_hostile_schema_stay_on_one_line_and_short() -> None:
    _, message = classify("wrong # of entries in index a\nb\x1b[31m" + "x" * 5000)
    assert "\n" not in message
    assert "\x1b" not in message
    assert len(message) < 300


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([("ok",)], []),
        ([("ok",), ("ok",)], ["ok", "ok"]),
        ([], ["integrity_check gave no answer"]),
        ([("",)], ["integrity_check gave no answer"]),
        ([(None,)], ["None"]),
        ([("*** in database main ***\nfirst\nsecond",)], ["first", "second"]),
        ([("*** in database main ***",)], ["integrity_check gave no answer"]),
        ([("first",), ("second",)], ["first", "second"]),
    ],
)
def test_exactly_one_row_that_says_ok_is_clean(rows: list[tuple[str]], lines: list[str]) -> None:
    assert problem_lines(rows) == lines


def test_what_several_checks_say_is_counted_once() -> None:
    first = Verdicts(lines=dict.fromkeys(["row 1 missing from index i", "Page 9 is never used"]))
    second = Verdicts(lines=dict.fromkeys(["row 1 missing from index i", "row 2 missing from index i"]), capped=True)
    second.add("foreign_key", "rows of a refer to missing rows of b", 3, "row 4711 of a")
    second.checked.append("x")
    second.notes.append("y")
    assert not first.clean
    first.absorb(second)
    answer = first.as_json()
    assert answer["problems"] == [
        {"rule": "index", "message": "rows are missing from the index i", "count": 2},
        {"rule": "unused_page", "message": "pages belong to nothing", "count": 1},
        {"rule": "foreign_key", "message": "rows of a refer to missing rows of b", "count": 3},
    ]
    assert (answer["total"], answer["at_least"], answer["checked"], answer["notes"]) == (6, True, ["x"], ["y"])
    assert answer["details"][-1] == "row 4711 of a"
    assert json.loads(json.dumps(answer)) == answer


def test_details_have_a_limit() -> None:
    many = Verdicts(lines=dict.fromkeys(f"row {number} missing from index i" for number in range(5000)))
    answer = many.as_json()
    assert answer["total"] == 5000
    assert len(answer["details"]) == 200
    assert Verdicts().clean
