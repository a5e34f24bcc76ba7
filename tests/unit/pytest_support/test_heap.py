"""Garbage is looked for again when what grew is there, and not where somebody wants none of it."""

from __future__ import annotations

import gc

import pytest

from restore_drill.pytest_support import heap


@pytest.mark.parametrize("enabled", [True, False])
def test_it_is_as_before_afterwards(enabled: bool) -> None:
    was = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with pytest.raises(KeyError), heap.growing():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() is enabled
    finally:
        (gc.enable if was else gc.disable)()
