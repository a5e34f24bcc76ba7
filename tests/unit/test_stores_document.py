"""docs/stores.md: its catalogues are valid, its policy allows what drills ask for and nothing that writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.documents import Block, blocks

from restore_drill.catalogue.load import load
from restore_drill.catalogue.problems import CatalogueInvalid
from restore_drill.registry import BUILT_IN
from restore_drill.stores.s3_client import ReadOnlyClient

DOCUMENT = Path(__file__).parents[2] / "docs" / "stores.md"
WRITTEN = [block for block in blocks(DOCUMENT) if block.language == "yaml"]
#: What each operation of the client needs of a policy, of versions, too.
NEEDED = {
    "list_objects_v2": {"s3:ListBucket"},
    "head_object": {"s3:GetObject", "s3:GetObjectVersion"},
    "get_object": {"s3:GetObject", "s3:GetObjectVersion"},
    "get_object_attributes": {"s3:GetObjectAttributes", "s3:GetObjectVersionAttributes"},
}


def catalogue(block: Block) -> dict[str, Any]:
    """A whole one, with a target in each store of the page's."""
    found: dict[str, Any] = yaml.safe_load(block.text)
    targets = {
        name: {"tier": "critical", "engine": "sqlite", "copies": {name: {"path": f"{name}/{{time:%Y%m%d}}.db"}}}
        for name in found["stores"]
    }
    return {
        "version": 1, "state": "file:state", "defaults": {"timezone": "UTC", "three_two_one": False},
        "targets": targets, **found,
    }  # fmt: skip


@pytest.mark.parametrize("block", WRITTEN, ids=lambda block: str(block.line))
def test_its_catalogues_are_valid(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "targets.yaml"
    path.write_text(yaml.safe_dump(catalogue(block)))
    assert load(path).targets
    wrong = catalogue(block)
    next(iter(wrong["stores"].values()))["optoins"] = {}
    path.write_text(yaml.safe_dump(wrong))
    with pytest.raises(CatalogueInvalid, match="optoins"):
        load(path)


def test_every_kind_of_store_is_told_of() -> None:
    shown = {
        store["url"].partition(":")[0] for block in WRITTEN for store in yaml.safe_load(block.text)["stores"].values()
    }
    assert shown == set(BUILT_IN["stores"]) - {"http"}


def test_the_policy_is_what_the_client_asks_for_and_no_more() -> None:
    (policy,) = (json.loads(block.text) for block in blocks(DOCUMENT) if block.language == "json")
    allowed: set[str] = set()
    for statement in policy["Statement"]:
        action = statement["Action"]
        allowed |= {action} if isinstance(action, str) else set(action)
    asked = {name for name in ReadOnlyClient.__slots__ if name != "close"}
    assert asked == set(NEEDED)
    assert allowed == set().union(*NEEDED.values())
