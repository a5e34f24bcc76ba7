"""What may be strict has a name, words, and a line in the documents; what is gathered is bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from restore_drill.engines.postgres.batches import Piece, _executions, _share, _together
from restore_drill.engines.postgres.engine import PostgresEngine
from restore_drill.engines.postgres.findings import STRICTNESS, Findings, several
from restore_drill.engines.postgres.tables import short_name, shown_names

DOCS = Path(__file__).parents[3] / "docs" / "databases.md"


def test_everything_that_may_be_strict_is_documented() -> None:
    page = DOCS.read_text("utf-8")
    table = page[page.index("| name | what it is |") :]
    for name, words in STRICTNESS.items():
        assert f"`{name}`" in table.split("\n\n")[0], name
        assert words
    assert PostgresEngine.strictness == STRICTNESS


def test_a_remark_of_no_known_rule_is_a_mistake() -> None:
    with pytest.raises(AssertionError):
        Findings().remark("new", "words")


def test_names_and_details_are_bounded() -> None:
    found = Findings()
    found.problem("heap", "m", 3, [str(number) for number in range(500)])
    found.detail(["one more"])
    assert len(found.details) == 200
    assert several(["b", "a"]) == "a, b"
    assert several(map(str, range(8))) == "0, 1, 2, 3, 4 and 3 more"


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        (("app", "public", "orders"), "orders"),
        (("app", "sales", "orders"), "sales.orders"),
        (("app", "public", "sales.orders"), "public.sales.orders"),
        (("other", "public", "orders"), "other.orders"),
        (("other", "sales", "orders"), "other.sales.orders"),
    ],
)
def test_a_table_is_called_as_a_user_would_write_it(parts: tuple[str, str, str], name: str) -> None:
    assert short_name(*parts, "app") == name


def test_tables_that_would_be_called_alike_are_spelled_out() -> None:
    two = {("other", 1): ("other", "public", "orders"), ("app", 2): ("app", "other", "orders")}
    assert shown_names(two, "app") == {("other", 1): "other.public.orders", ("app", 2): "app.other.orders"}


def test_questions_share_statements_and_executions_within_bounds() -> None:
    pieces = [Piece(str(number), f"select {number}::text {'x' * 80}", 8192) for number in range(30_000)]
    big = [Piece("big", "select 1", 1 << 30), Piece("alone", "copy (select 1) to '/dev/null'", 5, alone=True)]
    statements = _together([*pieces, *big])
    asked = [piece.key for statement in statements for piece in statement.pieces]
    assert sorted(asked) == sorted(piece.key for piece in (*pieces, *big))
    assert max(len(statement.pieces) for statement in statements) == 64
    assert all(len(each.pieces) == 1 for each in statements if {"big", "alone"} & {piece.key for piece in each.pieces})
    rounds = list(_executions(statements, 2))
    assert [each for some in rounds for each in some] == statements
    assert max(sum(len(each.sql) for each in some) for some in rounds) < 2 * 2**20
    shared = _share(rounds[0], 2)
    assert sorted(len(worker.statements) for worker in shared)[0] > 0
