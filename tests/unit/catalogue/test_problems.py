from __future__ import annotations

import pickle

import pytest

from restore_drill.catalogue.problems import CatalogueInvalid, Place, Problem, Problems, shorten, suggest
from restore_drill.model import Verdict


def test_shows_place_line_caret_and_hint() -> None:
    problem = Problem("a.yaml", 3, 5, "unknown option 'rtoo'", "did you mean 'rto'?", "  - rtoo: 1h")
    assert str(problem) == (
        "a.yaml:3:5: unknown option 'rtoo'\n      - rtoo: 1h\n        ^\n  hint: did you mean 'rto'?"
    )


def test_a_problem_without_a_line_is_one_line() -> None:
    assert str(Problem("a.yaml", 1, 1, "the file is empty")) == "a.yaml:1:1: the file is empty"


def test_a_long_line_is_cut_around_the_caret() -> None:
    shown, caret = str(Problem("a", 1, 501, "x", "", "y" * 500 + "Z" + "y" * 500)).splitlines()[1:]
    assert len(shown) <= 4 + 112
    assert shown[caret.index("^")] == "Z"
    assert shown.strip().startswith("…") and shown.endswith("…")


def test_what_cannot_be_printed_is_not_sent_to_the_terminal() -> None:
    shown, caret = str(Problem("a", 1, 4, "x", "", "\ta\x1bZ\u202e")).splitlines()[1:]
    assert shown.isprintable()
    assert shown[caret.index("^")] == "Z"


@pytest.mark.parametrize(
    "line",
    [
        "password: hunter2",
        "  access_key_id: AKIA1234",
        "{secret: 'x y'}",
        'api_key: "abc"',
        "identity: AGE-SECRET-KEY-1ABC",
        "url: s3://me:pw@bucket",
        "key: hunter2",
        "token : abc",
    ],
)
def test_a_line_that_may_hold_a_secret_is_not_shown(line: str) -> None:
    problems = Problems()
    problems.add(Place("a", 1, 1, line), "unknown option")
    assert problems.sorted(["a"])[0].source_line == ""


@pytest.mark.parametrize(
    "line",
    [
        "identity: env:KEY",
        "secret_access_key: file:/run/key",
        "credentials: {access_key_id: env:A}",
        "owner: me",
        "keys: [a]",
        "secret_access_key: {command: [vault]}",
        'identity: "env:KEY"',
        "credentials:",
    ],
)
def test_references_to_secrets_are_shown(line: str) -> None:
    problems = Problems()
    problems.add(Place("a", 1, 1, line), "unknown option")
    assert problems.sorted(["a"])[0].source_line == line


def test_a_secret_line_is_hidden_from_every_problem_on_it() -> None:
    problems = Problems()
    problems.add(Place("a", 1, 1, "x: hunter2"), "unknown option")
    assert problems.sorted(["a"])[0].source_line == "x: hunter2"
    problems.add(Place("a", 1, 4, "x: hunter2"), "a secret", secret=True)
    assert [problem.source_line for problem in problems.sorted(["a"])] == ["", ""]


def test_sorted_by_file_in_load_order_then_by_place_and_kept_once() -> None:
    problems = Problems()
    for place, message in [
        (("b", 1, 1), "3"),
        (("a", 9, 1), "2"),
        (("a", 2, 5), "1"),
        (("a", 2, 4), "0"),
        (("a", 2, 4), "0"),
    ]:
        problems.add(Place(*place), message)
    assert [problem.message for problem in problems.sorted(["a", "b"])] == ["0", "1", "2", "3"]
    assert [problem.message for problem in problems.sorted(["b", "a"])] == ["3", "0", "1", "2"]


def test_the_error_holds_and_prints_all_and_can_be_sent() -> None:
    problems = [Problem("a", 1, 1, "one"), Problem("a", 2, 1, "two")]
    error = CatalogueInvalid(problems)
    assert str(error) == "a:1:1: one\na:2:1: two\nthe catalogue has 2 problems."
    assert error.verdict is Verdict.ERROR
    assert pickle.loads(pickle.dumps(error)).problems == error.problems
    assert str(CatalogueInvalid(problems[:1])).endswith("the catalogue has 1 problem.")


def test_suggestions() -> None:
    assert suggest("rtoo", ["rpo", "rto", "owner"]) == "did you mean 'rto'?"
    assert suggest("NAS", ["nas"]) == "did you mean 'nas'?"
    assert suggest("zzz", ["rpo", "rto"]) == "known: rpo, rto"
    assert suggest("zzz", []) == ""
    assert suggest("zzz", [f"name{n}" for n in range(99)]).endswith("name13, …")


def test_long_values_are_shortened() -> None:
    assert shorten("a\nb") == "'a\\nb'"
    assert len(shorten("x" * 500)) == 60
