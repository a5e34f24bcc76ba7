"""What a restored tree must hold: counts, bytes, globs, a manifest both ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from restore_drill.catalogue.expect import FileRules
from restore_drill.checks.base import Check, CheckContext, least
from restore_drill.engines.base import Restored
from restore_drill.errors import Blocked, CouldNotVerify
from restore_drill.model import Finding, Verdict
from restore_drill.quantities import format_percentage, format_size

#: What may be recorded of a whole tree.
_RECORDED = ("files", "directories", "links", "bytes")
#: Names that reach the terminal.
_MOST_SHOWN = 50


class FilesCheck(Check):
    """The tree has the files that its rules, its manifest and earlier drills ask for."""

    short = "files"
    title = "The tree has the files it should have"

    def measure(self, restored: Restored, context: CheckContext) -> dict[str, Any]:
        """One walk over the restored tree; names of files are among the details only."""
        rule = _rule(context)
        below = _directories(context)
        facts = restored.files(
            {
                "must_exist": list(rule.must_exist),
                "must_not_exist": list(rule.must_not_exist),
                "manifest": rule.manifest or context.manifest,
                "manifest_ignore": list(rule.manifest_ignore),
                "below": list(below),
            }
        )
        differing = [
            f"{ascii(name)[1:-1]} has {count} files, {below[name]} are recorded"
            for name, count in zip(below, facts.get("below", ()), strict=False)
            if count != below[name]
        ]
        return {**facts, "details": [*differing[:_MOST_SHOWN], *facts["details"]]} if differing else facts

    def judge(self, facts: Mapping[str, Any], context: CheckContext) -> Finding:
        """Every rule that is broken.

        Raises:
            Blocked: Nothing else is wrong than the manifest that the checksum case could not use either.
        """
        problems = list(_problems(facts, context, _rule(context)))
        manifest = facts.get("manifest") or {}
        if not problems and manifest.get("problem"):
            raise Blocked("checksum", manifest["problem"])
        actual = f"{facts['files']} files, {format_size(facts['bytes'])}"
        expected = _describe(facts, context)
        if not problems:
            return Finding(expected=expected, actual=actual, notes=_notes(facts, context))
        return Finding(
            Verdict.FAILED,
            "; ".join(problems),
            "Compare with the live tree: the names are on the terminal and in the run's details file.",
            expected=expected,
            actual=actual,
            notes=_notes(facts, context),
            details=tuple(facts.get("details", ())),
        )


def _rule(context: CheckContext) -> FileRules:
    rule: FileRules | None = context.rule.files
    return rule or FileRules()


def _problems(facts: Mapping[str, Any], context: CheckContext, rule: FileRules) -> Iterator[str]:
    manifest = facts.get("manifest")
    if manifest and not (manifest.get("problem") and _is_borne_by_checksum(context, rule)):
        yield from _manifest_problems(manifest)
    for pattern, matches in facts.get("must_exist", {}).items():
        if matches == 0:
            yield f"nothing matches {pattern}"
    for pattern, matches in facts.get("must_not_exist", {}).items():
        if matches:
            yield f"{matches} path{'s' if matches > 1 else ''} match{'' if matches > 1 else 'es'} {pattern}"
    yield from _bounds("files", facts["files"], rule.min, rule.max, str)
    yield from _bounds("bytes", facts["bytes"], rule.min_bytes, rule.max_bytes, format_size)
    if rule.recorded:
        yield from _recorded(facts, context)
    if rule.max_drop is not None:
        yield from _drops(facts, context, rule.max_drop)


def _is_borne_by_checksum(context: CheckContext, rule: FileRules) -> bool:
    """Whether a manifest that cannot be used is the digest of the snapshot, and the case that says so runs, too."""
    return context.manifest is not None and rule.manifest in (None, context.manifest) and "checksum" in context.selected


def _manifest_problems(manifest: Mapping[str, Any]) -> Iterator[str]:
    if manifest.get("problem"):
        yield f"the manifest cannot be used: {manifest['problem']}"
        return
    for key, text in (
        ("mismatched", "differ from the manifest"),
        ("missing", "of the manifest are missing"),
        ("extra", "are not in the manifest"),
    ):
        if manifest[key]:
            yield f"{manifest[key]} files {text}"


def _bounds(what: str, value: int, low: int | None, high: int | None, show: Any) -> Iterator[str]:
    if low is not None and value < low:
        yield f"{show(value)} {what if show is str else 'in files'}, expected at least {show(low)}"
    if high is not None and value > high:
        yield f"{show(value)} {what if show is str else 'in files'}, expected at most {show(high)}"


def _directories(context: CheckContext) -> dict[str, int]:
    """Directories of which a number of files is recorded."""
    return {name: count for name, count in sorted((context.recorded or {}).items()) if name.endswith("/")}


def _recorded(facts: Mapping[str, Any], context: CheckContext) -> Iterator[str]:
    recorded = context.recorded or {}
    if not recorded or not all(name in _RECORDED or name.endswith("/") for name in recorded):
        raise CouldNotVerify(
            "the counts recorded beside the snapshot are not those of a tree",
            remedy="They may have files, directories, links and bytes, and names of directories that end with a slash.",
        )
    for name in _RECORDED:
        if name in recorded and facts[name] != recorded[name]:
            yield f"{facts[name]} {name}, {recorded[name]} are recorded beside the snapshot"
    expected = list(_directories(context).values())
    differing = sum(count != right for count, right in zip(facts["below"], expected, strict=True)) if expected else 0
    if differing:
        yield f"{differing} of {len(expected)} directories have another number of files than recorded"


def _drops(facts: Mapping[str, Any], context: CheckContext, max_drop: float) -> Iterator[str]:
    context.baseline.require()
    for what in ("files", "bytes"):
        before = context.baseline.counts.get(what)
        if before and facts[what] < least(before, max_drop):
            yield f"{facts[what]} {what}, {before} before: more than {format_percentage(max_drop)} fewer"


def _describe(facts: Mapping[str, Any], context: CheckContext) -> str:
    rule = _rule(context)
    parts = [f"at least {rule.min} files"] if rule.min is not None else []
    parts += [f"at most {rule.max} files"] if rule.max is not None else []
    if facts.get("manifest"):
        parts.append(f"the {facts['manifest'].get('listed', 0)} files of its manifest")
    parts += ["what is recorded"] if rule.recorded else []
    parts += [f"{len(rule.must_exist)} patterns present"] if rule.must_exist else []
    parts += [f"{len(rule.must_not_exist)} patterns absent"] if rule.must_not_exist else []
    return ", ".join(parts) or "at least one file"


def _notes(facts: Mapping[str, Any], context: CheckContext) -> tuple[str, ...]:
    notes = tuple(facts.get("notes", ()))
    if _rule(context).max_drop is not None and not context.baseline.run:
        notes = (*notes, "first drill: recorded as the baseline, nothing to compare with yet")
    return notes
