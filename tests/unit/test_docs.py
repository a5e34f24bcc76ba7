"""What the documents say exists: pages that links lead to, options, commands; and following a document can fail."""

from __future__ import annotations

import argparse
import importlib
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.support.documents import blocks, commands, first_missing, follow

from restore_drill.catalogue.load import load as load_catalogue
from restore_drill.catalogue.problems import CatalogueInvalid
from restore_drill.catalogue.schema import json_schema
from restore_drill.cli import _COMMANDS
from restore_drill.registry import BUILT_IN, load

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path for pattern in ("*.md", "docs/*.md", "fixtures/*.md", "reports/*.md", "tests/**/*.md")
    for path in ROOT.glob(pattern)
)  # fmt: skip
#: Documents that a test follows word by word, and the test.
FOLLOWED = {
    "docs/alerts.md": "tests/e2e/test_alerts.py",
    "docs/backup-jobs.md": "tests/e2e/test_backup_jobs.py",
    "docs/discover.md": "tests/e2e/test_discovery.py",
    "docs/completeness.md": "tests/unit/cli/test_status.py",
    "docs/how-to-add-an-engine.md": "tests/e2e/test_third_party.py",
    "docs/how-to-add-a-plug.md": "tests/e2e/test_third_party.py",
    "docs/how-to-drill-your-own-backups.md": "tests/e2e/test_documents.py",
    "docs/how-to-write-your-own-case.md": "tests/e2e/test_documents.py",
    "docs/auditors.md": "tests/e2e/test_auditors.py",
    "docs/ledger.md": "tests/e2e/test_ledger_document.py",
    "reports/README.md": "tests/e2e/test_documents.py",
    "docs/machine-formats.md": "tests/e2e/test_shards.py",
    "docs/recovery.md": "tests/e2e/test_recovery.py",
    "docs/reports.md": "tests/unit/cli/test_report.py",
    "docs/retention.md": "tests/e2e/test_documents.py",
    "docs/runbooks.md": "tests/e2e/test_runbooks.py",
    "docs/sampling.md": "tests/e2e/test_sampling.py",
    "docs/scale.md": "tests/e2e/test_plan_file.py",
    "docs/sets.md": "tests/e2e/test_sets.py",
    "docs/tutorial.md": "tests/e2e/test_documents.py",
}
#: Commands of all other documents, and how each is tested; what has no test says why.
TESTED = {
    r"restore-drill baseline reference [\w-]+ > drills/[\w-]+\.structure": "tests/e2e/test_reference.py",
    r"(?:\./)?ci/(?:drill|test|coverage)(?: .*)?": "tests/e2e/test_ci_scripts.py",
    r"ci/nightly(?: .*)?": "tests/e2e/test_nightly.py",
    r"pytest drills/?(?: .*)?": "tests/e2e/test_ci_scripts.py",
    r"pytest(?: -n \d+)? drills/\S+::\S+": "tests/e2e/test_installed.py",
    r"(?:python -m )?pip install (?:--upgrade )?'?pytest-restore-drill(?:\[\w+\])?'?": "tests/e2e/test_installed.py",
    r"restore-drill init(?: .*)?": "tests/e2e/test_installed.py",
    r"restore-drill (?:validate|plan|doctor)(?: .*)?": "tests/e2e/test_installed.py",
    r"restore-drill baseline (?:init|accept|show)(?: .*)?": "tests/e2e/test_documents.py",
    r"restore-drill schema(?: .*)?": "tests/unit/catalogue/test_schema.py",
    r"restore-drill report(?: .*)?": "tests/unit/cli/test_report.py",
    r"restore-drill status(?: .*)?": "tests/unit/cli/test_status.py",
    r"restore-drill controls(?: .*)?": "tests/unit/cli/test_controls.py",
    r"restore-drill (?:ledger (?:init-key|verify|export)|sign-off)(?: .*)?": "tests/e2e/test_ledger_document.py",
    r"restore-drill retention(?: .*)?": "tests/unit/cli/test_retention.py",
    r"restore-drill runbook(?: .*)?": "tests/unit/cli/test_recovery.py",
    r"restore-drill clean(?: .*)?": "tests/unit/sandboxes/test_lifetime.py",
    r"python fixtures/demo_estate(?: .*)?": "tests/integration/test_demo_estate.py",
    r'(?:printf x >>|truncate -s -100|rm|mv) "?(?:\$\(ls )?fixtures/estate/.*': "tests/e2e/test_documents.py",
    r"python (?:-m )?tests[./]benchmarks.*": "by hand: figures depend on the machine",
    r"git clone \S+(?: .*)?|cd \S+": "by hand: how a checkout comes about",
    r"apt-get install .*|sudo apt-get install .*": "by hand: needs root",
}
#: Options of other programs that documents mention.
FOREIGN = {
    "--link-dest": "rsync", "--ignore-zeros": "tar", "--listed-incremental": "tar", "--exclude": "tar",
    "--dist": "pytest-xdist", "--xattrs": "tar", "--acls": "tar", "--options": "bsdtar",
    "--keep-tag": "restic",
    "--base": "rclone", "--download": "rclone", "--collector": "node_exporter",
    "--create": "pg_dump", "--clean": "pg_dump", "--if-exists": "pg_dump", "--inserts": "pg_dump",
    "--globals-only": "pg_dumpall", "--schema-only": "pg_dump", "--heapallindexed": "pg_amcheck",
    "--parent-check": "pg_amcheck", "--rootdescend": "pg_amcheck",
    "--databases": "mysqldump", "--all-databases": "mysqldump", "--skip-comments": "mysqldump",
    "--compact": "mysqldump",
    "--sandbox": "mariadb", "--binary-mode": "mariadb",
    "--random-source": "shuf",
    "--no-deps": "pip", "--volumes-from": "docker", "--rm": "docker", "--co": "pytest", "--lf": "pytest",
    "--maxfail": "pytest", "--collect-only": "pytest", "--deselect": "pytest", "--junitxml": "pytest",
    "--import-mode": "pytest", "--durations": "pytest", "--upgrade": "pip", "--tb": "pytest",
    "--armor": "gpg", "--export-secret-keys": "gpg", "--export-secret-subkeys": "gpg", "--extract": "sops",
    "--detach-sign": "gpg", "--zero": "sha256sum", "--tag": "sha256sum",
    "--little-endian": "xxhsum", "--length": "b3sum",
    "--compress": "pg_basebackup", "--tablespace-mapping": "pg_basebackup", "--write-recovery-conf": "pg_basebackup",
    "--no-manifest": "pg_basebackup",
    "--read-only": "docker", "--tmpfs": "docker", "--cap-drop": "docker", "--security-opt": "docker",
    "--entrypoint": "docker",
    "--now": "systemctl",
}  # fmt: skip
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


def _named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _prose(path: Path) -> str:
    """The text without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def _anchors(path: Path) -> set[str]:
    """The anchors that hosting platforms make of headings."""
    headings = re.findall(r"^#+ (.+)$", _prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def _properties(schema: Any) -> Iterator[str]:
    """Every option of the catalogue, wherever it stands."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key == "properties":
                yield from value
            yield from _properties(value)
    elif isinstance(schema, list):
        for each in schema:
            yield from _properties(each)


#: What kinds of store declare themselves, under ``options:`` and ``credentials:``.
_OF_STORES = {
    name
    for kind in (load("stores", each) for each in BUILT_IN["stores"])
    for name in (*kind.options, *kind.credentials)
}
OPTIONS = frozenset(_properties(json_schema())) | _OF_STORES


# --- links ------------------------------------------------------------------------------------------------------------


def broken_links(document: Path) -> list[str]:
    found = []
    for link in _LINK.findall(_prose(document)):
        place, _, anchor = link.partition("#")
        target = (document.parent / place).resolve() if place else document
        if "://" in link or link.startswith("mailto:"):
            continue
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in _anchors(target)):
            found.append(link)
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=_named)
def test_links_lead_somewhere(document: Path) -> None:
    assert broken_links(document) == []


def test_a_broken_link_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "there.md").write_text("# A heading, here\n")
    page = tmp_path / "page.md"
    page.write_text("[a](there.md) [b](there.md#a-heading-here) [c](https://example.org/x)\n")
    assert broken_links(page) == []
    page.write_text("[a](gone.md) [b](there.md#another)\n")
    assert broken_links(page) == ["gone.md", "there.md#another"]


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text("utf-8")
    linked = {(ROOT / "docs" / link.partition("#")[0]).resolve() for link in _LINK.findall(index)}
    pages = {path for path in (ROOT / "docs").iterdir() if path.name != "README.md"}
    assert sorted(pages - linked) == []


# --- options ----------------------------------------------------------------------------------------------------------


def unknown_options(document: Path) -> list[str]:
    """Options of the catalogue that are named as `option:` or `option: value`, and do not exist."""
    named = (re.fullmatch(r"([a-z_]+(?:\.[a-z_]+)*):(?: [^:]*.*)?", code) for code in _INLINE.findall(_prose(document)))
    words = (word for match in named if match for word in match[1].split("."))
    return [word for word in words if word not in OPTIONS and word not in ("env", "file", "command")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_named)
def test_options_of_the_catalogue_exist(document: Path) -> None:
    assert unknown_options(document) == []


def test_an_unknown_option_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("`copy_lag: 6h`, `expect.rows: null`, `settle:`, `state: s3://bucket/prefix`\n")
    assert unknown_options(page) == []
    page.write_text("`copy_lags: 6h`, `expect.row: null`\n")
    assert unknown_options(page) == ["copy_lags", "row"]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_named)
def test_catalogues_in_documents_are_valid(document: Path) -> None:
    written = [block for block in blocks(document) if block.language == "yaml" and "version: 1\n" in block.text]
    for block in written:
        catalogue = json.loads(json.dumps(yaml.safe_load(block.text), default=str))
        jsonschema.Draft202012Validator(json_schema()).validate(catalogue)
    assert bool(written) is (b"```yaml\nversion: 1\n" in document.read_bytes())


#: What parts of catalogues are put into: of a store, of a target, of its one copy.
_AROUND = """
{version: 1, state: "file:state", stores: {nas: {url: "file:backups", media: disk}},
 defaults: {timezone: UTC, three_two_one: false},
 targets: {db: {tier: critical, engine: sqlite, copies: {nas: {path: "{time:%Y%m%d}.db"}}}}}
"""


def _completed(part: dict[str, Any]) -> dict[str, Any]:
    catalogue: dict[str, Any] = yaml.safe_load(_AROUND)
    for key, value in part.items():
        if key == "targets":
            catalogue[key] = value
        elif key in catalogue:
            catalogue[key] |= value
        elif key == "checksum":
            catalogue["targets"]["db"]["copies"]["nas"][key] = value
        else:
            catalogue["targets"]["db"][key] = value
    return catalogue


def test_parts_of_catalogues_can_be_copied_from_the_formats(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "formats.md").read_text("utf-8")
    written = [
        textwrap.dedent(block) for block in re.findall(r"^ *```yaml\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE)
    ]
    parts = [part for block in written for part in (block.splitlines() if block.startswith("checksum:") else [block])]
    assert len(parts) >= 7
    catalogue = tmp_path / "targets.yaml"
    for part in parts:
        catalogue.write_text(yaml.safe_dump(_completed(yaml.safe_load(part))))
        load_catalogue(catalogue)
    catalogue.write_text(yaml.safe_dump(_completed({"checksum": {"signature": {"kind": "minisign", "keys": ["x"]}}})))
    with pytest.raises(CatalogueInvalid):
        load_catalogue(catalogue)


def _command_line_options() -> set[str]:
    """Those of restore-drill's commands, of the pytest plugin, and of the project's own programs."""
    found = {"--help", "--version"}
    for name in _COMMANDS:
        command = argparse.ArgumentParser()
        importlib.import_module(f"restore_drill.cli.{name.replace('-', '_')}").configure(command)
        found |= set(_options_of(command))
    programs = [ROOT / "src/restore_drill/pytest_plugin.py"]
    programs += [path for folder in ("fixtures", "tests/benchmarks") for path in (ROOT / folder).rglob("*.py")]
    for program in programs:
        found |= set(re.findall(r'add(?:option|_argument)\(\s*"(--[a-z-]+)"', program.read_text("utf-8")))
    return found


def _options_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _options_of(each)


def test_options_of_the_command_line_exist() -> None:
    ours = _command_line_options()
    assert {"--catalogue", "--snapshot", "--keep-restored", "--work-dir", "--reports-dir", "--table", "--kept"} <= ours
    assert not ours & set(FOREIGN)
    for document in DOCUMENTS:
        text = document.read_text("utf-8")
        mentioned = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
        assert mentioned - ours - set(FOREIGN) == set(), _named(document)


# --- commands ---------------------------------------------------------------------------------------------------------


def _typed(document: Path) -> Iterator[str]:
    """What a document tells its readers to type."""
    for block in blocks(document):
        if block.path:
            continue
        if block.language == "console":
            yield from (command.text for command in commands(block))
        elif block.language in ("sh", "bash", "shell"):
            for line in block.text.replace("\\\n", " ").splitlines():
                if line.strip() and not line.startswith("#"):
                    yield line


def untested(command: str) -> bool:
    """Whether nothing in the table speaks of a command; comments behind it do not matter."""
    plain = re.sub(r"\s+#.*", "", command).strip()
    return not any(re.fullmatch(pattern, plain) for pattern in TESTED)


def test_every_command_in_a_document_is_tested() -> None:
    typed = [
        f"{_named(document)}: {command}"
        for document in DOCUMENTS
        if _named(document) not in FOLLOWED
        for command in _typed(document)
        if untested(command)
    ]
    assert typed == []
    assert not untested("ci/drill -k important   # another tier")
    assert untested("ci/dril")


def test_the_tests_of_documents_and_commands_exist() -> None:
    tests = {*FOLLOWED.values(), *(how for how in TESTED.values() if not how.startswith("by hand: "))}
    assert [test for test in tests if not (ROOT / test).is_file()] == []
    for document, test in FOLLOWED.items():
        assert document in {_named(each) for each in DOCUMENTS}
        assert Path(document).name in (ROOT / test).read_text("utf-8")


# --- following a document ---------------------------------------------------------------------------------------------

_ENVIRONMENT = {"PATH": "/usr/bin:/bin"}
_GOOD = """\
`greeting.txt`

```text
hello
```

```console
$ cat greeting.txt
hello
$ cd sub 2>/dev/null || mkdir sub && cd sub
$ cat ../greeting.txt \\
    ../greeting.txt
hello
…lo
$ false
$ echo $?
1
$ seq 5
...
4
5
```
"""


def test_a_document_is_followed(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(_GOOD)
    assert len(follow(page, tmp_path, _ENVIRONMENT)) == 6
    assert (tmp_path / "greeting.txt").read_text() == "hello\n"


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("hello\n```", "goodbye\n```", "not printed: hello"),
        ("$ false\n$ echo $?\n1\n", "$ false\n", "page.md:15: exit status 1"),
        ("$ echo $?\n1", "$ echo $?\n0", "not printed: 0"),
        ("...\n4\n5", "4\n5", "not printed: 4"),
        ("...\n4\n5", "...\n5\n4", "not printed: 4"),
        ("…lo\n", "…li\n", "not printed: …li"),
    ],
)
def test_a_document_that_is_wrong_is_noticed(tmp_path: Path, right: str, wrong: str, complaint: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(_GOOD.replace(right, wrong, 1))
    with pytest.raises(AssertionError, match=re.escape(complaint)):
        follow(page, tmp_path, _ENVIRONMENT)


def test_output_is_compared_line_by_line() -> None:
    assert first_missing(["a…", "b"], ["abc", "", "b  "]) is None
    assert first_missing(["a", "b"], ["a", "x", "b"]) == "b"
    assert first_missing(["a", "...", "b"], ["a", "x", "b"]) is None
    assert first_missing(["a"], []) == "a"
