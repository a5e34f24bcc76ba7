"""What the ``git`` engine does with restored bytes. Every function runs inside the sandbox."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from restore_drill.engines.base import nothing_came_back
from restore_drill.engines.git_mirror import adopt
from restore_drill.engines.git_repository import Repository
from restore_drill.engines.sqlite_connection import Reading, connect, forbid_outside
from restore_drill.engines.sqlite_errors import ERRORS, translate
from restore_drill.engines.sqlite_probe import deadline_of
from restore_drill.engines.streamed import EndedInError, last_lines, shortage
from restore_drill.errors import BackupFailed, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Call

_REPOSITORY: Final = "restored.git"
_DATABASE: Final = "history.db"
_DETAILS: Final = 50
_ID: Final = re.compile(r"(?:[0-9a-f]{40}|[0-9a-f]{64})")
#: A line of fsck that tells of one object: ``error in commit <id>: missingEmail: ...``.
_ABOUT: Final = re.compile(r"(error|warning) in \w+ [0-9a-f]+: (\w+):")
_MAIN: Final = ("main", "master", "trunk")


def unbundle(call: Call, payloads: Sequence[str], seconds: float) -> None:
    """Make the repository of bundles, oldest first."""
    _unbundle(Repository(call.work / _REPOSITORY, _until(call, seconds)), call.work, payloads)


def restore(call: Call, payloads: Sequence[str], tree: bool, repository: str, seconds: float) -> dict[str, Any]:
    """Make the repository, and count what is in it."""
    own = Repository(call.work / _REPOSITORY, _until(call, seconds))
    head = ""
    if tree:
        head = adopt(own, call.work / payloads[0], repository)
    elif not own.path.exists():
        _unbundle(own, call.work, payloads)
    counts, branches = _references(own)
    counts = {**_objects(own), **counts}
    shallow = own.path / "shallow"
    return {
        "git": own.run("version").stdout.decode().strip().removeprefix("git version "),
        "counts": counts,
        "branches": sorted(branches & {*_MAIN, head}),
        "shallow": len(shallow.read_bytes().split()) if shallow.exists() else 0,
        "notes": [],
    }


def fsck(call: Call, quick: bool, strict: bool, ignore: Sequence[str], seconds: float) -> dict[str, Any]:
    """Have git look at every object, or only at how they hang together."""
    own = Repository(call.work / _REPOSITORY, _until(call, seconds))
    settings = [part for name in ignore for part in ("-c", f"fsck.{name}=ignore")]
    how = ["--connectivity-only"] if quick else ["--full", *(["--strict"] if strict else [])]
    done = own.run(*settings, "fsck", *how, "--no-dangling", "--no-progress")
    lines = [*done.stdout.decode(errors="replace").splitlines(), *done.stderr.decode(errors="replace").splitlines()]
    errors, warnings = _judge(lines)
    if done.returncode and not errors:
        if short := shortage(done.returncode, "\n".join(lines[-20:]), "git fsck"):
            raise short
        errors["fsck", f"git fsck ends with status {done.returncode}"] += 1
    return {
        "problems": [{"rule": rule, "message": text, "count": count} for (rule, text), count in errors.items()],
        "checked": ["connectivity"] if quick else ["connectivity", "objects", "packs", "references"],
        "notes": [f"git warns: {name} ({count})" for name, count in warnings.items()],
        "details": lines[:_DETAILS],
    }


def _judge(lines: Sequence[str]) -> tuple[Counter[tuple[str, str]], Counter[str]]:
    """What fsck complains of and what it warns of, without names of objects or references."""
    errors: Counter[tuple[str, str]] = Counter()
    warnings: Counter[str] = Counter()
    for line in lines:
        about = _ABOUT.match(line)
        if about and about[1] == "warning":
            warnings[about[2]] += 1
        elif about:
            errors["object", f"objects are malformed: {about[2]}"] += 1
        else:
            found = next((key for signs, key in _COMPLAINTS if line.startswith(signs)), None)
            if found:
                errors[found] += 1
    return errors, warnings


_COMPLAINTS: Final = (
    (("missing ",), ("missing", "objects are missing")),
    (("broken link", "              to "), ("connectivity", "links lead to objects that are missing")),
    (("error: ", "fatal: "), ("damaged", "git cannot read objects, packs or references")),
)


def load(call: Call, seconds: float) -> str:
    """Write what the history is made of into a SQLite database, and return its path in the work directory."""
    own = Repository(call.work / _REPOSITORY, _until(call, seconds))
    database = call.work / _DATABASE
    database.touch(mode=0o600)
    with deadline_of(call, seconds) as deadline:
        try:
            with contextlib.closing(connect(database, deadline, forbid_outside, reading=Reading.MAKING)) as connection:
                connection.execute("PRAGMA journal_mode=OFF").fetchall()
                connection.execute("CREATE TABLE commits (id TEXT, committed_at INTEGER, authored_at INTEGER, parents)")
                connection.execute("CREATE TABLE refs (name TEXT, id TEXT, type TEXT)")
                connection.execute("BEGIN")
                with own.stream("log", "--all", "--format=%H%x09%ct%x09%at%x09%P") as lines:
                    rows = (line.decode().rstrip("\n").split("\t") for line in lines)
                    connection.executemany("INSERT INTO commits VALUES (?, ?, ?, ?)", rows)
                with own.stream("for-each-ref", "--format=%(refname)%09%(objectname)%09%(objecttype)") as lines:
                    rows = (line.decode(errors="replace").rstrip("\n").split("\t") for line in lines)
                    connection.executemany("INSERT INTO refs VALUES (?, ?, ?)", rows)
                connection.execute("COMMIT")
        except ERRORS as problem:
            raise translate(problem, "the history cannot be loaded for questions", database) from problem
    return _DATABASE


def _until(call: Call, seconds: float) -> float:
    return min(call.until - 1, time.monotonic() + seconds)


# --- bundles ---------------------------------------------------------------------------------------------------------


def _unbundle(own: Repository, work: Path, payloads: Sequence[str]) -> None:
    """Unpack each bundle in full, even where its objects are there already: fetching would not read those."""
    for number, payload in enumerate(payloads):
        algorithm = _algorithm(work / payload)
        if number == 0:
            own.make(algorithm)
        try:
            with own.output("bundle", "unbundle", str(work / payload)) as output:
                lines = [line.decode(errors="surrogateescape").rstrip("\n").partition(" ") for line in output]
        except EndedInError as problem:
            raise _refused(problem, number) from problem
        refs = [(name, identity) for identity, _, name in lines if name.startswith("refs/") and _ID.fullmatch(identity)]
        commands = "".join(f"update {name}\0{identity}\0\0" for name, identity in refs)
        moved = own.run("update-ref", "-z", "--stdin", stdin=commands.encode(errors="surrogateescape"))
        if moved.returncode:
            raise BackupFailed(
                "git refuses the references of a bundle",
                remedy="Use another copy: a reference has a bad name, or its object is missing.",
                stage=Stage.RESTORE,
                details=last_lines(moved.stderr),
            )


def _algorithm(bundle: Path) -> str:
    with bundle.open("rb") as file:
        if not file.read(1):
            raise nothing_came_back("the bundle is empty")
        for _ in range(20):
            line = file.readline(200)
            if line.startswith(b"@object-format="):
                return "sha256" if line.strip().endswith(b"=sha256") else "sha1"
    return "sha1"


def _refused(problem: EndedInError, number: int) -> RestoreDrillError:
    text = "\n".join(problem.lines)
    if short := shortage(problem.status, text, "git"):
        return short
    missing = len(re.findall(r"^error: [0-9a-f]{40,64} ", text, re.MULTILINE))
    which = f"bundle {number + 1} of the chain" if number else "the bundle"
    if "prerequisite" in text:
        return BackupFailed(
            f"{which} builds on {missing or 'some'} commits that are not there",
            remedy="Keep incremental bundles with {kind} in the path, so that the full one is restored before them; if "
            "they are, take a full bundle now.",
            stage=Stage.CHAIN if number else Stage.RESTORE,
            details=problem.lines,
        )
    return BackupFailed(
        f"git refuses {which}: its pack is damaged or cut",
        remedy="Use another copy or an earlier snapshot.",
        stage=Stage.UNPACK,
        details=problem.lines,
    )


# --- counting --------------------------------------------------------------------------------------------------------


def _references(own: Repository) -> tuple[dict[str, int], set[str]]:
    counts = {"refs": 0, "branches": 0, "tags": 0}
    branches: set[str] = set()
    with own.stream("for-each-ref", "--format=%(refname)") as lines:
        for line in lines:
            name = line.decode(errors="replace").strip()
            counts["refs"] += 1
            counts["branches"] += name.startswith("refs/heads/")
            counts["tags"] += name.startswith("refs/tags/")
            if name.startswith("refs/heads/"):
                branches.add(name.removeprefix("refs/heads/"))
    return counts, branches


def _objects(own: Repository) -> dict[str, int]:
    """Objects that references reach, by type."""
    found: Counter[bytes] = Counter()
    with own.stream("rev-list", "--objects", "--all", "--no-object-names") as names:
        listing = ("cat-file", "--buffer", "--batch-check=%(objecttype)")
        with own.stream(*listing, reads=names) as kinds:
            found.update(line.strip() for line in kinds)
    table = {"commits": b"commit", "trees": b"tree", "blobs": b"blob", "annotated_tags": b"tag"}
    return {name: found[kind] for name, kind in table.items()}
