"""Smoke rules and what their engine cannot do without, with the place of each mistake."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from restore_drill import registry
from restore_drill.plan import Plan

WHOLE = registry.BUILT_IN["engines"]["volume"]
CATALOGUE = """\
version: 1
stores:
  nas: {{url: file:///backups, media: disk}}
defaults: {{timezone: UTC}}
targets:
  app:
    tier: critical
    engine: {engine}
    sandbox: {sandbox}
    engine_options: {options}
    copies:
      nas: {{path: "app/{{time:%Y%m%d_%H%M%S}}.tar"}}
    expect:
      smoke: [{smoke}]
"""
GOOD = {
    "engine": "volume",
    "sandbox": "{image: 'registry.example.net/app:1'}",
    "options": "{mount: /data}",
    "smoke": "{name: its own check, run: [app, check]}, {name: it is healthy, http: {port: 8080}, within: 1m}",
}


@pytest.fixture(autouse=True)
def _volume(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BUILT_IN, "engines", {**registry.BUILT_IN["engines"], "volume": WHOLE})


def written(**changes: str) -> str:
    return CATALOGUE.format(**{**GOOD, **changes})


def test_a_rule_is_a_case_of_its_own(plan: Callable[..., Plan]) -> None:
    [target] = plan(written()).targets
    assert [case.detail for case in target.cases() if case.case == "smoke"] == ["its-own-check", "it-is-healthy"]
    check, health = target.model.expect.smoke
    assert (check.run, check.exit_status, check.within) == (("app", "check"), 0, timedelta(seconds=30))
    assert (health.http.port, health.http.path, health.http.status) == (8080, "/", 200)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"smoke": "{name: up}"}, "give either run, a command, or http, an endpoint"),
        ({"smoke": "{name: up, run: [a], http: {}}"}, "give either run, a command, or http, an endpoint"),
        ({"smoke": "{name: up, http: {}, exit_status: 1}"}, "exit_status is of a command"),
        ({"smoke": "{name: up, run: [app check]}"}, "run is a list of words"),
        ({"smoke": "{name: up, http: {path: health}}"}, "needs a path that begins with a slash"),
        ({"smoke": "{name: up, run: [a]}, {name: up, run: [b]}"}, "two smoke rules of app are called 'up'"),
        ({"smoke": "{name: up, run: [a]}, {name: UP, run: [b]}"}, "differ only by case"),
        ({"engine": "tree", "sandbox": "directory", "options": "{}"}, "the engine 'tree' cannot be asked for smoke"),
        ({"sandbox": "container"}, "the engine 'volume' needs the image of the application"),
        ({"options": "{user: app}"}, "the engine 'volume' needs the option 'mount'"),
        ({"sandbox": "directory"}, "does not run in a directory sandbox"),
    ],
)
def test_a_mistake_is_told(problems: Callable[..., list[object]], changes: dict[str, str], said: str) -> None:
    assert any(said in str(problem) for problem in problems(written(**changes)))
