from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from restore_drill.catalogue import compose
from restore_drill.catalogue.nodes import Bounds, Document
from restore_drill.catalogue.problems import Problems
from restore_drill.catalogue.source import read_bytes, read_file


@pytest.fixture(params=["libyaml", "pure Python"], autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compose, "_Loader", yaml.CSafeLoader if request.param == "libyaml" else yaml.SafeLoader)


def read(text: str | bytes, **bounds: int) -> tuple[Document, list[str]]:
    problems = Problems()
    data = text if isinstance(text, bytes) else text.encode()
    document = read_bytes(data, "t.yaml", problems, Bounds(**bounds))
    return document, [str(problem) for problem in problems.sorted(["t.yaml"])]


def value(text: str | bytes) -> Any:
    document, problems = read(text)
    assert problems == []
    assert document.root is not None
    return document.root.value


def first(text: str | bytes, **bounds: int) -> str:
    problems = read(text, **bounds)[1]
    return problems[0] if problems else "nothing is wrong"


def test_places_keys_and_values() -> None:
    document, problems = read("a:\n  - x\n  - {ä: 'y', z: 5}\n")
    assert problems == []
    assert document.root is not None and document.root.children is not None
    inner = document.root.children["a"].children[1]  # type: ignore[index]
    assert inner.children is not None
    assert document.place_of(inner.keys["z"]) == ("t.yaml", 3, 14, "  - {ä: 'y', z: 5}")
    assert (inner.children["z"].text, inner.children["z"].plain) == ("5", True)
    assert (inner.children["ä"].text, inner.children["ä"].plain) == ("y", False)


@pytest.mark.parametrize(
    "text",
    [
        "a: 1\nb: 2\n",
        "a: 1\r\nb: 2\r\n",
        "a: 1\rb: 2\r",
        "\ufeffa: 1\nb: 2",
        "{a: 1, b: 2}",
        "--- \na: 1\nb: 2\n...\n",
        "%YAML 1.1\n---\na: 1\nb: 2",
        "# comment\n\na: 1 # one\nb: 2",
        'a: !!int 1\n"b": 2',
        "? a\n: 1\n? b\n: 2",
    ],
)
def test_reads_one_mapping_however_it_is_written(text: str) -> None:
    assert value(text) == {"a": 1, "b": 2}


def test_reads_text_that_only_looks_like_something_else() -> None:
    assert value("a: 'no'\nb: \"012\"\nc: !!str 5\ne: |\n  on\nf: yes please\n'<<': x") == {
        "a": "no",
        "b": "012",
        "c": "5",
        "e": "on\n",
        "f": "yes please",
        "<<": "x",
    }


@pytest.mark.parametrize(
    "text",
    [
        "base: &b {x: 1, y: 2}\nc: {<<: *b, y: 3}",
        "base: &b {x: 1, y: 2}\nother: &o {x: 5, z: 6}\nc: {<<: [*b, *o], w: 0}\nd: {w: 0, <<: [*o, *b]}",
        "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, z: 3}",
        "a: &a [1, 2]\nb: *a\nc: [*a, *a]",
        "a: &a x\nb: *a",
    ],
)
def test_aliases_and_merge_keys_mean_what_they_mean_to_pyyaml(text: str) -> None:
    expected = yaml.safe_load(text)
    assert value(text) == expected
    assert {key: list(each) for key, each in value(text).items()} == {key: list(each) for key, each in expected.items()}


def test_what_a_merge_key_brings_keeps_its_place() -> None:
    document, _ = read("base: &b\n  x: 1\nc:\n  <<: *b\n  y: 2\n")
    assert document.root is not None and document.root.children is not None
    merged = document.root.children["c"]
    assert merged.children is not None
    assert [document.place_of(merged.children[key]).line for key in ("x", "y")] == [2, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: 1\nb: 2\na: 3",
            "t.yaml:3:1: 'a' is written twice\n    a: 3\n    ^\n  hint: keep one of them; the first is on line 1",
        ),
        ("x: {a: 1, a: 1}", "t.yaml:1:11: 'a' is written twice"),
        ("a: 1\n'a': 3", "t.yaml:2:1: 'a' is written twice"),
        (
            "2024: x",
            "t.yaml:1:1: the key 2024 is read as a number by YAML\n"
            "    2024: x\n    ^\n  hint: put it in quotes: '2024'",
        ),
        ("no: x", "t.yaml:1:1: the key no is read as a truth value by YAML"),
        ("2026-11-23: x", "t.yaml:1:1: the key 2026-11-23 is read as a date by YAML"),
        ("1e3: x", "t.yaml:1:1: 1e3 is text in YAML 1.1 and a number in YAML 1.2"),
        ("? [a]\n: b", "t.yaml:1:3: a key must be text"),
        ("? \n: b", "t.yaml:1:2: a key is missing"),
        ("a: {<<: 5}", "t.yaml:1:9: << needs a mapping, or a list of mappings"),
        ("a: &x 1\nb: &x 2", "t.yaml:2:4: the anchor &x is defined twice"),
        ("a: &bar x\nb: *bat", "t.yaml:2:4: *bat names no anchor\n    b: *bat\n       ^\n  hint: did you mean 'bar'?"),
        ("a: &a [*a]", "t.yaml:1:8: *a stands inside what it repeats"),
        ("a: &a {b: {<<: *a}}", "t.yaml:1:16: *a stands inside what it repeats"),
        (
            "a: !!python/object/apply:os.system [ls]",
            "t.yaml:1:4: the tag !!python/object/apply:os.system is not allowed",
        ),
        ("a: !!binary aa", "t.yaml:1:4: the tag !!binary is not allowed"),
        ("a: !!set {x}", "t.yaml:1:4: the tag !!set is not allowed"),
        ("a: !vault x", "t.yaml:1:4: the tag !vault is not allowed"),
        ("a: ! 12", "t.yaml:1:4: the tag ! is not allowed"),
        ("a: !!int x", "t.yaml:1:4: !!int does not fit 'x'"),
        ("a: !!map [x]", "t.yaml:1:4: !!map does not fit a list"),
        ("a: b: c", "t.yaml:1:5: this is not YAML: mapping values are not allowed"),
        ("a: [1, 2", "t.yaml:1:9: this is not YAML"),
        ("a: @x", "t.yaml:1:4: this is not YAML"),
        ("a: 1\n---\nb: 2", "t.yaml:2:1: a second document begins here"),
        ("", "t.yaml:1:1: the file is empty"),
        ("# nothing\n", "t.yaml:1:1: the file is empty"),
        ("---\n~\n", "t.yaml:1:1: the file is empty"),
        ("a: \x1b[31m", "t.yaml:1:4: the control character U+001B is not allowed"),
        ("a: 1\nb: \ufeff", "t.yaml:2:4: the control character U+FEFF is not allowed"),
        (b"a: 1\nb\xc3\xa9: \xff", "t.yaml:2:5: the file is not UTF-8: byte 0xff"),
        ("a: 1".encode("utf-16"), "t.yaml:1:1: the file is not UTF-8: byte 0xff (it looks like UTF-16)"),
    ],
)
def test_says_what_is_wrong_and_where(text: str | bytes, message: str) -> None:
    found = first(text)
    assert found[: len(message)] == message
    assert "hint: " in found


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a:\n\tb: c", "indent with spaces; YAML does not allow tabs"),
        ("path: {time:%Y}.gz", "a path that begins with { needs quotes"),
        ("a: @x", "text that begins with @ needs quotes"),
        ("a: b: c", "text with a colon and a space in it needs quotes"),
        ("[a, b}", "check indentation, brackets and quotes here and just above"),
    ],
)
def test_hints_at_the_usual_reason_of_a_syntax_error(text: str, hint: str) -> None:
    assert first(text).endswith(f"hint: {hint}")


def test_goes_on_after_a_problem_that_ends_nothing() -> None:
    document, problems = read("a: !foo 1\nb: 012\nc: 1\nc: 2\nno: 3\n")
    assert len(problems) == 4
    assert document.root is not None
    assert document.root.value == {"a": "1", "b": "012", "c": 1, "no": 3}


def test_a_billion_laughs_are_refused_before_they_are_written_out() -> None:
    levels = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "more than 200000 keys and values up to here, aliases written out" in first("\n".join(levels))
    assert first("\n".join(levels[:4])) == "nothing is wrong"


def test_merge_keys_do_not_hide_a_bomb() -> None:
    levels = ["m0: &m0 {a: {x: 1}}"]
    levels += [f"m{n}: &m{n} {{p: *m{n - 1}, q: *m{n - 1}, <<: *m{n - 1}}}" for n in range(1, 20)]
    assert "aliases written out" in first("\n".join(levels))
    assert first("\n".join(levels[:5])) == "nothing is wrong"


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_deep_nesting_is_refused_while_reading(opening: str) -> None:
    assert "more than 40 levels of nesting" in first(opening * 200_000)


def test_depth_within_bounds_is_read() -> None:
    assert first("[" * 40 + "]" * 40) == "nothing is wrong"
    assert "more than 40 levels" in first("[" * 41 + "]" * 41)


def test_too_many_values_are_refused() -> None:
    assert first("[a, b, c, d]", nodes=5) == "nothing is wrong"
    assert "more than 4 keys and values" in first("[a, b, c, d]", nodes=4)


def test_a_file_that_is_too_large_is_refused() -> None:
    assert first(b"a: bcd", size=6) == "nothing is wrong"
    assert "t.yaml:1:1: the file is larger than 5 bytes" in first(b"a: bcd", size=5)


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    problems = Problems()
    assert read_file(tmp_path, "t.yaml", problems).root is None
    assert read_file(tmp_path / "absent", "u.yaml", problems).root is None
    assert [problem.message for problem in problems.sorted(["t.yaml", "u.yaml"])] == [
        "the file cannot be read: Is a directory",
        "the file cannot be read: No such file or directory",
    ]


@pytest.mark.parametrize("text", ['a: "\\ud800"', 'a: "\\ud83d\\ude00"'])
def test_surrogates_never_get_through(text: str) -> None:
    assert first(text).startswith("t.yaml:1:")
    assert first('a: "\\U0001F600"') == "nothing is wrong"


_PIECES = st.sampled_from(
    [
        "a",
        "b: ",
        "c:\n  ",
        "- ",
        "\n",
        "\n  ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "'",
        '"',
        "&x ",
        "*x",
        "<<: ",
        "!!int ",
        "!y ",
        "|\n ",
        ">\n ",
        "#",
        "? ",
        "---\n",
        "...\n",
        "%",
        "no",
        "012",
        "2026-11-23",
        "~",
        "é",
        "\t",
        "\r\n",
        "\u2028",
        "5",
    ]
)


@given(st.one_of(st.lists(_PIECES, max_size=25).map("".join), st.text(max_size=60)))
def test_any_text_is_read_as_pyyaml_reads_it_or_has_a_problem_with_a_place(text: str) -> None:
    for loader in (yaml.CSafeLoader, yaml.SafeLoader):
        problems = Problems()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compose, "_Loader", loader)
            document = read_bytes(text.encode("utf-8", "replace"), "t.yaml", problems)
        found = problems.sorted(["t.yaml"])
        assert all(problem.line >= 1 and problem.column >= 1 for problem in found)
        assert all(problem.line <= len(document.lines) for problem in found)
        if not found:
            assert document.root is not None
            try:
                expected = yaml.load(text, loader)
            except yaml.constructor.ConstructorError:
                continue  # a lone = or <<, which is text in YAML 1.2 and here
            assert document.root.value == expected


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_have_a_problem(data: bytes) -> None:
    problems = Problems()
    document = read_bytes(data, "t.yaml", problems)
    assert (document.root is None) <= bool(problems)
