"""``restore-drill plan --out``: what it goes by, and what it says of that."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.cli.conftest import Command, change

from restore_drill.plan_file import read


def with_a_second_target(catalogue: Path, tier: str = "important") -> None:
    lines = catalogue.read_text("utf-8")
    target = lines[lines.index("  orders-db:") :].replace("orders-db", "mail").replace("critical", tier)
    catalogue.write_text(lines + target, "utf-8")


def test_before_the_first_drill_nothing_is_known_and_it_says_so(command: Command, catalogue: Path) -> None:
    with_a_second_target(catalogue)
    said = command("plan", "--out", "plan.json", "--shards", "2")
    assert (said.status, said.err) == (0, "")
    assert "2 never drilled: taken to be all alike (--list asks the stores for sizes)" in said.out
    assert said.out.count("  shard ") == 2 and "the longest takes 0.10 s; no way to spread them takes less" in said.out
    assert sorted(read(Path("plan.json")).assignment(2).values()) == [1, 2]


def test_with_list_stores_are_asked_for_what_was_never_drilled(command: Command, catalogue: Path) -> None:
    with_a_second_target(catalogue)
    change(catalogue, "  mail:", "  gone:\n    {tier: important, engine: sqlite, three_two_one: false, copies: {nas: "
                                  "{path: 'gone/{time:%Y%m%d}.db'}}}\n  mail:")  # fmt: skip
    assert command("baseline", "init").status == 0
    Path("state/durations.json").write_text(json.dumps({"mail": 12.5}))
    said = command("plan", "--out", "plan.json", "--list")
    assert said.status == 0 and said.out.count("not listed: ") == 1
    assert "not listed: gone/nas: " in said.out, "it has no snapshot"
    found = read(Path("plan.json")).targets
    assert {name: each.basis for name, each in found.items()} == {
        "orders-db": "size", "gone": "mean", "mail": "measured"
    }  # fmt: skip
    assert found["mail"].seconds == 12.5 and "shard" not in Path("plan.json").read_text().split('"targets"')[1]


def test_a_plan_of_a_tier_or_of_some_targets(command: Command, catalogue: Path) -> None:
    with_a_second_target(catalogue)
    for arguments in (["--tier", "important"], ["mail"]):
        assert command("plan", "--out", "plan.json", *arguments).status == 0
        assert list(read(Path("plan.json")).targets) == ["mail"]
    assert command("plan", "--tier", "important").out.startswith("mail (important")
    said = command("plan", "--tier", "urgent")
    assert said.status == 2 and "there is no tier 'urgent'" in said.err and "There are critical," in said.err
    said = command("plan", "--out", "other.json", "--tier", "archival")
    assert said.status == 2 and "nothing is selected" in said.err and not Path("other.json").exists()
    for number in ("0", "-1", "1000000"):
        said = command("plan", "--out", "other.json", "--shards", number)
        assert said.status == 2 and "give a number from 1" in said.err
