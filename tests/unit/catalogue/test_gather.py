from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from restore_drill.catalogue import gather as gathering
from restore_drill.catalogue.gather import gather, merge
from restore_drill.catalogue.load import load
from restore_drill.catalogue.problems import CatalogueInvalid, Problem
from restore_drill.plan import Plan

TARGET = "{tier: critical, engine: toy, copies: {nas: {path: 'x/{time:%Y%m%d}'}}}"


def test_defaults_are_merged_key_by_key_and_null_takes_back() -> None:
    default = {"a": 1, "b": {"x": 1, "y": [1, 2]}, "c": {"z": 1}, "d": 4, "e": 5}
    own = {"a": 2, "b": {"y": [3]}, "c": 7, "d": None, "f": None}
    assert merge(default, own) == {"a": 2, "b": {"x": 1, "y": [3]}, "c": 7, "e": 5, "f": None}
    assert default["b"] == {"x": 1, "y": [1, 2]} and own["b"] == {"y": [3]}


def test_defaults_reach_every_target(good: str, plan: Callable[..., Plan]) -> None:
    targets = plan(good.replace("tier: important", "tier: important\n    grace: null")).by_name
    assert targets["orders-db"].model.grace.total_seconds() == 1200
    assert targets["wiki"].model.grace.total_seconds() == 900
    assert str(targets["wiki"].copies[0].pattern.zone) == "Europe/Berlin"


def test_what_is_fresh_is_never_inherited(good: str, only_problem: Callable[..., str]) -> None:
    text = good.replace("grace: 20m}", "grace: 20m, expect: {newest_record: {sql: select 1, within: 1h}}}")
    assert only_problem(text) == (
        "targets.yaml:5:58: newest_record is never inherited: what is fresh for one target says nothing of another\n"
        "    defaults: {timezone: Europe/Berlin, grace: 20m, expect: {newest_record: {sql: select 1, within: 1h}}}\n"
        f"    {' ' * 57}^\n"
        "  hint: write it in each target it is meant for"
    )


def test_a_mistake_in_the_defaults_is_reported_once_even_where_every_target_overrides_it(
    good: str, only_problem: Callable[..., str]
) -> None:
    wrong = good.replace("grace: 20m", "grace: 20")
    assert only_problem(wrong).startswith("targets.yaml:5:44: 'grace' needs a number with a unit")
    overridden = wrong.replace("tier: ", "grace: 1h\n    tier: ")
    assert only_problem(overridden).startswith("targets.yaml:5:44: 'grace' needs a number with a unit")


def test_what_the_defaults_leave_to_the_targets_is_no_mistake(good: str, plan: Callable[..., Plan]) -> None:
    text = good.replace("grace: 20m}", "tier: archival, copies: {nas: {lag: 1h}}}").replace("    tier: important\n", "")
    assert plan(text).by_name["wiki"].tier == "archival"


def test_an_included_file_adds_targets_tiers_stores_and_exceptions(good: str, plan: Callable[..., Plan]) -> None:
    found = plan(
        good + "include: more/*.yaml\n",
        a=f"""
            tiers: {{silver: {{rpo: 2h, rto: 1h, drill_every: 1w}}}}
            stores: {{tape: {{url: file:tape, media: tape}}}}
            targets:
              billing: {TARGET.replace("critical", "silver").replace("nas:", "tape:")}
        """,
        b="""
            exceptions:
              - {id: EX-1, target: billing, case: rto, reason: slow tape, approver: ciso, expires: 2030-01-01}
        """,
    )
    billing = found.by_name["billing"]
    assert (billing.tier, billing.rpo.total_seconds()) == ("silver", 7200)
    assert billing.copies[0].settings.url == f"file://{Path.cwd() / 'tape'}"
    assert billing.model.grace.total_seconds() == 1200
    assert [exception.id for exception in billing.exceptions] == ["EX-1"]
    assert found.tiers == ("critical", "silver", "important", "archival"), "the most urgent first"


def test_problems_of_an_included_file_have_its_name(good: str, only_problem: Callable[..., str]) -> None:
    wrong = only_problem(
        good + "include: [more/*.yaml]\n",
        a=f"targets:\n  billing: {TARGET}\n  other: {TARGET[:-1].replace('x/', 'y/')}, ownr: me}}\n",
    )
    assert wrong.startswith(f"{Path('more/a.yaml')}:3:82: unknown option 'ownr'")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version: 1", "more/a.yaml:1:1: 'version' is of the catalogue itself, not of an included file"),
        ("defaults: {}", "more/a.yaml:1:1: 'defaults' is of the catalogue itself"),
        ("state: x", "more/a.yaml:1:1: 'state' is of the catalogue itself"),
        ("demo: true", "more/a.yaml:1:1: 'demo' is of the catalogue itself"),
        ("include: x", "more/a.yaml:1:1: 'include' is of the catalogue itself"),
        (
            "target: {}",
            "more/a.yaml:1:1: unknown option 'target'\n    target: {}\n    ^\n  hint: did you mean 'targets'?",
        ),
        ("targets: [x]", "more/a.yaml:1:1: 'targets' needs a mapping"),
        ("exceptions: {}", "more/a.yaml:1:1: 'exceptions' needs a list"),
        ("[x]", "more/a.yaml:1:1: an included file is a mapping"),
        ("a: [", "more/a.yaml:1:5: this is not YAML"),
        (
            "stores: {nas: {url: 'file:x', media: disk}}",
            "more/a.yaml:1:10: the store 'nas' is declared twice\n"
            "    stores: {nas: {url: 'file:x', media: disk}}\n             ^\n"
            "  hint: rename one of them; the first is at targets.yaml:3",
        ),
        (f"targets: {{wiki: {TARGET}}}", "more/a.yaml:1:11: the target 'wiki' is declared twice"),
    ],
)
def test_what_an_included_file_may_not_hold(
    good: str, only_problem: Callable[..., str], content: str, message: str
) -> None:
    found = only_problem(good + "include: more/*.yaml\n", a=content)
    assert found[: len(message)] == message


def test_what_an_unreadable_include_may_declare_is_not_called_unknown(
    good: str, problems: Callable[..., list[Problem]]
) -> None:
    text = good.replace("important", "gold").replace("latest: wiki", "store: tape, latest: wiki")
    unknown = [problem.message for problem in problems(text)]
    assert unknown == ["there is no tier 'gold'", "there is no store 'tape'"]
    found = problems(text + "include: more/*.yaml\n", a="a: [")
    assert [problem.file for problem in found] == [str(Path("more/a.yaml"))]


@pytest.mark.parametrize(
    ("include", "message"),
    [
        ("absent/*.yaml", "targets.yaml:23:10: 'absent/*.yaml' matches no file"),
        ("more", "targets.yaml:23:10: 'more' matches no file"),
        ("/etc/*.yaml", "targets.yaml:23:10: an include stays inside the catalogue's directory"),
        ("more/../../x.yaml", "targets.yaml:23:10: an include stays inside the catalogue's directory"),
        ('"more/a.yaml\\0"', "targets.yaml:23:10: an include stays inside the catalogue's directory"),
        ("[more/a.yaml, 5]", "targets.yaml:23:24: 'include' needs text, not the number 5"),
        ("{more: x}", "targets.yaml:23:1: 'include' needs a list"),
        ("''", "targets.yaml:23:10: 'include' is empty"),
    ],
)
def test_includes_that_are_refused(good: str, only_problem: Callable[..., str], include: str, message: str) -> None:
    found = only_problem(f"{good}include: {include}\n", a=f"targets: {{billing: {TARGET}}}")
    assert found[: len(message)] == message


def test_a_file_counts_once_and_the_catalogue_does_not_include_itself(good: str, plan: Callable[..., Plan]) -> None:
    found = plan(good + "include: ['*.yaml', more/a.yaml, 'more/*.yaml', '**/*.yaml']\n", a=f"targets: {{b: {TARGET}}}")
    assert [target.name for target in found.targets] == ["orders-db", "wiki", "b"]


def test_hidden_files_are_left_out_unless_named(good: str, here: Path, plan: Callable[..., Plan]) -> None:
    (here / "more").mkdir()
    (here / "more" / ".hidden.yaml").write_text(f"targets: {{b: {TARGET}}}")
    assert "b" not in plan(good + "include: more/*.yaml\n", a=f"targets: {{c: {TARGET}}}").by_name
    assert "b" in plan(good + "include: more/.h*.yaml\n").by_name


def test_links_are_followed_inside_the_directory_and_refused_outside(
    good: str, here: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "b.yaml"
    outside.write_text(f"targets: {{b: {TARGET}}}")
    data = here / "..2026" / "b.yaml"
    data.parent.mkdir()
    data.write_text(outside.read_text())
    (here / "targets.yaml").write_text(good + "include: link.yaml\n")
    (here / "link.yaml").symlink_to(data)
    assert "b" in load(Path("targets.yaml")).by_name
    (here / "link.yaml").unlink()
    (here / "link.yaml").symlink_to(outside)
    with pytest.raises(CatalogueInvalid) as caught:
        load(Path("targets.yaml"))
    assert [problem.message for problem in caught.value.problems] == [
        "link.yaml leads outside the catalogue's directory"
    ]


def test_files_keep_their_order_in_the_digest(good: str, plan: Callable[..., Plan]) -> None:
    one = plan(good + "include: more/*.yaml\n", a=f"targets: {{b: {TARGET}}}").digest
    assert one == plan(good + "include: more/*.yaml\n", a=f"targets: {{b: {TARGET}}}").digest
    assert one != plan(good + "include: more/*.yaml\n", a=f"targets: {{b: {TARGET}}} #").digest
    assert one != plan(good + "include: more/*.yaml #\n", a=f"targets: {{b: {TARGET}}}").digest


def test_includes_have_an_end(
    good: str, only_problem: Callable[..., str], monkeypatch: pytest.MonkeyPatch, plan: Callable[..., Plan]
) -> None:
    files = dict.fromkeys("abc", "stores: {}")
    monkeypatch.setattr(gathering, "_MOST_FILES", 4)
    assert len(plan(good + "include: more/*.yaml\n", **files).targets) == 2
    monkeypatch.setattr(gathering, "_MOST_FILES", 3)
    assert "more than 3 files are included" in only_problem(good + "include: more/*.yaml\n", **files)


def test_all_files_together_have_a_limit(
    good: str, only_problem: Callable[..., str], monkeypatch: pytest.MonkeyPatch, plan: Callable[..., Plan]
) -> None:
    files = {"a": "stores: {}", "b": f"targets: {{c: {TARGET}}}"}
    monkeypatch.setattr(gathering, "_MOST_NODES", 120)
    assert len(plan(good + "include: more/*.yaml\n", **files).targets) == 3
    monkeypatch.setattr(gathering, "_MOST_NODES", 90)
    assert "keys and values up to here" in only_problem(good + "include: more/*.yaml\n", **files)


def test_defaults_may_not_multiply_without_end(here: Path) -> None:
    options = ", ".join(f"o{n}: {n}" for n in range(5000))
    targets = "\n".join(f"  t{n}: {TARGET}" for n in range(400))
    text = "version: 1\nstores: {nas: {url: 'file:x', media: disk}}\n"
    text += f"defaults: {{engine_options: {{{options}}}}}\ntargets:\n"
    (here / "targets.yaml").write_text(text + targets)
    found = [problem.message for problem in gather(Path("targets.yaml")).problems.sorted([])]
    assert found == ["the defaults are too large for so many targets"]
    (here / "targets.yaml").write_text(text + targets[: targets.index("t50")])
    assert not gather(Path("targets.yaml")).problems
