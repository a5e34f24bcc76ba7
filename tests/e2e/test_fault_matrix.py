"""Every fault of storage, digests, encryption and archives in every format that it can hit."""

from __future__ import annotations

import os
from pathlib import Path

from tests.support.injection import document, rows
from tests.support.matrix import FaultMatrix

ROWS = list(rows())
_PAGE = Path(__file__).parents[2] / "docs" / "faults.md"


class TestFaults(FaultMatrix):
    """The rows of this module."""


def test_every_row_has_a_target_of_its_own() -> None:
    assert len({row.target for row in ROWS}) == len(ROWS)


def test_the_page_says_what_these_rows_do() -> None:
    if os.environ.get("RESTORE_DRILL_PRINT"):
        _PAGE.write_text(document(), "utf-8")
    assert _PAGE.read_text("utf-8") == document()
