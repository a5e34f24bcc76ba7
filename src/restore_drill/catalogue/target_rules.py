"""Contradictions within one target: paths, times, checksums, encryption, and what its engine can be asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from restore_drill.catalogue.addresses import place_of
from restore_drill.catalogue.decrypting import options_of
from restore_drill.catalogue.depth_rules import check_depth
from restore_drill.catalogue.gather import Draft, Loc
from restore_drill.catalogue.keeping_rules import check_keeping
from restore_drill.catalogue.references import copies, mapping, store_name
from restore_drill.catalogue.runbook_rules import check_runbook
from restore_drill.catalogue.sandbox_rules import check_required, check_sandbox
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Kind
from restore_drill.patterns import PathPattern, PatternError
from restore_drill.registry import load, names

#: Part of ``expect`` → the checks an engine must support for it.
_ASKED = {
    "rows": ("rows",), "queries": ("query",), "newest_record": ("newest", "query"), "newest_file": ("newest", "files"),
    "files": ("files",), "integrity": ("integrity",), "structure": ("structure",),
    "smoke": ("smoke",),
}  # fmt: skip
#: Parts of ``expect`` that defaults may set for targets whose engine has no use for them.
_MEANT_FOR_SOME = ("integrity", "structure")


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy as it is written, and what it belongs to.

    Attributes:
        loc: Where its target stands.
        target: The target's raw mapping, defaults merged in.
        raw: The copy's raw mapping.
        store: The raw mapping of its store, empty when there is none.
    """

    draft: Draft
    loc: Loc
    target: Mapping[str, Any]
    name: str
    raw: Mapping[str, Any]
    store: Mapping[str, Any]

    def report(self, option: str, message: str, hint: str) -> None:
        """Note a problem with an option of the copy, or with the copy itself (``""``)."""
        at = (*self.loc, "copies", self.name, *([option] if option else []))
        self.draft.report(at, message, hint, at_key=option != "path")

    @property
    def is_remote(self) -> bool:
        """Whether its store is known to be none of this machine's directories."""
        url = self.store.get("url")
        return isinstance(url, str) and ":" in url and not url.startswith("file:")

    @property
    def is_frozen(self) -> bool:
        """Whether its target is, or may be: a malformed ``frozen`` is not taken for a no."""
        return self.target.get("frozen", False) is not False


def check_target(draft: Draft, name: str, target: Mapping[str, Any]) -> None:
    """Note what contradicts itself in a target.

    Args:
        draft: The catalogue.
        name: The target's name.
        target: Its raw mapping, defaults merged in.
    """
    loc: Loc = ("targets", name)
    own = draft.own(name)
    if target.get("frozen") is True and own.get("rpo") is not None:
        draft.report((*loc, "rpo"), "the age of a frozen target is not judged", "remove rpo, or frozen", at_key=True)
    engine = _engine(draft, loc, target)
    seen: dict[Any, str] = {}
    for each, raw in copies(target):
        store = draft.part("stores").get(store_name(each, raw))
        copy = _Copy(draft, loc, target, each, raw, mapping(store))
        _check_encryption(copy)
        _check_decryption(copy)
        pattern = _pattern(raw.get("path"))
        if pattern is None:
            continue
        _check_time(copy, pattern)
        _check_layout(copy, pattern)
        _check_checksum(copy, pattern)
        _check_chain(copy, pattern, engine)
        place = place_of(store, draft.base)
        other = seen.setdefault((place, pattern.text), each) if place else each
        if other != each:
            copy.report("", f"the copies {other!r} and {each!r} are the same backups", "remove one of them")
    check_keeping(draft, loc, target)
    if engine is not None:
        _check_engine(draft, loc, target, own, engine)
        check_depth(draft, loc, target, own, engine)
    check_runbook(draft, loc, target)


def _pattern(path: Any) -> PathPattern | None:
    try:
        return PathPattern(path) if isinstance(path, str) and path else None
    except PatternError:
        return None


def _engine(draft: Draft, loc: Loc, target: Mapping[str, Any]) -> Any:
    """The target's engine class, or ``None`` when there is none of that name or it cannot be loaded."""
    engine = target.get("engine")
    if not isinstance(engine, str) or engine not in names("engines"):
        return None
    try:
        return load("engines", engine)
    except CouldNotVerify as problem:
        draft.report((*loc, "engine"), problem.cause, problem.remedy)
        return None


def _check_time(copy: _Copy, pattern: PathPattern) -> None:
    if pattern.has_time:
        zone = copy.raw.get("timezone") or copy.target.get("timezone")
        if not pattern.has_offset and not zone:
            copy.report(
                "path", "the time in the name has no offset, and no timezone says what it means",
                "add timezone: to the copy, the target or defaults, or %z to the name",
            )  # fmt: skip
        if pattern.directives.isdisjoint("YyGs"):
            copy.report("path", "the time in the name has no year", "add %Y (or %y, %G, %s) to the name")
    elif not (copy.raw.get("time_metadata") or copy.is_frozen or pattern.is_rotated):
        copy.report(
            "path", "nothing says when a snapshot was taken: the path has no {time:…}, and there is no time_metadata",
            "write where the name carries the time: {time:%Y%m%d_%H%M%S}; frozen: true if it no longer changes",
        )  # fmt: skip


def _check_layout(copy: _Copy, pattern: PathPattern) -> None:
    if copy.raw.get("shared_folder") is True and pattern.folder is None:
        hint = "write the time in the folder's name: {time:%Y-%m-%d}/orders.sql.gz; or remove shared_folder"
        copy.report("shared_folder", "no folder in the path has a time in its name", hint)
    if pattern.is_directory and copy.raw.get("parts"):
        hint = "remove parts, or the slash at the end of the path"
        copy.report("parts", "parts are of a snapshot that is one object, and it is a directory here", hint)
    if pattern.is_directory and copy.raw.get("time_metadata"):
        hint = "write where the name carries the time: {time:%Y-%m-%d}/"
        copy.report("time_metadata", "a directory has no metadata that could hold a time", hint)
    if pattern.is_directory and copy.is_remote and mapping(copy.target.get("expect")).get("newest_file"):
        hint = "objects know when they were uploaded only: remove newest_file, or keep the files as an archive"
        copy.report("path", "newest_file asks for the files' own times, which a prefix of objects does not have", hint)
    if pattern.is_split:
        _check_split(copy, pattern)
    if pattern.is_rotated:
        _check_rotation(copy, pattern)


def _check_split(copy: _Copy, pattern: PathPattern) -> None:
    if copy.raw.get("parts"):
        hint = "parts names further files of the same state, {part} the pieces of one file: keep one of them"
        copy.report("parts", "a snapshot that was split has no further artifacts", hint)
    if copy.raw.get("time_metadata"):
        hint = "write where the name carries the time: {time:%Y%m%d_%H%M%S}"
        copy.report("time_metadata", "each part has metadata of its own, and none is the snapshot's", hint)
    if pattern.is_rotated:
        copy.report("path", "{rotation} and {part} are both numbers at the end of a name", "keep one of them")


def _check_rotation(copy: _Copy, pattern: PathPattern) -> None:
    if pattern.has_time or pattern.kinds or "{seq}" in pattern.text:
        hint = "where a name carries a time, remove {rotation} and let the time decide"
        copy.report("path", "rotations are full backups that only their numbers tell apart", hint)
    expect = mapping(copy.target.get("expect"))
    witness = copy.raw.get("time_metadata") or expect.get("newest_record") or expect.get("newest_file")
    if not witness and not copy.is_frozen:
        copy.report(
            "path", "nothing but the store's listing says when a rotation was taken, and a touched file would pass",
            "add expect.newest_record (newest_file of a tree), so that the data itself tells, or time_metadata",
        )  # fmt: skip


def _check_checksum(copy: _Copy, pattern: PathPattern) -> None:
    rule, loc = copy.raw.get("checksum"), (*copy.loc, "copies", copy.name, "checksum")
    if rule is None:
        rule, loc = copy.target.get("checksum"), (*copy.loc, "checksum")
    if not isinstance(rule, Mapping):
        return
    sidecar, manifest = rule.get("sidecar"), rule.get("manifest")
    digest = next((name for name in ("sha256", "sha512") if rule.get(name)), None)
    beside = next((name for name in ("sidecar", "sha256", "sha512", "provider", "algorithm") if rule.get(name)), None)
    repeats = (pattern.has_time or pattern.is_rotated) and not copy.is_frozen
    is_each_objects = copy.is_remote and isinstance(sidecar, str) and re.fullmatch(r"\{name\}[^{}/]+", sidecar)
    if pattern.is_directory and beside and not is_each_objects:
        copy.draft.report(
            (*loc, beside), f"{beside} is of one object, and a snapshot is a directory here",
            "name the manifest inside it: checksum: {manifest: SHA256SUMS}", at_key=True,
        )  # fmt: skip
    elif pattern.is_directory and is_each_objects and rule.get("signature"):
        copy.draft.report(
            (*loc, "signature"), "of many objects with a digest each nothing is signed as a whole",
            "record them in a manifest inside it, and sign that", at_key=True,
        )  # fmt: skip
    elif repeats and digest:
        copy.draft.report(
            (*loc, digest), "one digest cannot be right for snapshot after snapshot",
            "record it beside each artifact (sidecar or manifest), or set frozen: true", at_key=True,
        )  # fmt: skip
    elif repeats and isinstance(sidecar, str) and "{" not in sidecar:
        hint = f"write {{name}} in it, or manifest: {sidecar} if it is one list of many digests"
        copy.draft.report((*loc, "sidecar"), "the sidecar has the same name for every snapshot", hint)
    if isinstance(manifest, str) and "{" in manifest:
        copy.draft.report((*loc, "manifest"), "a manifest has one name, without fields", "use sidecar instead")


def _check_encryption(copy: _Copy) -> None:
    """A sensitive copy that nothing encrypts could never pass; unless somebody answers for that."""
    if copy.target.get("sensitive") is not True or copy.raw.get("decrypt") or copy.target.get("decrypt"):
        return
    if not copy.store or copy.store.get("accept_encryption", False) is not False or _is_excepted(copy, "encrypted"):
        return
    copy.report(
        "", f"{copy.loc[1]} is sensitive, and nothing says how the copy {copy.name!r} is encrypted",
        "add decrypt: with its key, accept_encryption: true to the store, or an exception for the case encrypted",
    )  # fmt: skip


def _check_decryption(copy: _Copy) -> None:
    """What a format cannot be read without must be said, and nothing that means nothing."""
    general, own = mapping(copy.target.get("decrypt")), mapping(copy.raw.get("decrypt"))
    for codec in {**general, **own}:
        options = options_of(codec)
        given = {**mapping(general.get(codec)), **mapping(own.get(codec))}
        where = ("copies", copy.name) if codec in own else ()
        loc: Loc = (*copy.loc, *where, "decrypt", codec)
        for name, option in options.items():
            other, value = option.only_with or ("", None)
            if name in given and other in given and given[other] != value and given[other] in options[other].choices:
                hint = f"remove {name}, or {other}: {given[other]}"
                copy.draft.report(loc, f"{name!r} means nothing unless {other} is {value}", hint, at_key=True)
            elif name not in given and option.default is None:
                hint = f"{option.description} For example {name}: {option.example}"
                copy.draft.report(loc, f"{name!r} is missing in {codec!r}: its bytes do not tell", hint, at_key=True)


def _is_excepted(copy: _Copy, case: str) -> bool:
    exceptions = copy.draft.raw.get("exceptions")
    for exception in map(mapping, exceptions if isinstance(exceptions, list) else []):
        speaks_of = exception.get("target"), exception.get("case")
        if speaks_of == (copy.loc[1], case) and exception.get("copy") in (None, copy.name):
            return True
    return False


def _check_chain(copy: _Copy, pattern: PathPattern, engine: Any) -> None:
    if engine is not None and not engine.chains and pattern.kinds - {Kind.FULL}:
        hint = "write {kind:full=…} with the word for full ones, or leave {kind:…} out"
        copy.report("path", f"the engine {engine.name!r} restores full backups only", hint)


def _check_engine(draft: Draft, loc: Loc, target: Mapping[str, Any], own: Mapping[str, Any], engine: Any) -> None:
    check_sandbox(draft, loc, target, engine)
    check_required(draft, loc, target, engine)
    written = mapping(own.get("expect"))
    for part, asked in mapping(target.get("expect")).items():
        inherited = part not in written
        if part not in _ASKED or not asked or asked == "off" or engine.checks.issuperset(_ASKED[part]):
            continue
        if inherited and part in _MEANT_FOR_SOME:
            continue
        supported = ", ".join(sorted(engine.checks)) or "no expectation"
        back = f"write {part}: null in this target to take back what defaults ask"
        hint = back if inherited else f"remove it; the engine supports {supported}"
        draft.report(
            (*loc, "expect", part), f"the engine {engine.name!r} cannot be asked for {part}", hint, at_key=True
        )
