"""What the ``postgres`` engine proves itself with: a plain dump of a small shop, and the ways in which one goes bad.

They are written here and not by ``pg_dump``, so that no server is needed to make them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from restore_drill.engines.base import Sample
from restore_drill.engines.tables_samples import written

#: Seconds since the epoch at which a snapshot of the good sample would have been taken.
TAKEN: Final = 1_700_000_000
_CUSTOMERS: Final = 12
_ORDERS: Final = 40
#: What the catalogue would say of these samples under ``expect:``.
EXPECT: Final[Mapping[str, Any]] = {
    "rows": {"customers": _CUSTOMERS, "orders": _ORDERS},
    "queries": [
        {"name": "the-right-shop", "sql": "SELECT value FROM settings WHERE name = 'shop'", "equals": "Production"}
    ],
    "newest_record": {"sql": "SELECT max(at) FROM orders", "within": "2h"},
}
_KEY: Final = "a1B2c3D4e5F6g7H8i9J0"
_HEAD: Final = f"""--
-- PostgreSQL database dump
--

\\restrict {_KEY}

-- Dumped from database version 15.14
-- Dumped by pg_dump version 15.14

SET statement_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET row_security = off;

"""
_SCHEMA: Final = """CREATE TYPE public.state AS ENUM (
    'open',
    'sent'
);

ALTER TYPE public.state OWNER TO shop;

CREATE FUNCTION public.stamp() RETURNS trigger
    LANGUAGE plpgsql
    AS $$BEGIN NEW.note := 'it''s; \\! no command'; RETURN NEW; END$$;

CREATE TABLE public.settings (
    name text NOT NULL,
    value text
);

CREATE TABLE public.customers (
    id integer NOT NULL,
    name text NOT NULL,
    note text DEFAULT E'\\\\'::text
);

CREATE TABLE public.orders (
    id integer NOT NULL,
    customer integer NOT NULL,
    state public.state DEFAULT 'open'::public.state NOT NULL,
    at timestamp with time zone NOT NULL
);

CREATE VIEW public.latest AS
 SELECT orders.customer,
    max(orders.at) AS at
   FROM public.orders
  GROUP BY orders.customer;

"""
_KEYS: Final = """ALTER TABLE ONLY public.customers
    ADD CONSTRAINT customers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_pkey PRIMARY KEY (id);

CREATE TRIGGER stamp BEFORE UPDATE ON public.customers FOR EACH ROW EXECUTE FUNCTION public.stamp();

ALTER TABLE ONLY public.orders
    ADD CONSTRAINT orders_customer_fkey FOREIGN KEY (customer) REFERENCES public.customers(id);

GRANT SELECT ON TABLE public.orders TO reader;

"""
_TAIL: Final = f"""--
-- PostgreSQL database dump complete
--

\\unrestrict {_KEY}

"""


def shop(name: str = "Production", *, customers: int = _CUSTOMERS, orders: int = _ORDERS, age: int = 1) -> str:
    """As pg_dump writes it; the newest order is ``age`` hours older than the snapshot."""
    newest = datetime.fromtimestamp(TAKEN, UTC) - timedelta(hours=age)
    people = [
        (number, f"customer {number}", "\\N" if number % 3 else "\\\\. it's; \\\\! \\t ☂")
        for number in range(customers)
    ]
    bought = [
        (number, number % max(1, customers), "sent" if number % 2 else "open",
         (newest - timedelta(minutes=orders - 1 - number)).strftime("%Y-%m-%d %H:%M:%S+00"))
        for number in range(orders)
    ]  # fmt: skip
    rows = _copy("settings (name, value)", [("shop", name)])
    rows += _copy("customers (id, name, note)", people) + _copy("orders (id, customer, state, at)", bought)
    return _HEAD + _SCHEMA + rows + _KEYS + _TAIL


def _copy(table: str, rows: list[tuple[Any, ...]]) -> str:
    lines = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    return f"COPY public.{table} FROM stdin;\n{lines}\\.\n\n\n"


def samples() -> Iterator[Sample]:
    """The good one first."""
    good = shop()
    orders = good.index("COPY public.orders")
    orphan = f"SET session_replication_role = replica;\nDELETE FROM public.customers WHERE id = 7;\n\n{_TAIL}"
    twice = good.replace("\\.\n\n\nCOPY public.orders", "1\ttwice\t\\N\n\\.\n\n\nCOPY public.orders")
    yield Sample("good", "", _written(good))
    yield Sample("cut", "restores", _written(good[: orders + 300]))
    yield Sample("end-lost", "restores", _written(good.removesuffix(_TAIL)))
    yield Sample("command", "restores", _written(good.replace("SET row_security", "\\! id\nSET row_security")))
    yield Sample("row-twice", "restores", _written(twice))
    yield Sample("empty", "restores", _written(_HEAD + _TAIL))
    yield Sample("orphans", "integrity", _written(good.replace(_TAIL, orphan)))
    yield Sample("view-lost", "structure", _written(good.replace(_SCHEMA[_SCHEMA.index("CREATE VIEW") :], "")))
    yield Sample("orders-lost", "rows", _written(shop(orders=_ORDERS - 3)))
    yield Sample("wrong-shop", "query", _written(shop("Staging")))
    yield Sample("stale", "newest", _written(shop(age=30)))


def _written(text: str) -> Any:
    return written(text.encode())
