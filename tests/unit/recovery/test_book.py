"""What a runbook says before it is Markdown: names that are safe in a shell."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_drill.recovery.book import local_names


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        (["a/db.gz", "b/log.gz"], ["db.gz", "log.gz"]),
        (["a/db.gz", "b/db.gz"], ["db.gz", "02-db.gz"]),
        (["x y", "-rf", "2026/"], ["01-x_y", "02-rf", "2026"]),
        (["02-x_y", "x y"], ["02-x_y", "02-02-x_y"]),
        (["03-a", "a", "b/a"], ["03-a", "a", "03-03-a"]),
    ],
)
def test_names_are_kept_where_they_are_safe_and_its_own(keys: list[str], names: list[str]) -> None:
    assert local_names(keys) == names


@given(st.lists(st.text("0123-x y/.", min_size=1), max_size=6))
def test_no_name_is_given_twice_and_none_means_anything_to_a_shell(keys: list[str]) -> None:
    names = local_names(keys)
    assert len(set(names)) == len(names) == len(keys)
    assert all(re.fullmatch(r"[A-Za-z0-9_+][A-Za-z0-9._+-]*", name) for name in names)
