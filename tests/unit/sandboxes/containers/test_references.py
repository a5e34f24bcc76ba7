"""Names of images: their grammar, and the slots of a catalogue's."""

from __future__ import annotations

import pytest

from restore_drill.sandboxes.containers import references
from restore_drill.sandboxes.containers.references import Reference

DIGEST = "sha256:" + "5a" * 32


@pytest.mark.parametrize(
    ("text", "parts", "last"),
    [
        ("postgres", ("", "postgres", "", ""), "postgres:latest"),
        ("postgres:15", ("", "postgres", "15", ""), "postgres:15"),
        (
            "docker.io/library/postgres:15.4-bookworm",
            ("", "library/postgres", "15.4-bookworm", ""),
            "postgres:15.4-bookworm",
        ),
        (f"postgres@{DIGEST}", ("", "postgres", "", DIGEST), "postgres:latest"),
        ("127.0.0.1:5000/acme/pg_x:1", ("127.0.0.1:5000", "acme/pg_x", "1", ""), "pg_x:1"),
        ("localhost/pg", ("localhost", "pg", "", ""), "pg:latest"),
        ("[::1]:5000/pg:1", ("[::1]:5000", "pg", "1", ""), "pg:1"),
        (f"registry.example/a/b/c__d:1@{DIGEST}", ("registry.example", "a/b/c__d", "1", DIGEST), "c__d:1"),
        ("acme/pg:1", ("", "acme/pg", "1", ""), "pg:1"),
    ],
)
def test_a_name_is_taken_apart(text: str, parts: tuple[str, str, str, str], last: str) -> None:
    reference = references.parse(text)
    assert reference == Reference(*parts)
    assert reference.last == last
    assert str(reference) == text.removeprefix("docker.io/")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is malformed"),
        ("acme//pg", "is malformed"),
        ("pg:", "has a malformed tag"),
        ("pg:a b", "has a malformed tag"),
        ("Acme/pg", "has upper-case letters in its repository"),
        ("pg@sha256:123", "is pinned to something else"),
        (f"pg@{DIGEST.upper()}", "is pinned to something else"),
        ("-x.y/pg", "has a malformed registry"),
        ("--privileged", "is malformed"),
        ("pg\n", "is malformed"),
        ("https://registry.example/pg", "has a malformed registry"),
    ],
)
def test_what_is_no_name_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        references.parse(text)


@pytest.mark.parametrize(
    ("template", "system", "version", "name"),
    [
        ("{system}:{major}", "postgres", "15.4", "postgres:15"),
        ("{system}:{version}", "postgres", "15.4", "postgres:15.4"),
        ("postgres:{major}", "postgres", "9.6.24", "postgres:9.6"),
        ("mariadb:{major}", "mariadb", "10.11.6", "mariadb:10"),
        (f"pg:{{major}}@{DIGEST}", "postgres", "16", f"pg:16@{DIGEST}"),
        ("acme/pg:fixed", "postgres", "", "acme/pg:fixed"),
    ],
)
def test_slots_are_filled(template: str, system: str, version: str, name: str) -> None:
    assert references.fill(template, system=system, version=version) == name


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("postgres:{majr}", "has an unknown slot {majr}; there are {version}, {major}, {system}"),
        ("postgres:{}", "has an unknown slot {}"),
        ("postgres:{major.real}", "has an unknown slot"),
        ("postgres:{major!r}", "has an unknown slot"),
        ("postgres:{major", "has malformed braces"),
        ("Postgres:{major}", "has upper-case letters"),
    ],
)
def test_what_is_wrong_with_a_catalogues_name(template: str, reason: str) -> None:
    assert references.problem(template).startswith(reason)
    assert "an example: " in references.problem(template)


def test_nothing_is_wrong_with_a_good_one() -> None:
    assert references.problem("registry.example/postgres:{major}") == ""


def test_a_version_that_nobody_knows_fills_no_slot() -> None:
    with pytest.raises(ValueError, match="which this backup does not record"):
        references.fill("postgres:{major}", system="postgres", version="")
