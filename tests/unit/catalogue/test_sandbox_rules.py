"""What a target asks of its sandbox, held against the kind of it and the engine, with the place of each mistake."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from restore_drill import registry
from restore_drill.catalogue.load import load
from restore_drill.catalogue.problems import Problem
from restore_drill.plan import Plan
from restore_drill.sandboxes.base import SandboxOptions

CATALOGUE = """\
version: 1
stores:
  nas: {{url: file:///backups, media: disk}}
defaults: {{timezone: UTC}}
targets:
  orders-db:
    tier: critical
    engine: {engine}
    sandbox: {sandbox}
    copies:
      nas: {{path: "db/{{time:%Y%m%d_%H%M%S}}.db.gz"}}
"""


class ServerEngine:
    """A server's engine, which runs in both."""

    name = "server"
    checks = frozenset({"rows"})
    sandboxes = ("container", "directory")
    chains = False


@pytest.fixture(autouse=True)
def _server(monkeypatch: pytest.MonkeyPatch) -> None:
    toys = sys.modules["toys_of_the_catalogue_tests"]
    toys.ServerEngine = ServerEngine  # type: ignore[attr-defined]
    engines = {**registry.BUILT_IN["engines"], "server": (f"{toys.__name__}:ServerEngine", "")}
    monkeypatch.setitem(registry.BUILT_IN, "engines", engines)


@pytest.mark.parametrize(
    ("engine", "sandbox", "said", "hint"),
    [
        ("toy", "¦container", "the engine 'toy' does not run in a container sandbox", "it runs in directory"),
        ("toy", "{kind: ¦container}", "the engine 'toy' does not run in a container sandbox", "it runs in directory"),
        ("server", "¦contaner", "there is no sandbox 'contaner'", "did you mean 'container'?"),
        ("server", "{kind: ¦contaner}", "there is no sandbox 'contaner'", "did you mean 'container'?"),
        ("server", "{¦kinds: container}", "unknown option 'kinds'", "did you mean 'kind'?"),
        (
            "server",
            "{kind: directory, ¦image: 'postgres:15'}",
            "'image' means nothing in a directory sandbox",
            "remove it, or write kind: container",
        ),
        ("toy", "{¦image: 'postgres:15'}", "'image' means nothing in a directory sandbox", "remove it"),
        ("toy", "{memory: 1 GiB, ¦host: 'unix:///x'}", "'host' means nothing in a directory sandbox", "remove it"),
        ("server", "{host: ¦docker}", "'host' needs the address of a container engine, such as unix:///run", ""),
        ("server", "{host: ¦'unix://'}", "'host' needs the address of a container engine", ""),
        ("server", "{image: ¦'Postgres:15'}", "'image' cannot be used: the image's name", ""),
        ("server", "{memory: ¦1 MiB}", "'memory' cannot be used: is less than any server starts with", ""),
        ("server", "{cpus: ¦0}", "'cpus' cannot be used: must be above 0", ""),
        ("server", "{processes: ¦0}", "'processes' is 0, and may be at least 1", ""),
        ("server", "{pull: ¦sometimes}", "'pull' may be 'missing', 'never' or 'always', not the text", ""),
    ],
)
def test_contradictions(
    problems: Callable[..., list[Problem]], engine: str, sandbox: str, said: str, hint: str
) -> None:  # fmt: skip
    text = CATALOGUE.format(engine=engine, sandbox=sandbox)
    (problem,) = problems(text.replace("¦", ""))
    assert problem.message.startswith(said)
    assert hint in problem.hint
    line = next(number for number, each in enumerate(text.splitlines(), 1) if "¦" in each)
    assert (problem.line, problem.column) == (line, text.splitlines()[line - 1].index("¦") + 1)


@pytest.mark.parametrize(
    ("engine", "sandbox", "kind", "options"),
    [
        ("toy", "directory", "directory", SandboxOptions()),
        (
            "toy",
            "{memory: 4 GiB, processes: 64, disk: 1 TB}",
            None,
            SandboxOptions("", "missing", 4 << 30, None, 64, 10**12),
        ),
        ("server", "container", "container", SandboxOptions()),
        ("server", "{image: 'pg@sha256:" + "a" * 64 + "'}", None, SandboxOptions("pg@sha256:" + "a" * 64)),
        (
            "server",
            "{kind: container, pull: never, cpus: 1.5, host: 'tcp://127.0.0.1:2375'}",
            "container",
            SandboxOptions(pull="never", cpus=1.5, host="tcp://127.0.0.1:2375"),
        ),
        ("server", "{kind: directory, memory: 1 GiB}", "directory", SandboxOptions(memory=1 << 30)),
    ],
)
def test_what_is_asked_is_handed_on(
    plan: Callable[..., Plan], engine: str, sandbox: str, kind: str | None, options: SandboxOptions
) -> None:
    model = plan(CATALOGUE.format(engine=engine, sandbox=sandbox)).by_name["orders-db"].model.sandbox
    assert (model.kind, model.options) == (kind, options)


def test_left_out_it_is_open(here: Path) -> None:
    text = CATALOGUE.format(engine="server", sandbox="container").replace("    sandbox: container\n", "")
    (here / "targets.yaml").write_text(text)
    model = load(Path("targets.yaml")).by_name["orders-db"].model.sandbox
    assert (model.kind, model.given, model.options) == (None, frozenset(), SandboxOptions())
