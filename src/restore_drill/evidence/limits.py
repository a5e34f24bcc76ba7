"""What a drill did not check: as much a part of evidence as what it did."""

from __future__ import annotations

from restore_drill import depth, older
from restore_drill.plan import PlannedTarget
from restore_drill.registry import load
from restore_drill.sampling import split


def of(target: PlannedTarget, copy: str) -> list[str]:
    """The limits of a drill of one copy, one sentence each."""
    planned = target.planned_copy(copy)
    of_older, target = split(copy)[1], target.drilled_as(copy)
    expect = target.model.expect
    supported: frozenset[str] = load("engines", target.model.engine).checks
    not_run = target.not_run(copy)
    found = depth.limits(target.model, [(case.case, case.detail) for case in not_run])
    if of_older:
        found.append(older.LIMIT)
        found += [f"expect.newest_only: {', '.join(expect.newest_only)}"] if expect.newest_only else []
    if planned.checksum.mode == "pinned":
        found.append("the digest was pinned at the first drill: not checked against its origin")
    if planned.checksum.provider:
        found.append("the digest is one that the store keeps of the object: what was before the upload is not covered")
    if planned.checksum.weak == "accept":
        found.append("digests that can be forged are accepted")
    if planned.checksum.signature:
        found.append("signatures say who signed these bytes, not that the signer would call them the latest")
    if target.model.frozen:
        found.append("frozen: the snapshot's age is not judged")
    if "integrity" in supported and expect.integrity != "full":
        found.append(f"integrity checked {expect.integrity.upper()}")
    if "structure" in supported and expect.structure == "off" and not of_older:
        found.append("structure is not compared with earlier drills")
    if "rows" in supported and not expect.rows:
        found.append("no table has a row-count rule")
    elif expect.rows and not expect.rows.default:
        found.append(f"row-count rules for {len(expect.rows.tables)} table(s) only; others are watched for vanishing")
    if "query" in supported and not expect.queries:
        found.append("no query with a known answer")
    if "newest" in supported and not (expect.newest_record or expect.newest_file):
        found.append("the freshness of the data inside is not judged")
    if "smoke" in supported and not expect.smoke:
        found.append("no smoke command or probe: whether the application runs on it is not judged")
    if not target.model.sensitive:
        found.append("encryption at rest is not judged: the target is not declared sensitive")
    if planned.retention is None:
        found.append("no retention policy is declared for this copy")
    if not target.model.three_two_one:
        found.append("3-2-1 is not judged")
    if expect.rows and expect.rows.ignore:
        found.append(f"tables that may vanish or empty: {', '.join(expect.rows.ignore)}")
    return found
