"""Which parts of a dump may be loaded at once: only what gives the same in any order."""

# ruff: noqa: E501 - statements and dumps stand as they are

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from restore_drill.engines.mysql import feeding, scan
from restore_drill.engines.mysql.sections import BETWEEN, LOCK
from restore_drill.sandboxes.base import Call

BEGINNING = b"""-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)
-- Host: localhost    Database: shop
-- Server version\t10.11.6-MariaDB
/*!40101 SET NAMES utf8mb4 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;

"""
END = b"/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;\n-- Dump completed on 2026-11-23  2:00:00\n"
TRIGGER = b"""/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`app`@`%`*/ /*!50003 TRIGGER t BEFORE INSERT ON `a` FOR EACH ROW BEGIN SET NEW.i = 1; END */;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
"""
VIEW = b"""SET @saved_cs_client     = @@character_set_client;
SET character_set_client = utf8mb4;
/*!50001 CREATE VIEW `v` AS SELECT
 1 AS `i` */;
SET character_set_client = @saved_cs_client;
"""


def table(name: bytes, rows: bytes = b"") -> bytes:
    return b"""--
-- Table structure for table `%(n)s`
--

DROP TABLE IF EXISTS `%(n)s`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8mb4 */;
CREATE TABLE `%(n)s` (
  `i` int(11) NOT NULL
) ENGINE=InnoDB;
/*!40101 SET character_set_client = @saved_cs_client */;

LOCK TABLES `%(n)s` WRITE;
/*!40000 ALTER TABLE `%(n)s` DISABLE KEYS */;
%(rows)s/*!40000 ALTER TABLE `%(n)s` ENABLE KEYS */;
UNLOCK TABLES;
""" % {b"n": name, b"rows": rows or b"INSERT INTO `%s` VALUES (1),\n(2);\n" % name}


def dump(*parts: bytes) -> bytes:
    return BEGINNING + b"\n".join(parts) + END


def examined(text: bytes, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "dump.sql").write_bytes(text)
    return scan.examine(cast("Call", SimpleNamespace(work=tmp_path)), "dump.sql")


def apart(text: bytes, tmp_path: Path) -> list[bytes]:
    """What may be loaded beside others, section by section; all parts together are the text."""
    parts = examined(text, tmp_path)["parts"]
    assert b"".join(text[start:end] for start, end, *_ in parts) in (text, b"")
    assert all(text[start:end].count(b"\n") == lines for start, end, lines, _ in parts)
    assert {bytes(text[start:end]).split()[0] for start, end, _, what in parts if what == LOCK} <= {b"LOCK", b"UNLOCK"}
    found: dict[int, bytes] = {}
    for start, end, _, section in parts:
        if section >= 0:
            found[section] = found.get(section, b"") + text[start:end]
    return list(found.values())


def test_tables_may_be_loaded_at_once_and_what_stands_between_comes_after(tmp_path: Path) -> None:
    text = dump(
        table(b"a"),
        TRIGGER,
        table(b"b", b"INSERT  IGNORE INTO `b` (`i`, `j``;`) VALUES (1,';\\n');\n"),
        VIEW,
        table(b"c"),
        TRIGGER,
    )
    found = apart(text, tmp_path)
    assert [one.split(b"`")[1] for one in found] == [b"a", b"b", b"c"]
    assert all(one.startswith(b"DROP TABLE") and one.endswith(b"ENABLE KEYS */;\n") for one in found)


@pytest.mark.parametrize(
    "within",
    [
        b"INSERT INTO `b` VALUES (1);\n",
        b"INSERT INTO `a` SELECT i FROM `b`;\n",
        b"UPDATE `a` SET i = 2;\n",
        b"SET FOREIGN_KEY_CHECKS=1;\n",
        b"ALTER TABLE `b` DISABLE KEYS;\n",
        b"DELIMITER ;;\nINSERT INTO `a` VALUES (3);;\nDELIMITER ;\n",
        b"USE `other`;\n",
    ],
)
def test_from_what_depends_on_an_order_on_nothing_is_loaded_out_of_it(within: bytes, tmp_path: Path) -> None:
    text = dump(table(b"first"), table(b"a", b"INSERT INTO `a` VALUES (1);\n" + within), table(b"b"), table(b"c"))
    found = apart(text, tmp_path)
    assert [one.split(b"`")[1] for one in found] == [b"first", b"a"]
    assert b"INSERT INTO `a` VALUES (1);" in found[1] and within not in found[1] and b"LOCK" not in b"".join(found)


@pytest.mark.parametrize(
    "text",
    [
        dump(table(b"a"), table(b"b")).replace(b"FOREIGN_KEY_CHECKS=0", b"FOREIGN_KEY_CHECKS=1"),
        BEGINNING.replace(b"KEY_CHECKS=0", b"KEY_CHECKS=1") + b"CREATE SEQUENCE `n` start with 7;\n" + table(b"a") + END,
        dump(table(b"a"), table(b"b")).replace(b"DROP TABLE", b"-- DROP TABLE"),
        dump(b"CREATE SEQUENCE `n` start with 7;\n", table(b"a"), table(b"b")),
        dump(b"SET @@GLOBAL.GTID_PURGED='a:1-5';\n", table(b"a"), table(b"b")),
        (dump(table(b"a"), table(b"b")).rpartition(b"-- Dump completed")[0]).replace(b"-- MariaDB dump", b"-- Adminer 4.8.1 MySQL 8.0.33 dump"),
    ],
    ids=["keys are checked", "keys and a sequence", "nothing dropped", "a sequence first", "cuts", "no trailer"],
)  # fmt: skip
def test_where_order_may_matter_there_is_one_client(text: bytes, tmp_path: Path) -> None:
    assert apart(text, tmp_path) == []


@pytest.mark.parametrize("again", [b"a", b"A"])
def test_a_table_that_is_there_twice_is_loaded_in_order(again: bytes, tmp_path: Path) -> None:
    assert [
        one.split(b"`")[1] for one in apart(dump(table(b"c"), table(b"a"), table(again), table(b"d")), tmp_path)
    ] == [b"c", b"a"]


# --- who is given what -----------------------------------------------------------------------------------------------


def fed(text: bytes, pieces: list[int]) -> bytes:
    """What a client reads."""
    triples = [pieces[at : at + 3] for at in range(0, len(pieces), 3)]
    return b"".join(text[start : start + count] + b"\n" * lines for start, count, lines in triples)


@given(sizes=st.lists(st.integers(0, 40), min_size=2, max_size=12), clients=st.integers(1, 5))
def test_every_client_reads_its_own_at_the_lines_of_the_dump(
    sizes: list[int], clients: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    tables = [
        table(b"t%d" % number, b"INSERT INTO `t%d` VALUES (1);\n" % number * size) for number, size in enumerate(sizes)
    ]
    text = dump(*[part for one in tables for part in (one, TRIGGER)])
    parts = examined(text, tmp_path_factory.mktemp("dump"))["parts"]
    before, feeding.WORTH = feeding.WORTH, 1
    try:
        lanes = [*feeding.lanes(parts, clients), feeding.between(parts)]
    finally:
        feeding.WORTH = before
    assert 1 <= len(lanes) <= clients + 1 and (clients == 1) == (len(lanes) == 1)
    lines = text.split(b"\n")
    for read in (fed(text, lane).split(b"\n") for lane in lanes):
        assert read[:6] == lines[:6] and all(one in (b"", lines[at]) for at, one in enumerate(read))
    if len(lanes) > 1:
        held = b"\n".join(fed(text, lane) for lane in lanes)
        assert all(held.count(b"CREATE TABLE `t%d`" % number) == 1 for number in range(len(sizes)))
        assert held.count(b"TRIGGER t") == len(sizes) and held.count(b"DELIMITER ;;") == len(sizes)


def test_the_largest_lane_is_as_small_as_it_can_be() -> None:
    ends = [10, 20, 60, 70, 80, 180]
    parts = [(0, 10, 1, BETWEEN), *((start, end, 1, number) for number, (start, end) in enumerate(pairwise(ends)))]
    before, feeding.WORTH = feeding.WORTH, 1
    try:
        assert feeding.lanes(parts, 2) == [[0, 80, 1], [0, 10, 4, 80, 100, 0]]
    finally:
        feeding.WORTH = before
