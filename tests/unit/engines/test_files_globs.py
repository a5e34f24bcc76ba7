from __future__ import annotations

import fnmatch
import re
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from restore_drill.engines.trees.globs import GlobError, Globs, compile_glob


def matches(pattern: str, path: str, *, is_directory: bool = False) -> bool:
    return bool(Globs([pattern]).matches(path, is_directory=is_directory))


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("etc/app.toml", "etc/app.toml"), ("/etc/app.toml", "etc/app.toml"), ("./etc//app.toml", "etc/app.toml"),
        ("*.toml", "app.toml"), ("*.toml", ".toml"), ("*", ".hidden"), ("a*c", "ac"), ("a?c", "a\nc"), ("a?c", "aüc"),
        ("**/*.tmp", "x.tmp"), ("**/*.tmp", "a/b/x.tmp"), ("a/**/z", "a/z"), ("a/**/z", "a/b/c/z"), ("a/**", "a/b"),
        ("a/**", "a/b/c"), ("**", "a/b"), ("**/a/**/b", "a/b"), ("**/a/**/b", "x/a/y/b"), ("[ab]c", "bc"),
        ("[!ab]c", "cc"),
        ("[^ab]c", "cc"), ("[a-c]x", "bx"), ("[]]", "]"), ("[!]]", "a"), ("[-a]", "-"), ("[a-]", "-"),
        ("[", "["),
        ("a[b", "a[b"), ("a.b", "a.b"), ("a(b)+", "a(b)+"), ("a\\b", "a\\b"), ("[\\]", "\\"), ("[&&]", "&"),
        ("\udcff*", "\udcffx"),
    ],
)  # fmt: skip
def test_what_matches(pattern: str, path: str) -> None:
    assert matches(pattern, path)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*.toml", "etc/app.toml"), ("etc", "etc/app.toml"), ("a*c", "a/c"), ("a?c", "a/c"), ("a/*", "a"),
        ("a/**", "a"),
        ("a/**/z", "az"), ("**/a", "ba"), ("*/a", "a"), ("[!a]", "/"), ("x[!a]y", "x/y"), ("x[+-9]y", "x/y"),
        ("A", "a"),
        ("a.b", "axb"), ("[ab]", "ab"), ("[!ab]c", "ac"), ("[a-c]x", "dx"), ("**/*.tmp", "x.tmp/y"), ("a", "a\n"),
    ],
)  # fmt: skip
def test_what_does_not_match(pattern: str, path: str) -> None:
    assert not matches(pattern, path)


def test_a_trailing_slash_asks_for_a_directory() -> None:
    assert matches("a/b/", "a/b", is_directory=True) and not matches("a/b/", "a/b")
    assert matches("a/b", "a/b", is_directory=True)


@pytest.mark.parametrize("pattern", ["", "/", ".", "..", "a/../b", "**.tmp", "a**/b", "***", "[z-a]"])
def test_globs_that_mean_nothing(pattern: str) -> None:
    with pytest.raises(GlobError):
        compile_glob(pattern)


def test_each_glob_is_told_apart() -> None:
    globs = Globs(["**/*.csv", "data/**", "data/", "*.md", "**/*.csv"])
    assert globs.patterns == ("**/*.csv", "data/**", "data/", "*.md")
    assert globs.matches("data/a.csv", is_directory=False) == ["**/*.csv", "data/**"]
    assert globs.matches("data", is_directory=True) == ["data/"]
    assert list(globs.matches("etc", is_directory=True)) == []
    assert list(Globs([]).matches("etc", is_directory=True)) == []


def reference(pattern: list[str], path: list[str]) -> bool:
    """The definition, component by component."""
    if not pattern:
        return not path
    if pattern == ["**"]:
        return bool(path)
    if pattern[0] == "**":
        return any(reference(pattern[1:], path[start:]) for start in range(len(path) + 1))
    return bool(path) and fnmatch.fnmatchcase(path[0], pattern[0]) and reference(pattern[1:], path[1:])


_components = st.one_of(
    st.just("**"), st.text("ab.*?[]!-", min_size=1, max_size=5).filter(lambda text: "**" not in text)
)
_names = st.text("ab.[]-!\n", min_size=1, max_size=4).filter(lambda text: text not in (".", ".."))


@given(st.lists(_components, min_size=1, max_size=4), st.lists(_names, min_size=1, max_size=5))
def test_the_expression_does_what_the_definition_says(pattern: list[str], path: list[str]) -> None:
    parts = [part for part in pattern if part != "."]
    text = "/".join(pattern)
    assume(parts and ".." not in parts)
    # Ranges that run backwards are refused here, and nothing to fnmatch.
    assume(not re.search(r"\[[^\]]*(b-a|b-\.|a-\.|a-!|b-!|\.-!|\]-)", text))
    assert matches("./" + text, "/".join(path)) == reference(parts, path)


@pytest.mark.parametrize("pattern", ["*", "*/*", "**/*.py", "**/c", "a/**/*.py", "[!a]*/*", "?/b/*", "**/b/**/*.py"])
def test_pathlib_finds_the_same_files(tmp_path: Path, pattern: str) -> None:
    for name in ("a/b/c", "a/b/d.py", "a/e.py", "b/b/f.py", "b/g", "h.py", ".i/b/j.py", "k/.l.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    paths = {str(path.relative_to(tmp_path)): path.is_dir() for path in tmp_path.rglob("*")}
    ours = {path for path, is_directory in paths.items() if matches(pattern, path, is_directory=is_directory)}
    assert ours == {str(path.relative_to(tmp_path)) for path in tmp_path.glob(pattern)} != set()
