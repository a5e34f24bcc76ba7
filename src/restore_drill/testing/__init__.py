"""Conformance suites, shipped with the package: a third party's store, codec or engine runs the same ones."""

import pkgutil

import pytest

# Before any of them is imported: their assertions then say what they compared, as those of a test module do.
for _suite in pkgutil.iter_modules(__path__):
    pytest.register_assert_rewrite(f"{__name__}.{_suite.name}")
