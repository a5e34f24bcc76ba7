"""What the ``ldif`` engine proves itself with: a small organisation, and the ways in which an export of it goes bad."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from restore_drill.engines.base import Sample
from restore_drill.engines.tables_samples import written

#: Seconds since the epoch at which a snapshot of the good sample would have been taken.
TAKEN: Final = 1_700_000_000
_PEOPLE: Final = 12
#: What the catalogue would say of these samples under ``expect:``.
EXPECT: Final[Mapping[str, Any]] = {
    "rows": {"entries": _PEOPLE + 4, "inetOrgPerson": _PEOPLE},
    "queries": [
        {
            "name": "the-right-directory",
            "sql": "SELECT value FROM attributes WHERE entry = 0 AND name = 'o'",
            "equals": "Production",
        }
    ],
    "newest_record": {"sql": "SELECT max(modified_at) FROM entries", "within": "2h"},
}


def directory(organisation: str = "Production", *, people: int = _PEOPLE, age: int = 1, group: bool = True) -> bytes:
    """As slapcat writes it, with a version before it and comments in it, as ldapsearch does."""
    newest = datetime.fromtimestamp(TAKEN, UTC) - timedelta(hours=age)
    entries = [
        [
            "dc=example,dc=org",
            "objectClass: organization",
            "objectClass: dcObject",
            f"o: {organisation}",
            "dc: example",
        ],
        ["ou=people,dc=example,dc=org", "objectClass: organizationalUnit", "ou: people"],
        ["ou=groups,dc=example,dc=org", "objectClass: organizationalUnit", "ou: groups"],
    ]
    entries += [_person(number) for number in range(people)]
    if group:
        member = "member: uid=p1,ou=people,dc=example,dc=org"
        entries += [["cn=all,ou=groups,dc=example,dc=org", "objectClass: groupOfNames", "cn: all", member]]
    lines = ["version: 1", "", "# an export"]
    for number, (name, *attributes) in enumerate(entries):
        stamp = (newest - timedelta(minutes=len(entries) - 1 - number)).strftime("%Y%m%d%H%M%SZ")
        lines += [f"dn: {name}", *attributes, f"createTimestamp: {stamp}", f"modifyTimestamp: {stamp}", ""]
    return "".join(f"{line}\n" for line in lines).encode()


def _person(number: int) -> list[str]:
    sign = base64.b64encode(f"Müller {number}".encode()).decode()
    return [
        f"uid=p{number},ou=people,dc=example,dc=org",
        "objectClass: inetOrgPerson",
        f"uid: p{number}",
        f"cn: person {number}",
        f"sn:: {sign}",
        "description: a text that is folded because it is",
        "  long",
    ]


def samples() -> Iterator[Sample]:
    """The good one first."""
    good = directory()
    place = good.index(b"dn: uid=p7,")
    seventh = good[place : good.index(b"\n\n", place) + 2]
    yield Sample("good", "", written(good))
    yield Sample("entry-twice", "restores", written(good + seventh))
    yield Sample("no-parent", "restores", written(good.replace(b"dn: uid=p7,ou=", b"dn: uid=p7,ou=x,ou=")))
    yield Sample("schema-broken", "restores", written(good.replace(b"cn: person 7\n", b"")))
    yield Sample("base64-broken", "restores", written(good.replace(b"sn:: T", b"sn:: @", 1)))
    yield Sample("cut", "restores", written(good[: place + 60]))
    yield Sample(
        "change-records", "restores", written(good.replace(b"\nobjectClass", b"\nchangetype: add\nobjectClass"))
    )
    yield Sample("file-value", "restores", written(good.replace(b"cn: person 7", b"cn:< file:///etc/passwd")))
    yield Sample("class-lost", "structure", written(directory(group=False)))
    yield Sample("people-lost", "rows", written(directory(people=_PEOPLE - 2)))
    yield Sample("wrong-directory", "query", written(directory("Staging")))
    yield Sample("stale", "newest", written(directory(age=30)))
