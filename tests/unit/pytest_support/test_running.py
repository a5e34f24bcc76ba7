"""When a standard case gets its drill without pytest's fixtures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.config import get_config

from restore_drill.pytest_support.running import _PLUGIN, _may_shorten


def _config(*modules: str, setupshow: bool = False) -> Any:
    """A configuration in which these modules have a setup hook, the one called last first."""
    impls = [SimpleNamespace(function=SimpleNamespace(__module__=module)) for module in modules]
    hook = SimpleNamespace(pytest_runtest_setup=SimpleNamespace(get_hookimpls=lambda: impls))
    return SimpleNamespace(option=SimpleNamespace(setupshow=setupshow), hook=hook)


@pytest.mark.parametrize(
    ("modules", "may"),
    [
        (("_pytest.nose", "_pytest.runner", _PLUGIN), True),
        (("_pytest.runner", _PLUGIN, "conftest", "_pytest.skipping"), True),
        (("_pytest.runner", "mounts", _PLUGIN), False),
        (("mounts", "_pytest.runner", _PLUGIN), False),
    ],
    ids=["alone", "behind others", "before another", "before one that comes last"],
)
def test_it_does_where_nobody_but_pytest_comes_after_us(modules: tuple[str, ...], may: bool) -> None:
    assert _may_shorten(_config(*modules)) is may


def test_it_does_not_where_fixtures_are_shown() -> None:
    assert not _may_shorten(_config("_pytest.runner", _PLUGIN, setupshow=True))


def test_pytest_calls_us_when_everybody_else_is_through() -> None:
    """The names and the order that the decision rests on are pytest's."""
    config = get_config()
    config.pluginmanager.import_plugin(_PLUGIN)
    assert _may_shorten(config)
    config.pluginmanager.register(SimpleNamespace(pytest_runtest_setup=lambda item: None), "like a conftest")
    assert _may_shorten(config)
    modules = [impl.function.__module__ for impl in config.hook.pytest_runtest_setup.get_hookimpls()]
    assert modules.index("_pytest.runner") < modules.index(_PLUGIN) < modules.index(__name__)


def test_not_so_where_somebody_was_there_before_us() -> None:
    config = get_config()
    config.pluginmanager.register(SimpleNamespace(pytest_runtest_setup=lambda item: None), "mounts")
    config.pluginmanager.import_plugin(_PLUGIN)
    assert not _may_shorten(config)
