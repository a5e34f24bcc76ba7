"""Loading examined dumps into a prepared server, and what the programs said about it."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from restore_drill.engines.postgres import said
from restore_drill.engines.postgres.prepare import Loaded, same_locale, shown
from restore_drill.engines.postgres.server import PostgresServer, connection, literal
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage
from restore_drill.process import Completed

if TYPE_CHECKING:
    from restore_drill.engines.postgres.logical import Plan

_SURVEY: Final = "restore_drill.engines.postgres.survey"
_PIECES: Final = 2000
_MERGE_BUFFER: Final = 256 * 2**10
#: Kilobytes.
_LEAST_SORTING: Final = 8 * 2**10
_MOST_SORTING: Final = 64 * 2**10
#: The status with which a script ends of which psql was not given all.
_UNFED: Final = 99
_ENCODING: Final = re.compile(r"\bENCODING\s*=?\s*'([^']*)'", re.I)
#: Values of SET that are no parameters.
_NO_PARAMETERS: Final = frozenset({"role", "session", "local", "time"})


def load(server: PostgresServer, plan: Plan, loaded: Loaded) -> None:
    """Load every dump.

    Raises:
        BackupFailed: A program fails, or says that something failed.
        CouldNotVerify: Something of ours is missing.
    """
    for dump, database in zip(plan.dumps, loaded.aims, strict=True):
        if dump["form"] == "script":
            _load_script(server, plan, dump, database, loaded)
        else:
            _load_archive(server, plan, dump, database, loaded)


# --- archives ---------------------------------------------------------------------------------------------------------


def _load_archive(server: PostgresServer, plan: Plan, dump: dict[str, Any], database: str, loaded: Loaded) -> None:
    path = server.sandbox.admit(plan.sandbox.work / dump["path"])
    argv = ["pg_restore", "--no-password", "--no-tablespaces", "-d", connection(database)]
    if dump["form"] in ("custom", "directory") and plan.options.threads > 1:
        argv += ["-j", str(plan.options.threads)]
    if plan.options.depth == "schema":
        argv += ["--schema-only"]
    elif plan.options.depth == "sample":
        argv += ["-L", _sample(server, plan, dump, loaded)]
    options = "-c client_min_messages=warning"
    if dump.get("sorts"):
        options += f" -c maintenance_work_mem={sorting_memory(dump['bytes'])}kB"
    _judge(server.run([*argv, path], seconds=plan.left, PGOPTIONS=options), loaded)
    if dump["properties"] and server.ask(database, [dump["properties"]], seconds=plan.left)[0].problem:
        loaded.note("settings of the database itself (ALTER DATABASE) could not be restored")


def sorting_memory(size: int) -> int:
    """Kilobytes with which an archive's indexes are sorted and its foreign keys checked.

    As few as still sort in two passes: n runs of one memory each are merged at once in n buffers of 256 KiB, so that
    the square of the memory is that times what is sorted, which is taken for twice the archive. The same parameter
    bounds the hash table by which a foreign key is checked: within the processor's cache it takes half the time.

    Args:
        size: Bytes of the archive.
    """
    least = math.isqrt(2 * size * _MERGE_BUFFER) // 1024
    return max(_LEAST_SORTING, min(_MOST_SORTING, least))


def _sample(server: PostgresServer, plan: Plan, dump: dict[str, Any], loaded: Loaded) -> str:
    """Write the list of entries that a sample restores, and return its path."""
    arguments = {"path": dump["path"], "form": dump["form"], "tables": list(plan.options.tables)}
    chosen = plan.sandbox.call(f"{_SURVEY}:sample", arguments, deadline=plan.left)
    if chosen["missing"]:
        raise CouldNotVerify(
            f"the sample names tables that the dump does not have: {shown(chosen['missing'])}",
            remedy="Correct the names under sample:, or look for the tables in the live database.",
            stage=Stage.RESTORE,
        )
    loaded.note("at depth sample, foreign keys, large objects and contents of materialised views stay out")
    path = f"{server.ground.data}/entries"
    server.sandbox.put(path, "".join(f"{number};\n" for number in chosen["entries"]).encode())
    return path


# --- scripts ----------------------------------------------------------------------------------------------------------


def _load_script(server: PostgresServer, plan: Plan, dump: dict[str, Any], database: str, loaded: Loaded) -> None:
    """By one psql that stops at the first error: what follows a COPY that failed would be taken for statements."""
    path = server.sandbox.admit(plan.sandbox.work / dump["path"])
    psql = ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-v", "SHOW_CONTEXT=never", "-o", "/dev/null", "-d",
            connection(database)]  # fmt: skip
    edits = _edits(dump, loaded)
    argv = [*psql, "-f", path] if not edits else ["sh", "-c", _pipeline(server, path, edits, psql)]
    session = "-c client_min_messages=warning" + (" -c allow_in_place_tablespaces=on" if loaded.in_place else "")
    _judge(server.run(argv, seconds=plan.left, PGOPTIONS=session), loaded)


@dataclass(frozen=True, slots=True)
class Edit:
    """Bytes of a script, from one place to another, and what psql gets in their stead (one character a byte)."""

    begin: int
    end: int
    text: str


def _edits(dump: dict[str, Any], loaded: Loaded) -> list[Edit]:
    """Which of the statements that may not suit this server are rewritten."""
    edits: list[Edit] = []
    unknown: set[str] = set()
    replaced: set[tuple[str, str]] = set()
    for edit in dump["edits"]:
        text = None
        if edit["kind"] == "set" and edit["name"] not in loaded.parameters | _NO_PARAMETERS:
            unknown.add(edit["name"])
            text = ""
        elif edit["kind"] == "locale":
            absent = [name for name in edit["locales"] if same_locale(name) not in loaded.locales]
            for name in absent:
                text = (text or edit["text"]).replace(f"'{name}'", literal(_fitting(edit["text"], loaded.locale)))
            replaced.update((name, _fitting(edit["text"], loaded.locale)) for name in absent)
        elif edit["kind"] == "rewrite":
            text = edit["text"]
        if text is not None:
            edits.append(Edit(edit["begin"], edit["end"], text))
    if unknown:
        loaded.note(f"parameters that this version does not have were left out: {shown(unknown)}")
    for locale in sorted({other for _, other in replaced}):
        names = [name for name, other in replaced if other == locale]
        loaded.note(f"restored with the locale {locale} in place of {shown(names)}")
    return edits


def _fitting(statement: str, locale: str) -> str:
    """A locale that a new database may have: one of UTF-8 goes with no other encoding, C with every one."""
    encoding = _ENCODING.search(statement)
    return locale if encoding is None or encoding[1].upper() in ("UTF8", "UTF-8") else "C"


def _pipeline(server: PostgresServer, path: str, edits: Sequence[Edit], psql: Sequence[str]) -> str:
    """A shell line that feeds psql with the script and its rewritten statements.

    What is not rewritten is copied as it is, and every byte stands for itself (``latin-1``), whatever the encoding.
    """
    steps, place = [], 0
    for group in _groups(edits):
        if group[0].begin > place:
            steps.append(_copy(path, place, group[0].begin - place))
        steps.append(f"printf %s {shlex.quote(chr(10).join(edit.text for edit in group))}")
        place = group[-1].end
    steps.append(_copy(path, place, None))
    feed, fed = f"{server.ground.data}/feed", f"{server.ground.data}/fed"
    server.sandbox.put(feed, "\n".join(["set -e", f"rm -f {fed}", *steps, f": > {fed}", ""]).encode("latin-1"))
    # What psql was not given must not be taken for what the dump does not have.
    return f"sh {feed} | {shlex.join([*psql, '-f', '-'])}; status=$?; test -f {fed} || exit {_UNFED}; exit $status"


def _copy(path: str, begin: int, size: int | None) -> str:
    count = "" if size is None else f" count={size}"
    return f"dd if={shlex.quote(path)} iflag=skip_bytes,count_bytes,fullblock bs=1M skip={begin}{count} status=none"


def _groups(edits: Iterable[Edit]) -> list[list[Edit]]:
    """Edits that stand in lines one below the other, together."""
    groups: list[list[Edit]] = []
    for edit in edits:
        if groups and edit.begin - groups[-1][-1].end == 1:
            groups[-1].append(edit)
        else:
            groups.append([edit])
    if len(groups) > _PIECES:
        raise CouldNotVerify(
            f"more than {_PIECES} statements of the script would have to be rewritten",
            remedy="Let pg_dump write IF EXISTS (--if-exists), or back up in custom form (pg_dump -Fc).",
            stage=Stage.RESTORE,
        )
    return groups


def _judge(done: Completed, loaded: Loaded) -> None:
    """Raise what a program's words amount to."""
    words = said.sort(done)
    if done.returncode == _UNFED and not words.messages:
        raise CouldNotVerify(
            "the script could not be read to its end inside the sandbox", stage=Stage.RESTORE, details=words.lines
        )
    for note in words.notes:
        loaded.note(note)
    if problem := words.problem():
        raise problem
