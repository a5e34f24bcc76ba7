"""A MariaDB server that backups are taken from: with everything in it that a dump may hold."""

# ruff: noqa: E501 - statements and dumps stand as they are

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from restore_drill.engines.mysql.server import MysqlServer, need
from restore_drill.sandboxes.base import Sandbox

#: Customers and orders of the shop.
CUSTOMERS: Final = 200
ORDERS: Final = 1000
SHOP: Final = r"""
CREATE DATABASE shop CHARACTER SET utf8mb4;
USE shop;
CREATE TABLE `Customers` (
  id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(80) NOT NULL, created_at DATETIME(3) NOT NULL, picture BLOB,
  note TEXT, level ENUM('new', 'old') DEFAULT 'new', flags SET('a', 'b'), j JSON, UNIQUE KEY by_name (name)
);
CREATE TABLE orders (
  id BIGINT UNSIGNED AUTO_INCREMENT PRIMARY KEY, customer_id INT NOT NULL, amount DECIMAL(10,2) NOT NULL CHECK (amount >= 0),
  tax DECIMAL(10,2) AS (amount * 0.19) STORED, twice INT AS (id * 2) VIRTUAL, placed DATETIME NOT NULL,
  CONSTRAINT of_customer FOREIGN KEY (customer_id) REFERENCES `Customers` (id) ON DELETE CASCADE
);
CREATE TABLE `of two` (
  a INT, b INT, c INT, PRIMARY KEY (a, b), `odd ``name``; --` INT, CONSTRAINT self FOREIGN KEY (c, b) REFERENCES `of two` (a, b)
);
CREATE TABLE measured (at DATE NOT NULL, value DOUBLE, KEY (at)) PARTITION BY RANGE (YEAR(at)) (
  PARTITION y2019 VALUES LESS THAN (2020), PARTITION later VALUES LESS THAN MAXVALUE
);
CREATE TABLE old (id INT PRIMARY KEY, what TEXT, FULLTEXT KEY words (what)) ENGINE=MyISAM;
CREATE TABLE ticks (at DATETIME NOT NULL);
CREATE SEQUENCE numbers START WITH 7;
INSERT INTO `Customers` (name, created_at, picture, note, flags, j)
  SELECT CONCAT('customer ', seq), '2023-11-14 20:00:00' + INTERVAL seq SECOND, UNHEX(CONCAT('00FF0D0A5C271A22', HEX(seq))),
  'it''s "a" \\ note; -- #\nDELIMITER ;;\r\n☂ 𝄞', 'a,b', '{"a": [1, "\\n"]}' FROM seq_1_to_200;
INSERT INTO orders (customer_id, amount, placed)
  SELECT seq % 200 + 1, seq + 0.5, '2023-11-14 20:00:00' + INTERVAL seq SECOND FROM seq_1_to_1000;
INSERT INTO `of two` VALUES (1, 1, NULL, 1), (2, 1, 1, 1);
INSERT INTO measured SELECT '2019-06-01' + INTERVAL seq DAY, seq / 3 FROM seq_1_to_500;
INSERT INTO old SELECT seq, CONCAT('old thing ', seq) FROM seq_1_to_50;
CREATE FUNCTION gross(net DECIMAL(10,2)) RETURNS DECIMAL(10,2) DETERMINISTIC RETURN net * 1.19;
CREATE VIEW totals AS SELECT c.name, SUM(gross(o.amount)) AS total FROM `Customers` c JOIN orders o ON o.customer_id = c.id GROUP BY c.id;
CREATE VIEW best AS SELECT * FROM totals WHERE total > 100;
DELIMITER ;;
CREATE TRIGGER no_less BEFORE INSERT ON orders FOR EACH ROW
BEGIN
  SET NEW.amount = GREATEST(NEW.amount, 0); -- a ; in it
END ;;
CREATE PROCEDURE tidy(IN days INT)
BEGIN
  DELETE FROM orders WHERE placed < NOW() - INTERVAL days DAY;
  SELECT 'a;b', "c\";d";
END ;;
CREATE EVENT tick ON SCHEDULE EVERY 1 SECOND STARTS '2020-01-01' DO INSERT INTO ticks VALUES (NOW()) ;;
DELIMITER ;
CREATE DATABASE `other-one`;
CREATE TABLE `other-one`.notes (id INT PRIMARY KEY, note TEXT);
INSERT INTO `other-one`.notes VALUES (1, 'one'), (2, 'two');
"""


class Source:
    """A running server with the shop in it.

    Args:
        sandbox: Where it runs, entered.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self._place = sandbox.work.parent / "data"
        ground = sandbox.equip(need("mariadb", ""))
        self.server = MysqlServer(
            sandbox, ground, "mariadb", ("mariadbd", "mariadb"), until=time.monotonic() + 60, threads=1
        )
        self.server.look()
        self.server.initialise()
        self.server.start()
        # Objects belong to an account that no restored server has.
        self.run("CREATE USER `app`@`10.%`; GRANT ALL ON *.* TO `app`@`10.%` WITH GRANT OPTION")
        self.run(
            SHOP.replace("CREATE VIEW", "CREATE DEFINER=`app`@`10.%` VIEW").replace(
                "CREATE TRIG", "CREATE DEFINER=`app`@`10.%` TRIG"
            )
        )

    def run(self, sql: str) -> None:
        """Run a script."""
        done = self.server.begin(self.server.client(self.server.admin), seconds=120, stdin=sql.encode()).result()
        assert done.returncode == 0, done.stderr

    def dump(self, to: Path, *options: str) -> Path:
        """What mariadb-dump writes."""
        base = [
            "mariadb-dump",
            "--no-defaults",
            f"--user={self.server.admin}",
            f"--socket={self.server.ground.sockets}/mysqld.sock",
        ]
        # What a program writes comes back cut to 4 MiB; a file does not.
        written = f"--result-file={self.server.ground.data}/{to.name}"
        done = self.server.begin([*base, "--routines", "--events", written, *options], seconds=120).result()
        assert done.returncode == 0, done.stderr
        to.write_bytes((self._place / to.name).read_bytes())
        return to
