"""The built-in files of controls: what they name exists, what exists is named, and every row of the survey is there."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from tests.support.evidence import WHEN, document

import restore_drill
from restore_drill.cases import CASES
from restore_drill.controls.loading import BUILT_IN, built_in, load_frameworks, read
from restore_drill.controls.mapping import assess
from restore_drill.controls.model import OF_A_DRILL, OF_THE_RECORDS, Framework
from restore_drill.errors import UsageProblem
from restore_drill.policy.population import Population
from restore_drill.reporting.files import renderers
from restore_drill.reporting.oscal import render
from restore_drill.reporting.page import Controls

DAY = timedelta(days=1)

#: Cases that no requirement of any framework speaks of, and why.
UNMAPPED: dict[str, str] = {}
#: The requirements that ask for restore tests, or for what only a restore test shows.
EXPECTED = {
    "nist-800-53r5": {"CP-4", "CP-9", "CP-9(1)", "CP-9(2)", "CP-10", "CP-10(4)"},
    "iso-27001-2022": {"A.8.13", "A.5.30"},
    "soc2-2017": {"A1.2", "A1.3"},
    "hipaa": {"164.308(a)(7)(ii)(D)"},
    "cis-v8.1": {"11.5"},
    "dora": {"Art. 11(6)(a)", "Art. 12(2)", "Art. 12(3)", "Art. 12(7)", "RTS 2024/1774 Art. 25(5)"},
    "nis2": {"Art. 21(2)(c)", "Annex 4.2.2", "Annex 4.2.3", "Annex 4.2.6"},
    "bsi-c5": {"OPS-08"},
    "nist-csf-2.0": {"PR.DS-11", "RC.RP-03", "RC.RP-05"},
    "pci-dss-4.0": set(),
}
SECONDARY = {"iso-27001-2022", "soc2-2017", "hipaa", "nist-csf-2.0", "pci-dss-4.0"}

GOOD = """\
id: house
title: House rules
version: 3
source: the intranet
read: primary
requirements:
  - id: 1.10
    title: Restores
    asks: Restore everything once a quarter.
    tested_by: [restores]
    cadence: {words: quarterly, days: 92, of: each}
    supports:
      - {evidence: restores, how: It was restored.}
      - {evidence: ledger, how: It is on record.}
    asks_also: [A plan]
"""


def write(directory: Path, text: str = GOOD, name: str = "house.yaml") -> Path:
    path = directory / name
    path.write_text(text)
    return path


def test_every_requirement_of_the_survey_is_there() -> None:
    found = {each.id: {requirement.id for requirement in each.requirements} for each in built_in()}
    assert found == EXPECTED
    assert {each.id for each in built_in() if each.read == "secondary"} == SECONDARY
    assert {path.stem for path in BUILT_IN.glob("*.yaml")} == set(EXPECTED), "a file is named like its framework"


def test_every_case_supports_a_requirement_or_says_why_not() -> None:
    named = {each.evidence for framework in built_in() for req in framework.requirements for each in req.supports}
    assert set(CASES) - named == set(UNMAPPED)
    assert named - set(CASES) == {*OF_A_DRILL, *OF_THE_RECORDS}


@pytest.mark.parametrize("framework", built_in(), ids=lambda each: each.id)
def test_what_a_framework_says_is_whole(framework: Framework) -> None:
    assert framework.requirements or framework.note
    assert framework.read == "primary" or framework.note
    for requirement in framework.requirements:
        assert {*requirement.tested_by} <= {each.evidence for each in requirement.supports}
        assert all(each.how.endswith(".") for each in requirement.supports)
        assert not any(each.endswith(".") for each in requirement.asks_also)


def test_what_no_framework_asks_for_is_mapped_to_nothing_and_says_why() -> None:
    card = next(each for each in built_in() if each.id == "pci-dss-4.0")
    assert card.requirements == () and "restore test" in card.note


def test_no_text_of_ours_anticipates_what_an_auditor_concludes() -> None:
    root = Path(restore_drill.__file__).parent
    texts = [path for path in root.rglob("*") if path.suffix in (".py", ".yaml", ".j2", ".json", ".css")]
    assert len(texts) > 200
    assert [str(path) for path in texts if re.search("complian", path.read_text("utf-8"), re.IGNORECASE)] == []


def test_no_report_does_either_and_every_report_of_a_period_shows_the_gaps() -> None:
    made = [document(verdicts={"orders-db/nas/checksum": "failed"}), document(WHEN + DAY, selected=["orders-db/nas"])]
    until = WHEN + 2 * DAY
    population = Population.of(made, now=until)
    rows = tuple(each.as_dict() for each in assess(built_in(), made, since=WHEN + DAY / 2, until=until,
                                                   population=population))  # fmt: skip
    controls = Controls(rows, tuple((each.title, each.note) for each in built_in() if each.note))
    files = renderers(made[1], population=population, controls=controls)
    texts = {name: make().decode() for name, make in files.items()}
    texts["oscal"] = render(made, frameworks=built_in(), population=population)
    assert {name for name, text in texts.items() if re.search("complian", text, re.IGNORECASE)} == set()
    page = " ".join(texts["report.html"].split())
    for requirement in ("CP-9(1)", "11.5", "OPS-08", "Art. 12(3)", "A1.3"):
        assert requirement in page
    assert "orders-db/offsite" in page and "Evidence in part" in page
    assert "No requirement that asks for a restore test in so many words was found." in page


# --- files of one's own -----------------------------------------------------------------------------------------------


def test_a_file_of_ones_own_is_reported_beside_the_others(tmp_path: Path) -> None:
    found = load_frameworks([write(tmp_path)])
    assert [each.id for each in found] == sorted([*EXPECTED, "house"])
    house = next(each for each in found if each.id == "house")
    assert (house.version, house.requirements[0].id) == ("3", "1.10"), "numbers are what is written"
    assert house.requirements[0].cadence is not None and house.requirements[0].cadence.days == 92
    assert [each.id for each in load_frameworks([write(tmp_path)], ["house", "dora"])] == ["dora", "house"]


def test_one_with_a_built_in_id_takes_its_place(tmp_path: Path) -> None:
    found = load_frameworks([write(tmp_path, GOOD.replace("id: house", "id: dora"))])
    assert [each.title for each in found if each.id == "dora"] == ["House rules"]
    assert len(found) == len(EXPECTED)


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ("evidence: restores", "evidence: restored", "requirements[0].supports[0].evidence: 'restored' is not known: "
                                                     "did you mean restores?"),
        ("tested_by: [restores]", "tested_by: [rto]", "requirements[0].tested_by[0]: 'rto' is not known"),
        ("read: primary", "read: hearsay", "read: 'hearsay' is not known"),
        ("of: each", "of: all", "requirements[0].cadence.of: 'all' is not known"),
        ("days: 92", "days: 0", "requirements[0].cadence.days: '0' is no number of days"),
        ("days: 92", "days: 1e3", "requirements[0].cadence.days: '1e3' is no number of days"),
        ("title: House rules", "name: House rules", "name: unknown key"),
        ("title: House rules\n", "", "title: it is missing"),
        ("title: House rules", "title: ''", "title: it must be a text that says something"),
        ("asks_also: [A plan]", "asks_also: A plan", "requirements[0].asks_also: it must be a list"),
        ("evidence: ledger", "evidence: restores", "requirements[0].supports[1].evidence: 'restores' stands twice"),
        ("read: primary", "read: primary\nread: secondary", "it is not YAML: the key 'read' stands twice at line 6"),
        ("id: house", "id: !!python/name:os.system", "it is not YAML"),
        ("id: house", "id: [", "it is not YAML"),
        ("id: house", "id: " + 200_000 * "[", "it is not YAML: it is nested too deeply"),
        ("id: house", "id: \x00", "it is not YAML"),
        ("    supports:\n", "    support:\n", "requirements[0].support: unknown key, did you mean supports?"),
        (GOOD[GOOD.index("requirements") :], "", "note: a framework without requirements says why"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_file_and_key(tmp_path: Path, right: str, wrong: str, complaint: str) -> None:
    assert right in GOOD
    path = write(tmp_path, GOOD.replace(right, wrong, 1))
    framework, problems = read(path)
    assert framework is None
    assert any(each.startswith(f"{path}: {complaint}") for each in problems), problems
    with pytest.raises(UsageProblem, match=re.escape(str(path))):
        load_frameworks([path])


def test_everything_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, GOOD.replace("read: primary", "read: no").replace("days: 92", "days: x"))
    other = write(tmp_path, GOOD, "twice.yaml")
    again = write(tmp_path, GOOD, "again.yaml")
    with pytest.raises(UsageProblem) as told:
        load_frameworks([path, other, again, tmp_path / "gone.yaml"], ["dorra"])
    for part in ("read: 'no'", "days: 'x'", "is defined by", "No such file", "did you mean dora?"):
        assert part in str(told.value)
