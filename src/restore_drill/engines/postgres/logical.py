"""Logical dumps: examined, then loaded into a server of their own, then looked for.

Nothing is executed before the examination ended well. The server is disposable and alone in its sandbox, and dumps are
loaded by its superuser: owners, extensions and event triggers would not come back otherwise. What a hostile dump can do
as superuser ends at the sandbox.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from restore_drill.engines.base import Restored, RestoreOptions
from restore_drill.engines.postgres import loading, outcome
from restore_drill.engines.postgres.prepare import prepare, same_locale
from restore_drill.engines.postgres.restored import RestoredPostgres
from restore_drill.engines.postgres.server import PostgresServer
from restore_drill.engines.postgres.settings import Settings
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.sandboxes.base import Ground, Need, Running, Sandbox

_SURVEY: Final = "restore_drill.engines.postgres.survey"
_GRACE: Final = 10.0
_MIB: Final = 2**20
PROGRAMS: Final = ("postgres", "initdb", "psql", "pg_restore")
#: Of a server: names of encodings that ``initdb`` takes and databases may have.
_ENCODING: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")
_LOCALE: Final = re.compile(r"[A-Za-z0-9_.@-]{1,64}")
_NEWEST_KNOWN: Final = 99


@dataclass(slots=True)
class Plan:
    """A restore under way.

    Attributes:
        dumps: What is known of each dump, in the order in which they are loaded.
        until: ``time.monotonic()`` at which it is given up.
    """

    sandbox: Sandbox
    options: RestoreOptions
    settings: Settings
    dumps: list[dict[str, Any]]
    until: float
    notes: list[str] = field(default_factory=list)

    @property
    def left(self) -> float:
        """Seconds that are left, at least one."""
        return max(1.0, self.until - time.monotonic())


def restore(payload: Payload, sandbox: Sandbox, options: RestoreOptions) -> Restored:
    """Bring the databases of a payload back.

    Raises:
        BackupFailed: It is damaged, a statement of it fails, or nothing came back.
        CouldNotVerify: A program, an image, an extension or the deadline was missing.
        UsageProblem: The catalogue gives this engine an option that it does not have.
    """
    settings = Settings.of(options.settings)
    until = time.monotonic() + options.deadline
    plan = Plan(sandbox, options, settings, _headlines(payload, sandbox, options), until)
    _refuse_depth(plan)
    major = settings.version or newest(plan.dumps)
    ground = _equip(sandbox, major)
    server = PostgresServer(sandbox, ground, until=until, threads=options.threads)
    making = _begin_cluster(server, plan)
    _examine(plan)  # while initdb works
    plan.notes += _made(server, making, plan)
    _refuse_old(server, plan)
    server.start()
    loaded = prepare(server, plan)
    loading.load(server, plan, loaded)
    came = outcome.find(server, plan, loaded)
    facts = {**_facts(plan, server, ground), **came.facts}
    notes = [*plan.notes, *came.notes]
    return RestoredPostgres(server, options, came.databases, facts, notes, remarks=loaded.remarks)


def need(major: str) -> Need:
    """What programs of this major version are called, and where they are."""
    which = major or "*"
    places = (f"/usr/lib/postgresql/{which}/bin", f"/usr/pgsql-{which}/bin", f"/usr/local/pgsql-{which}/bin")
    return Need(
        "postgres",
        version=major,
        programs=PROGRAMS,
        image=f"postgres:{major or 'latest'}",
        user="postgres",
        places=places,
        package=f"postgresql-{major}" if major else "postgresql",
        shared_memory=256 * _MIB,
    )


def _equip(sandbox: Sandbox, major: str) -> Ground:
    try:
        return sandbox.equip(need(major))
    except CouldNotVerify as problem:
        if not major:
            problem.remedy = (
                f"The dump does not say of which version it is: set engine_options.version. {problem.remedy}"
            )
        raise


def newest(dumps: Sequence[dict[str, Any]]) -> str:
    """The newest major version that dumps speak of: a server's, or that of the program that dumped it.

    pg_dump writes for servers of its own version and later ones.
    """
    found = [major(dump[key]) for dump in dumps for key in ("server", "program")]
    return max((each for each in found if each), key=_order, default="")


def major(version: str) -> str:
    """``15`` of ``15.20 (Debian …)``, ``9.6`` of ``9.6.24``."""
    numbers = re.match(r"(\d{1,2})(?:\.(\d{1,2}))?", version)
    if numbers is None:
        return ""
    return f"9.{numbers[2] or 0}" if numbers[1] == "9" else numbers[1]


def _order(version: str) -> tuple[int, int]:
    first, _, second = version.partition(".")
    return int(first), int(second or 0)


def _headlines(payload: Payload, sandbox: Sandbox, options: RestoreOptions) -> list[dict[str, Any]]:
    tree = payload.form is PayloadForm.TREE
    arguments = {
        "paths": [str(path.relative_to(sandbox.work)) for path in (payload.path, *payload.parts)],
        "tree": tree,
        "packed": tree and payload.format != "directory",
    }
    found: list[dict[str, Any]] = sandbox.call(f"{_SURVEY}:headlines", arguments, deadline=options.deadline + _GRACE)
    for dump in found:
        dump["packed"] = arguments["packed"]
    return found


def _refuse_depth(plan: Plan) -> None:
    if plan.options.depth != "full" and any(dump["form"] == "script" for dump in plan.dumps):
        raise CouldNotVerify(
            f"a plain dump can only be restored whole, not at depth {plan.options.depth}",
            remedy="Set depth: full, or back up in custom or directory form (pg_dump -Fc, -Fd).",
            stage=Stage.RESTORE,
        )


def _begin_cluster(server: PostgresServer, plan: Plan) -> Running:
    """Start ``initdb``; whatever stands in the dump is only used where it looks like a name."""
    encodings = {str(dump["encoding"]).upper() for dump in plan.dumps if _ENCODING.fullmatch(str(dump["encoding"]))}
    locales = {str(dump["locale"]) for dump in plan.dumps if _LOCALE.fullmatch(str(dump["locale"]))}
    encoding = encodings.pop() if len(encodings) == 1 else "UTF8"
    script = plan.dumps[0]["form"] == "script"
    if script and encoding != "SQL_ASCII":
        encoding = "UTF8"  # what a script states is how it is written, not what its database had
    locale = locales.pop() if len(locales) == 1 else ""
    # A dump has no pages: checksums would prove this machine's memory, and cost a copy of every page in the log.
    return server.begin_initialise(encoding=encoding, locale=locale, checksums=False)


def _examine(plan: Plan) -> None:
    for number, dump in enumerate(plan.dumps):
        arguments = {"path": dump["path"], "form": dump["form"], "packed": dump["packed"]}
        known = plan.sandbox.call(f"{_SURVEY}:examine", arguments, deadline=plan.left + _GRACE)
        plan.dumps[number] = {**dump, **known, "form": dump["form"]}
        if dump["form"] == "script" and not known["complete"]:
            plan.notes.append("its producer writes no line that says it is complete: its end cannot be told from a cut")


def _made(server: PostgresServer, making: Running, plan: Plan) -> list[str]:
    locale = server.end_initialise(making)
    wanted = {str(dump["locale"]) for dump in plan.dumps if dump["locale"]}
    missing = sorted(name for name in wanted if same_locale(name) != same_locale(locale))
    notes = [f"restored with the locale {locale} in place of {', '.join(missing)}"] if missing else []
    others = sorted({dump["provider"] for dump in plan.dumps if dump.get("provider")})
    notes += _another_version(server, plan)
    return notes + [f"restored with collations of the C library in place of {name}" for name in others]


def _another_version(server: PostgresServer, plan: Plan) -> list[str]:
    """What comes back in one major version says little about another one."""
    ours = major(server.version)
    theirs = sorted({found for dump in plan.dumps if (found := major(dump["server"]))} - {ours}, key=_order)
    return [f"dumped from PostgreSQL {', '.join(theirs)}, and restored by {ours}"] if theirs else []


def _refuse_old(server: PostgresServer, plan: Plan) -> None:
    """A dump from a newer server, named before it fails in a hundred ways."""
    theirs = newest(plan.dumps)
    if theirs and _order(major(server.version)) < _order(theirs):
        raise CouldNotVerify(
            f"the dump is of PostgreSQL {theirs}, and the programs are of {major(server.version)}",
            looked_at="the version that the dump states",
            remedy=f"Leave engine_options.version out, or name {theirs}, with an image or programs of that version.",
            stage=Stage.RESTORE,
        )
    if any(dump.get("restricts") for dump in plan.dumps) and not _knows_restrict(server.version):
        raise CouldNotVerify(
            f"psql {server.version} is too old for \\restrict, which the dump uses",
            remedy="Use an image or programs with 13.22, 14.19, 15.14, 16.10, 17.6 or later.",
            stage=Stage.RESTORE,
        )


#: The first minor versions whose psql knows ``\restrict`` (CVE-2025-8714).
_RESTRICT: Final = {13: 22, 14: 19, 15: 14, 16: 10, 17: 6}


def _knows_restrict(version: str) -> bool:
    parts = [int(number) for number in re.findall(r"\d+", version)[:2]] + [0]
    return parts[0] > max(_RESTRICT) or parts[1] >= _RESTRICT.get(parts[0], _NEWEST_KNOWN)


def _facts(plan: Plan, server: PostgresServer, ground: Ground) -> dict[str, Any]:
    first = plan.dumps[-1]
    return {
        "form": first["form"],
        "archive_version": first.get("format", ""),
        "compression": first.get("compression", ""),
        "dumped_from": first["server"],
        "dumped_by": first["program"],
        "dumps": len(plan.dumps),
        "restored_by": server.version,
        "programs": dict(ground.facts),
        "depth": plan.options.depth,
    }
