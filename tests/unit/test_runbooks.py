"""What of a document is typed, in which order, and at which line; what is not, and that it is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from restore_drill import runbooks

RUNBOOK = (Path(__file__).parents[1] / "support" / "runbooks" / "services.md").read_text("utf-8")


def typed(text: str, **options: Any) -> list[tuple[int, str]]:
    return [(step.line, step.code) for step in runbooks.parse(text, **options).steps]


def test_a_runbook_as_most_teams_have_it() -> None:
    found = runbooks.parse(RUNBOOK, "Customer database")
    assert [(step.line, step.code.split()[0]) for step in found.steps] == [
        (16, "sudo"), (17, "LATEST=$(ls"), (18, "cd"), (19, "sha256sum"), (20, "mv"), (21, "sqlite3"), (22, "test"),
        (24, "sudo"), (25, "curl"),
    ]  # fmt: skip
    assert {step.heading for step in found.steps} == {"Customer database"}
    assert found.rollback == () and found.has_rollback and found.rollback_line == 27
    assert found.named == ((28, "/srv/crm/crm.db.before-restore"),)
    assert [each.line for each in found.unexecuted] == [23]


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("Say `rm -rf x` to nobody.\n\n- nor `rm -rf y`\n", []),
        ("1. `PRAGMA integrity_check`, `ok`, `crm.db`, `sqlite3`\n", []),
        ("1. `X=1`, then `A=b make it`, `./run.sh now`, `/opt/x/run now`, `[ -e x ]`\n",
         [(1, "X=1"), (1, "A=b make it"), (1, "./run.sh now"), (1, "/opt/x/run now"), (1, "[ -e x ]")]),
        ("1. `A='b c' make it`, ``L=`ls -1 x | tail -n 1` ``, `(cd a && b)`, `! test -e c`, `\"$BIN/load\" d`\n",
         [(1, "A='b c' make it"), (1, "L=`ls -1 x | tail -n 1`"), (1, "(cd a && b)"), (1, "! test -e c"),
          (1, '"$BIN/load" d')]),
        ("1. `(x)`, `{name}`, `\"some words\"`, `A='b`, `A='b c'd E`\n", []),
        ("1. one\n   - `cp a\n     b`\n2. two\n\n   And `cp c d`.\n", [(2, "cp a b"), (6, "cp c d")]),
        ("```sh\n\n# a remark\ncp a b\n\ncp c d\n```\n", [(3, "# a remark\ncp a b\n\ncp c d")]),
        ("```bash\n# only a remark\n```\n", []),
        ("1. x\n\n   ~~~ zsh title=\"x\"\n   cp a b\n   ~~~\n", [(4, "cp a b")]),
        ("```console\n$ cp a \\\n> b\nwhat it says\n# cp c d\n```\n", [(2, "cp a \\\nb\n\ncp c d")]),
        ("```sh\n$ cp a b\nwhat it says\n```\n", [(2, "cp a b")]),
        ("```\ncp a b\n```\n\n    cp c d\n\n```yaml\na: b\n```\n\n> ```sh\n> cp e f\n> ```\n", []),
        ("<!--\n```sh\ncp a b\n```\n-->\n", []),
    ],
    ids=[
        "prose", "names", "commands", "quoted and grouped", "no commands", "within items", "block", "remark",
        "in a list", "transcript", "prompts", "others", "comment",
    ],
)  # fmt: skip
def test_what_is_typed(text: str, steps: list[tuple[int, str]]) -> None:
    assert typed(text) == steps


def test_a_stub_is_a_command_without_an_argument() -> None:
    assert typed("1. `maintenance-on`\n") == []
    assert typed("1. `maintenance-on`\n", stubs=["maintenance-on"]) == [(1, "maintenance-on")]


def test_what_looks_like_a_command_and_is_not_typed_is_told() -> None:
    found = runbooks.parse("1. `SELECT 1 FROM x`\n\n```\ncp a b\n```\n\n    cp c d\n\n> ```sh\n> cp e f\n> ```\n")
    assert [(each.line, each.why) for each in found.unexecuted] == [
        (1, "code that does not begin with a program"),
        (4, "a block that names no language"),
        (7, "a block that names no language"),
        (10, "a block in a quotation"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```sql\nupdate t set a = 1;\n```\n", [(2, "a block of another language than a shell's")]),
        ("```{.bash}\ncp a b\n```\n", [(2, "a block of another language than a shell's")]),
        ("```json\n{}\n```\n\n```text\nit says\n```\n", []),
        ("1. Run `./restore.sh`.\n", [(1, "a script without an argument")]),
        ("1. Look at `crm.db`.\n", []),
        ("```console\ncp a b\n```\n", [(2, "a transcript in which nothing stands behind $")]),
        ("```console\nroot@db:~# cp a b\n```\n", [(2, "a transcript in which nothing stands behind $")]),
        ("```console\n```\n", []),
        ("<pre><code>cp a b</code></pre>\n", [(1, "a block of HTML")]),
        ("<!-- <pre>cp a b</pre> -->\n\n<details>\n", []),
    ],
    ids=["sql", "attributes", "texts", "script", "file", "no prompt", "another prompt", "empty", "html", "comment"],
)
def test_nothing_that_people_would_type_is_left_out_in_silence(text: str, told: list[tuple[int, str]]) -> None:
    found = runbooks.parse(text)
    assert [(each.line, each.why) for each in found.unexecuted] == told
    assert not found.steps


@pytest.mark.parametrize(
    "title",
    ["## Rollback", "### 4. Roll back to the old one", "## Rolling back", "Rollback\n--------", "**Rollback**: then"],
)
def test_the_way_back_is_no_part_of_the_way_forward(title: str) -> None:
    document = f"# A\n\n```sh\ncp a b\n```\n\n{title}\n\n```sh\nmv b a\n```\n\n# B\n\n1. `cp c d`\n"
    found = runbooks.parse(document)
    assert [step.code for step in found.steps] == ["cp a b", "cp c d"]
    assert [step.code for step in found.rollback] == ["mv b a"]


def test_a_section_ends_with_the_next_heading_of_its_level() -> None:
    document = "# All\n\n## *One* `db`\n\n1. `cp a b`\n\n### More\n\n1. `cp c d`\n\n## Two\n\n1. `cp e f`\n"
    assert [code for _, code in typed(document, section="one DB")] == ["cp a b", "cp c d"]
    assert [step.heading for step in runbooks.parse(document, "One db").steps] == ["One db", "More"]
    with pytest.raises(ValueError, match=r"it has no headings 'Three': its headings are 'All', 'One db'"):
        runbooks.parse(document, "Three")
    with pytest.raises(ValueError, match="it has 2 headings 'Two'"):
        runbooks.parse(document + "\n## Two\n", "Two")


@pytest.mark.parametrize(
    ("document", "steps", "told"),
    [
        (
            "> ## Restore\n>\n> ```sh\n> echo a b\n> ```\n\n1. `cp c d`\n",
            [],
            [(4, "a block in a quotation")],
        ),
        ("1. ## Restore\n\n   Now `cp a b`.\n\n2. And `cp c d`.\n", [(3, "cp a b")], []),
        ("- ## Restore\n\n  ```sh\n  cp a b\n  ```\n\n  Not `cp e f`.\n\n```sh\ncp c d\n```\n", [(4, "cp a b")], []),
        ("> 1. ## Restore\n>\n>    Not `cp a b`.\n>\n> 2. Nor `cp c d`.\n", [], []),
    ],
    ids=["quotation", "numbered", "bulleted", "numbered in a quotation"],
)
def test_a_section_ends_with_what_it_stands_in(
    document: str, steps: list[tuple[int, str]], told: list[tuple[int, str]]
) -> None:
    found = runbooks.parse(document, "Restore")
    assert [(step.line, step.code) for step in found.steps] == steps
    assert [(each.line, each.why) for each in found.unexecuted] == told


def test_a_document_that_cannot_be_read(tmp_path: Path) -> None:
    rule = cast("Any", None)
    with pytest.raises(ValueError, match=r"'x\.md' cannot be read: No such file"):
        runbooks.read(tmp_path / "x.md", "x.md", rule)
    (tmp_path / "x.md").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8"):
        runbooks.read(tmp_path / "x.md", "x.md", rule)
    (tmp_path / "x.md").write_bytes(b"x" * (runbooks.MOST + 1))
    with pytest.raises(ValueError, match="larger than 4 MiB"):
        runbooks.read(tmp_path / "x.md", "x.md", rule)
    (tmp_path / "x.md").write_text(f"1. `cp {'a' * (101 << 10)} b`\n")
    with pytest.raises(ValueError, match="the step at line 1 is longer than 100 KiB"):
        runbooks.parse(runbooks.read(tmp_path / "x.md", "x.md", rule).text)
