"""What a restored base backup is held against beside the checks of a running server.

``pg_verifybackup`` reads the files as they came; its blind spots were looked at before (:mod:`.physical_manifest`).
Data page checksums are verified over the recovered files, as pages may be torn before.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from restore_drill.engines.postgres.server import PostgresServer
from restore_drill.errors import DeadlineExceeded
from restore_drill.process import Completed, ProgramMissing

_VERIFY: Final = "pg_verifybackup"
#: What it says of one file, and what that is in words without a name.
_SAYS: Final = (
    (r"is present in the manifest but not on disk", "a file of the manifest is missing"),
    (r"is present on disk but not in the manifest", "a file is not in the manifest"),
    (r"has size \d+ .*but size \d+", "a file has another size than the manifest says"),
    (r"checksum mismatch for file|has checksum of length", "a file has another content than the manifest says"),
    (r"could not (?:open|read|stat|close) (?:file|directory|file or directory)", "a file or directory cannot be read"),
    (r"is not a (?:file|regular file|file or directory)", "something other than a file stands in its place"),
    (r"manifest checksum mismatch|manifest (?:has no|file checksum)|could not parse (?:backup )?manifest"
     r"|manifest (?:version|system identifier)|unexpected manifest|duplicate path",
     "the manifest cannot be believed"),
    (r"WAL parsing failed", "the write-ahead log that it lists cannot be read"),
)  # fmt: skip
_CHECKSUM: Final = re.compile(r"checksum verification failed in file|could not verify checksum in file")
_SHOWN: Final = 40

Report = dict[str, Any]


def empty() -> Report:
    """A report that says nothing yet."""
    return {"problems": [], "checked": [], "details": [], "undone": []}


def verify(server: PostgresServer, source: str, *, quick: bool, seconds: float) -> Report:
    """Have ``pg_verifybackup`` hold the files, as they came, against their manifest."""
    report = empty()
    words = "backup_manifest (sizes)" if quick else "backup_manifest (pg_verifybackup)"
    argv = [_VERIFY, *(["--skip-checksums", "--no-parse-wal"] if quick else []), f"{source}/data"]
    try:
        done = server.sandbox.exec(argv, deadline=seconds)
    except (ProgramMissing, DeadlineExceeded) as problem:
        report["undone"].append(f"{words}: {problem.cause}")
        return report
    report["checked"].append(words)
    if done.returncode:
        _take(done, report)
    return report


def _take(done: Completed, report: Report) -> None:
    """What it found, by kind."""
    lines = [
        line for line in done.stderr.decode(errors="replace").splitlines() if "error: " in line or "fatal: " in line
    ]
    kinds: Counter[str] = Counter()
    for line in lines:
        kinds[next((what for sign, what in _SAYS if re.search(sign, line)), "it is not content")] += 1
    if not kinds:
        kinds[f"it ended with status {done.returncode}"] += 1
    report["problems"] += [{"rule": _VERIFY, "message": what, "count": count} for what, count in kinds.items()]
    report["details"] += [f"pg_verifybackup: {line.partition('error: ')[2] or line}"[:500] for line in lines[:_SHOWN]]


def data_checksums(server: PostgresServer, given: Mapping[str, str], *, seconds: float) -> Report:
    """Verify the checksum of every page.

    From PostgreSQL 15 on the server does it itself, while it reads everything for a base backup that goes nowhere;
    before that it is stopped for ``pg_checksums`` and started again.
    """
    report = empty()
    try:
        done = _by_server(server, seconds) if server.major >= 15 else _stopped(server, given, seconds)
    except (ProgramMissing, DeadlineExceeded) as problem:
        report["undone"].append(f"data checksums: {problem.cause}")
        return report
    lines = done.stderr.decode(errors="replace").splitlines()
    bad = [line for line in lines if _CHECKSUM.search(line)]
    if bad:
        report["problems"].append({"rule": "data checksums", "message": "a page is damaged", "count": len(bad)})
        report["details"] += [f"data checksums: {line}"[:500] for line in bad[:_SHOWN]]
    elif done.returncode:
        report["undone"].append(f"data checksums: they could not be read (status {done.returncode})")
        report["details"] += [f"data checksums: {line}"[:500] for line in lines[-5:]]
        return report
    report["checked"].append("data checksums")
    return report


def _by_server(server: PostgresServer, seconds: float) -> Completed:
    argv = ["pg_basebackup", "--target=blackhole", "-X", "none", "--no-manifest", "--checkpoint=fast", "--no-password"]
    return server.run(argv, seconds=seconds)


def _stopped(server: PostgresServer, given: Mapping[str, str], seconds: float) -> Completed:
    until = time.monotonic() + seconds
    server.ask("template1", ["checkpoint"], seconds=seconds)
    server.stop()
    try:
        argv = ["pg_checksums", "--check", "-D", server.data]
        return server.sandbox.exec(argv, deadline=max(1.0, until - time.monotonic()))
    finally:
        server.start(given, seconds=max(10.0, until - time.monotonic()))


def joined(reports: Sequence[Report]) -> Report:
    """All of them as one."""
    return {name: [each for report in reports for each in report.get(name, ())] for name in empty()}
