"""Directories as LDIF (RFC 2849): exports of all entries by slapcat or ldapsearch, loaded by ``slapadd``.

Before slapadd sees it, the file is read once: slapadd 2.5 loads a value of broken base64 with a warning and status 0,
and a value ``attribute:< file:///...`` has it read that file. Both are refused here. After it, ``slapcat`` tells what
came back, and as many entries must have. Nothing here touches restored bytes: what does is in :mod:`.ldif_probe`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final

from restore_drill.engines.base import Engine, Restored, RestoreOptions, Sample, nothing_came_back
from restore_drill.errors import UsageProblem
from restore_drill.model import Payload, PayloadForm
from restore_drill.sandboxes.base import Sandbox

_PROBE: Final = "restore_drill.engines.ldif_probe"
_QUERY: Final = "restore_drill.engines.sqlite_query:query"
_GRACE: Final = 10.0
_BEGINNING: Final = re.compile(
    rb"(?:\xef\xbb\xbf)?(?:#[^\n]*\n(?: [^\n]*\n)*|\r?\n|version: *1\r?\n)*dn::? *[^\s:]+ *(?:=|[A-Za-z0-9+/]{4})", re.I
)
_MODULE: Final = re.compile(r"[a-z][a-z0-9_-]{0,40}")
_SCHEMA: Final = re.compile(r"/[^\"\n\\]+\.schema")
_OPTIONS: Final = {"suffix": "", "schemas": (), "modules": (), "schema_check": True}


class LdifEngine(Engine):
    """An OpenLDAP directory in LMDB.

    Options: ``suffix`` (that of the first entry when it is not given), ``schemas`` (absolute paths of schema files
    besides those that come with OpenLDAP), ``modules`` (overlays whose attributes are in the data: ``memberof``,
    ``ppolicy``), ``schema_check`` (false: load whatever the schemas say).
    """

    name: ClassVar[str] = "ldif"
    forms: ClassVar[tuple[PayloadForm, ...]] = (PayloadForm.FILE,)
    checks: ClassVar[frozenset[str]] = frozenset({"structure", "rows", "query", "newest"})
    programs: ClassVar[tuple[str, ...]] = ("slapadd", "slapcat", "slapd")

    @classmethod
    def recognises(cls, head: bytes) -> str | None:
        """By the name of its first entry, after comments and the version."""
        return "ldif" if _BEGINNING.match(head) else None

    def restore(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Restored:
        """Load it into a fresh database.

        Raises:
            BackupFailed: It is no export, slapadd refuses an entry, or not every entry came back.
            CouldNotVerify: slapadd or a schema is missing, or time did not suffice.
            UsageProblem: The catalogue gives this engine an option that it does not have.
        """
        payload = str(payloads[-1].path.relative_to(sandbox.work))
        settings = _settings(options.settings)
        arguments = {"payload": payload, "settings": settings, "seconds": options.deadline}
        facts = sandbox.call(f"{_PROBE}:restore", arguments, deadline=options.deadline + _GRACE)
        if not facts["counts"].get("entries") and not options.allow_empty:
            raise nothing_came_back("there is not one entry")
        return RestoredLdif(sandbox, options, payload, facts)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """A good export and damaged ones; see :mod:`.ldif_samples`."""
        from restore_drill.engines.ldif_samples import samples

        yield from samples()


class RestoredLdif(Restored):
    """A directory's database."""

    def __init__(self, sandbox: Sandbox, options: RestoreOptions, payload: str, facts: Mapping[str, Any]) -> None:
        self._sandbox = sandbox
        self._options = options
        self._payload = payload
        self._counts: dict[str, int] = facts["counts"]
        self._suffix = str(facts["suffix"])
        self._database = ""
        entries = self._counts.get("entries", 0)
        summary = f"a directory of {entries:,} entries of {len(self._counts) - 1} object classes"
        self.facts = {"summary": summary, "entries": entries, "openldap": facts["version"]}
        self.notes = list(facts["notes"])

    def structure(self) -> dict[str, list[str]]:
        """The suffix, and the object classes that entries have."""
        return {"suffix": [self._suffix], "object class": [name for name in self._counts if name != "entries"]}

    def row_counts(self) -> dict[str, int]:
        """``entries``, and entries of each object class, as its first entry spells it."""
        return dict(self._counts)

    def query(self, sql: str, deadline: float | None = None) -> list[tuple[Any, ...]]:
        """The rows of one read-only statement over the entries of the export.

        Tables: ``entries`` (``id``, ``dn``, ``created_at``, ``modified_at`` in ISO 8601 where the export has them) and
        ``attributes`` (``entry``, ``name`` in lower case, ``value``).
        """
        seconds = self._options.deadline if deadline is None else deadline
        if not self._database:
            load = {"payload": self._payload, "seconds": self._options.deadline}
            limit = self._options.deadline + _GRACE
            self._database = str(self._sandbox.call(f"{_PROBE}:load", load, deadline=limit))
        arguments = {"database": self._database, "sql": sql, "seconds": seconds}
        return [tuple(row) for row in self._sandbox.call(_QUERY, arguments, deadline=seconds + _GRACE)]

    @property
    def path(self) -> Path:
        """The directory of the LMDB database."""
        return self._sandbox.work / "restored-directory"


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    settings = {**_OPTIONS, **given}
    if unknown := sorted(settings.keys() - _OPTIONS.keys()):
        raise UsageProblem(
            f"the ldif engine has no option {', '.join(unknown)}", remedy=f"It has {', '.join(_OPTIONS)}."
        )
    suffix = settings["suffix"]
    good = {
        "suffix": isinstance(suffix, str) and suffix.isprintable() and len(suffix) < 1000,
        "schemas": _all(settings["schemas"], _SCHEMA),
        "modules": _all(settings["modules"], _MODULE),
        "schema_check": isinstance(settings["schema_check"], bool),
    }
    if wrong := [name for name, fine in good.items() if not fine]:
        raise UsageProblem(
            f"the ldif engine's option {wrong[0]} has a wrong value",
            remedy="schemas are absolute paths of .schema files, modules are names of overlays, suffix is a name (dn).",
        )
    return {**settings, "schemas": list(settings["schemas"]), "modules": list(settings["modules"])}


def _all(values: Any, pattern: re.Pattern[str]) -> bool:
    return isinstance(values, list | tuple) and all(isinstance(one, str) and pattern.fullmatch(one) for one in values)
