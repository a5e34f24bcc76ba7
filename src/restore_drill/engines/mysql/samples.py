"""What the ``mysql`` and ``mariadb`` engines prove themselves with: a small shop's dump, and how it goes bad.

The text is written as mariadb-dump 10.11 and mysqldump 5.7 write it.
"""

# ruff: noqa: S608 - names and values are quoted where they become SQL

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from restore_drill.engines.base import Sample
from restore_drill.engines.tables_samples import written

#: Seconds since the epoch at which a snapshot of the good sample would have been taken.
TAKEN: Final = 1_700_000_000
_CUSTOMERS: Final = 40
_ORDERS: Final = 120
#: What the catalogue would say of these samples under ``expect:``.
EXPECT: Final[Mapping[str, Any]] = {
    "rows": {"Customers": _CUSTOMERS, "orders": _ORDERS, "default": {"max_drop": "0%"}},
    "queries": [
        {
            "name": "the-right-shop",
            "sql": "SELECT value FROM settings WHERE name = 'environment'",
            "equals": "production",
        },
        {"name": "an-orders-customer", "sql": "SELECT count(*) FROM totals", "equals": _CUSTOMERS},
    ],
    "newest_record": {"sql": "SELECT max(created_at) FROM orders", "within": "2h"},
}
_SANDBOX_LINE: Final = "/*M!999999\\- enable the sandbox mode */ \n"
_MARIADB: Final = "-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)"
_MYSQL: Final = "-- MySQL dump 10.13  Distrib 5.7.44, for Linux (x86_64)"
_BEGIN: Final = """\
--
-- Host: localhost    Database: {database}
-- ------------------------------------------------------
-- Server version\t{version}

/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;
/*!40101 SET NAMES utf8mb4 */;
/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;
/*!40103 SET TIME_ZONE='+00:00' */;
/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;
/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;
/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;
/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;
"""
_END: Final = """\
/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;

/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;
/*!40014 SET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS */;
/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;
/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;
/*!40111 SET SQL_NOTES=@OLD_SQL_NOTES */;

-- Dump completed on 2023-11-14 22:13:20
"""
_TABLE: Final = """\

--
-- Table structure for table `{name}`
--

DROP TABLE IF EXISTS `{name}`;
/*!40101 SET @saved_cs_client     = @@character_set_client */;
/*!40101 SET character_set_client = utf8 */;
CREATE TABLE `{name}` (
{columns}
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
/*!40101 SET character_set_client = @saved_cs_client */;

--
-- Dumping data for table `{name}`
--

LOCK TABLES `{name}` WRITE;
/*!40000 ALTER TABLE `{name}` DISABLE KEYS */;
{rows}/*!40000 ALTER TABLE `{name}` ENABLE KEYS */;
UNLOCK TABLES;
"""
_CODE: Final = """\
/*!50003 SET @saved_sql_mode       = @@sql_mode */ ;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`app`@`%`*/ /*!50003 TRIGGER `order_amount` BEFORE INSERT ON `orders` FOR EACH ROW
BEGIN
  SET NEW.amount = COALESCE(NEW.amount, 0);
END */;;
DELIMITER ;
/*!50003 SET sql_mode              = @saved_sql_mode */ ;
DELIMITER ;;
CREATE DEFINER=`app`@`%` PROCEDURE `purge`(IN days INT)
BEGIN
  DELETE FROM orders WHERE id < 0; -- nothing; yet
END ;;
DELIMITER ;
"""
_VIEW: Final = """\

--
-- Final view structure for view `totals`
--

/*!50001 DROP VIEW IF EXISTS `totals`*/;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`app`@`%` SQL SECURITY DEFINER */
/*!50001 VIEW `totals` AS select `c`.`name` AS `name`,sum(`o`.`amount`) AS `amount`
  from (`Customers` `c` join `orders` `o` on(`o`.`customer_id` = `c`.`id`)) group by `c`.`name` */;
"""


def dump(
    environment: str = "production", *, orders: int = _ORDERS, customers: int = _CUSTOMERS, age: int = 1,
    code: str = _CODE, view: str = _VIEW, mysql: bool = False, data: bool = True, orphan: bool = False,
) -> bytes:  # fmt: skip
    """A dump; the newest order is ``age`` hours older than the snapshot."""
    first = _MYSQL if mysql else _SANDBOX_LINE + _MARIADB
    version = "5.7.44-log" if mysql else "10.11.6-MariaDB-0+deb12u1"
    who = [f"({number},'customer {number}, it\\'s \\\\ \\\"☂\\\"; #\\n-- no')" for number in range(1, customers + 1)]
    newest = datetime.fromtimestamp(TAKEN, UTC) - timedelta(hours=age)
    what = [
        f"({number},{number % _CUSTOMERS + 1 + (1000 if orphan and number == 7 else 0)},{number}.50,"
        f"'{newest - timedelta(minutes=orders - number):%Y-%m-%d %H:%M:%S}')"
        for number in range(1, orders + 1)
    ]
    tables = [
        ("Customers", "  `id` int(11) NOT NULL,\n  `name` varchar(80) NOT NULL,\n  PRIMARY KEY (`id`)", who),
        (
            "orders",
            "  `id` bigint(20) NOT NULL AUTO_INCREMENT,\n  `customer_id` int(11) NOT NULL,\n"
            "  `amount` decimal(10,2) DEFAULT NULL,\n  `created_at` datetime NOT NULL,\n  PRIMARY KEY (`id`),\n"
            "  KEY `customer` (`customer_id`),\n"
            "  CONSTRAINT `of_customer` FOREIGN KEY (`customer_id`) REFERENCES `Customers` (`id`)",
            what,
        ),
        (
            "settings",
            "  `name` varchar(40) NOT NULL,\n  `value` varchar(40) NOT NULL,\n  PRIMARY KEY (`name`)",
            [f"('environment','{environment}')"],
        ),
    ]
    body = "".join(_table(name, columns, rows if data else []) for name, columns, rows in tables)
    begin = _BEGIN.format(version=version, database="shop")
    return (f"{first}\n{begin}{body}{code}{view}{_END}").encode()


def _table(name: str, columns: str, rows: list[str]) -> str:
    text = ""
    if rows:
        text = f"INSERT INTO `{name}` VALUES " + ",".join(rows) + ";\n"
    return _TABLE.format(name=name, columns=columns, rows=text)


def mariadb_samples() -> Iterator[Sample]:
    """The good ones first."""
    good = dump()
    place = good.index(b"INSERT INTO `orders`")
    yield Sample("good", "", written(good))
    yield Sample("good-with-windows-lines", "", written(good.replace(b"\n", b"\r\n")))
    yield Sample("no-trailer", "restores", written(good[: good.rindex(b"-- Dump completed")]))
    yield Sample("cut-in-a-value", "restores", written(good[: good.index(b"customer 30, it")]))
    yield Sample(
        "cut-between-tables", "restores", written(good[: good.index(b"\n--\n-- Table structure for table `settings`")])
    )
    yield Sample("no-data", "restores", written(dump(data=False)))
    yield Sample("message-in-front", "restores", written(b"mariadb-dump: Deprecated program name.\n" + good))
    yield Sample("command-of-the-client", "restores", written(_before(good, place, b"\\! touch owned\n")))
    yield Sample(
        "reads-a-file", "restores", written(_before(good, place, b"LOAD DATA LOCAL INFILE 'x' INTO TABLE orders;\n"))
    )
    yield Sample("writes-a-file", "restores", written(_before(good, place, b"SELECT 1 INTO OUTFILE 'x';\n")))
    yield Sample("row-twice", "restores", written(good.replace(b"(8,9,8.50,", b"(7,9,8.50,")))
    yield Sample("garbage-inside", "restores", written(_before(good, place, b"INSRT INTO `orders` VALUES (1);\n")))
    yield Sample("orphan", "integrity", written(dump(orphan=True)))
    yield Sample("trigger-and-procedure-lost", "structure", written(dump(code="")))
    yield from _content()


def mysql_samples() -> Iterator[Sample]:
    """Fewer, as the engine is the same: what a dump of MySQL has of its own."""
    good = dump(mysql=True)
    gtid = b"SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5';\n"
    yield Sample(
        "good", "", written(_before(good, good.index(b"\n--\n-- Table"), b"SET @@SESSION.SQL_LOG_BIN= 0;\n" + gtid))
    )
    yield Sample("no-trailer", "restores", written(good[: good.rindex(b"-- Dump completed")]))
    yield Sample("orphan", "integrity", written(dump(mysql=True, orphan=True)))
    yield Sample("procedure-lost", "structure", written(dump(mysql=True, code="")))
    yield from _content(mysql=True)


def _content(*, mysql: bool = False) -> Iterator[Sample]:
    yield Sample("orders-lost", "rows", written(dump(mysql=mysql, orders=_ORDERS - 3)))
    yield Sample("wrong-shop", "query", written(dump("staging", mysql=mysql)))
    yield Sample("stale", "newest", written(dump(mysql=mysql, age=30)))


def _before(text: bytes, place: int, more: bytes) -> bytes:
    return text[:place] + more + text[place:]
