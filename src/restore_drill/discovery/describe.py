"""From a series to a target of the catalogue: every guess with its reason."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from restore_drill.catalogue.places import DEFAULT_TIERS
from restore_drill.discovery.beside import look_beside
from restore_drill.discovery.engines import Choice, choose_engine, directory_engine
from restore_drill.discovery.heads import Head, look
from restore_drill.discovery.model import LeftOut, Series
from restore_drill.discovery.names import kind_of, text_of
from restore_drill.discovery.naming import target_name
from restore_drill.discovery.rhythm import Rhythm, rhythm, rto_for, size_drop
from restore_drill.discovery.series import Listing
from restore_drill.discovery.zones import Zone, guess_zone, instant
from restore_drill.model import Artifact
from restore_drill.patterns import PathPattern
from restore_drill.quantities import format_size
from restore_drill.recognise import Decrypt
from restore_drill.registry import load
from restore_drill.repositories.names import stems
from restore_drill.stores.base import Store

#: What opens a format: codec, and whether by a password → the secret's name, and where it may be kept.
KEYS = {
    ("age", False): ("identity", "env:BACKUP_AGE_IDENTITY"), ("age", True): ("passphrase", "env:BACKUP_AGE_PASSPHRASE"),
    ("openpgp", False): ("key", "env:BACKUP_GPG_KEY"), ("openpgp", True): ("passphrase", "env:BACKUP_GPG_PASSPHRASE"),
    ("openssl", True): ("password", "env:BACKUP_OPENSSL_PASSWORD"),
}  # fmt: skip
#: How many of the newest snapshots are looked into until one can be told.
_TRIED = 3
#: After how many files whose names differ in a number alone, and of which none is a backup, the others are none either.
_ENOUGH = 3
_NUMBERED = (
    "others beside it ({}) differ in a number alone, which says no time: if a job still makes them, the next one is not"
    " drilled by this; write {{any}} for the number then, and remove frozen"
)


@dataclass(slots=True)
class Proposal:
    """A target that a catalogue could have.

    Attributes:
        name: Its name, unique.
        head: What it is, in words.
        keys: Key of the target → its value, and the reason.
        copies: Store → the copy's keys, with the reason of each.
        warnings: What a drill is going to say, or a person must decide.
        missing: What must be written before it can be a target; it is printed as a comment until then.
        pattern, engine: For joining the copies of one thing in several stores.
    """

    name: str
    pattern: str
    engine: str
    head: str = ""
    keys: dict[str, tuple[object, str]] = field(default_factory=dict)
    copies: dict[str, dict[str, tuple[object, str]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    missing: str = ""
    zone: Zone | None = None

    @property
    def is_frozen(self) -> bool:
        """Whether it no longer changes."""
        return "frozen" in self.keys


@dataclass(slots=True)
class Describer:
    """Describes the series of one store.

    Args:
        given: Key material by format, as the command line names it, to look inside what is encrypted.
        timezone: The zone of names, where the person knows it.
        most: How many objects are looked into.
        tell: Called with what is being looked at.
    """

    store: Store
    store_name: str
    listing: Listing
    given: Decrypt
    references: dict[str, dict[str, object]] = field(default_factory=dict)
    timezone: str = ""
    most: int = 2000
    tell: Callable[[str], None] = lambda what: None  # noqa: ARG005 - nobody listens
    now: float = field(default_factory=time.time)
    looked: int = 0

    def proposals(self) -> Iterator[Proposal]:
        """A target for each series that one can be made of; the others are left out, with the reason."""
        tried: dict[str, int] = {}
        none: dict[str, list[LeftOut]] = {}
        found = sorted(self.listing.conclude(), key=lambda each: each.pattern)
        numbered = Counter(map(_shape, found))
        for series in found:
            shape = _shape(series)
            if shape and tried.get(shape, 0) >= _ENOUGH:
                none[shape].append(LeftOut(series.pattern, "", 1, series.size))
                continue
            self.tell(series.pattern)
            before = len(self.listing.left_out)
            made = list(self._of(series))
            tried[shape] = -(1 << 30) if made else tried.get(shape, 0) + 1
            none.setdefault(shape, []).extend(self.listing.left_out[before:] if shape else ())
            for proposal in made if shape and numbered[shape] > 1 else ():
                proposal.warnings.append(_NUMBERED.format(numbered[shape] - 1))
            yield from made
        self._summarise(none)

    def _summarise(self, none: dict[str, list[LeftOut]]) -> None:
        """One line for files that are no backups and whose names differ in a number alone."""
        for shape, alike in none.items():
            if len(alike) > _ENOUGH:
                gone = {each.what for each in alike}
                self.listing.left_out[:] = [each for each in self.listing.left_out if each.what not in gone]
                size = sum(each.size for each in alike)
                self.listing.left_out.append(LeftOut(shape, f"of the first of them: {alike[0].why}", len(alike), size))

    def _of(self, series: Series) -> Iterator[Proposal]:
        if self.looked >= self.most and not series.is_directory:
            self._leave(series, f"not looked into: {self.most} others were (--most)")
            return
        choice, head = self._engine(series)
        if not choice.engine:
            if not choice.seen and head and head.encrypted and load("codecs", head.encrypted).keys:
                yield self._unknown(series, choice, head)
            else:
                self._leave(series, choice.why)
            return
        for each in self._by_kind(series, choice.engine):
            yield self._target(each, choice, head)

    def _engine(self, series: Series) -> tuple[Choice, Head | None]:
        if series.is_directory:
            root = series.inside_of
            names = [artifact.key.removeprefix(root) for artifact in series.inside]
            return directory_engine(names, lambda name: self._head(_named(series.inside, root + name))), None
        fulls = [point for point in series.points if not point.kind or kind_of(point.kind) == "full"] or series.points
        name = re.sub(r"[._-]*(?:part|vol|split)?[-_.]*\{part\}\Z", "", series.pattern)
        stem = re.sub(r"\{rotation[^}]*\}", "", stems(name.rpartition("/")[2])[-1]).rstrip(".-")
        first: tuple[Choice, Head] | None = None
        for point in fulls[:_TRIED]:
            head = self._head(point.artifact)
            assert head is not None  # noqa: S101 - there is an artifact
            choice = choose_engine(head, stem or name)
            first = first or (choice, head)
            if choice.engine and (choice.seen or head.closed):
                doubt = choice.doubt
                if first[0] is not choice:
                    doubt = f"the newest is another thing: {first[0].doubt or first[0].why}"
                return replace(choice, doubt=doubt), head
        assert first is not None  # noqa: S101 - there is a point
        return first

    def _head(self, artifact: Artifact | None) -> Head | None:
        if artifact is None:
            return None
        self.looked += 1
        return look(self.store, artifact, self.given)

    def _by_kind(self, series: Series, engine: str) -> Iterator[Series]:
        """A chain for an engine that has them; of what has none each full series, the others are left out."""
        if not series.words:
            yield series
            return
        kinds = {word: kind_of(word) for word in series.words}
        if "full" in kinds.values() and len(set(kinds.values())) > 1 and load("engines", engine).chains:
            chained = {word: kind for word, kind in kinds.items() if kind != "log"}
            for word in kinds.keys() - chained.keys():
                why = f"log backups ({word}): the engine {engine} restores full ones and what changed since"
                self._leave_kind(series, word, why)
            series.pattern = self._pattern(series, "|".join(f"{kind}={word}" for word, kind in chained.items()))
            yield series
            return
        for word, kind in kinds.items():
            points = [point for point in series.points if point.kind == word]
            if kind != "full" and len(kinds) > 1:
                self._leave_kind(series, word, f"{kind} backups ({word}): the engine {engine} restores full ones only")
            elif not points:
                self._leave_kind(series, word, "none of the last written was looked at: their times cannot be read")
            else:
                pattern = (text_of(series.pieces, series.forms, word) or series.pattern).replace("{seq}", "{any}")
                yield Series(
                    series.pieces, series.forms, points, series.words[word], sum(point.size for point in points),
                    pattern=pattern, shared=series.shared, remarks=list(series.remarks),
                )  # fmt: skip

    @staticmethod
    def _pattern(series: Series, kinds: str) -> str:
        return text_of(series.pieces, series.forms, f"{{kind:{kinds}}}") or series.pattern

    def _leave_kind(self, series: Series, word: str, why: str) -> None:
        pattern = text_of(series.pieces, series.forms, word) or series.pattern
        self.listing.left_out.append(LeftOut(pattern, why, series.words[word]))

    def _leave(self, series: Series, why: str) -> None:
        self.listing.left_out.append(LeftOut(series.pattern, why, series.count, series.size))

    # --- one target ------------------------------------------------------------------------------------------------

    def _target(self, series: Series, choice: Choice, head: Head | None) -> Proposal:
        found = Proposal(target_name(series.pattern), series.pattern, choice.engine)
        rate = self._rhythm(series, found)
        found.keys["tier"] = (rate.tier, rate.why)
        found.keys["engine"] = (choice.engine, choice.why)
        if choice.doubt:
            found.warnings.append(f"{choice.doubt}: the drill is to decide")
        if rate.rpo:
            found.keys["rpo"] = (rate.rpo, "slower than the tier's objective: this is what it keeps, not what you need")
        if rate.frozen:
            found.keys["frozen"] = (True, "it no longer changes: its age is not judged, its digest is")
        found.warnings += rate.warnings
        if longer := rto_for(series.points[0].size, DEFAULT_TIERS[rate.tier].rto):
            found.keys["rto"] = (longer, "the tier's objective is too short for its size on usual hardware; measure it")
        self._sizes(series, found, frozen=rate.frozen)
        self._encryption(found, head)
        self._copy(series, found)
        self._rotation(series, found)
        found.head = _summary(series, head)
        found.warnings += series.remarks
        return found

    def _unknown(self, series: Series, choice: Choice, head: Head) -> Proposal:
        found = self._target(series, Choice("files", choice.why, seen=False), head)
        found.missing = "say which engine restores it: what is written below is no guess"
        return found

    def _rhythm(self, series: Series, found: Proposal) -> Rhythm:
        if series.is_static:
            return Rhythm("archival", "one file without a time in its name", frozen=True)
        pattern = PathPattern(series.pattern, UTC)
        stamps = [point.stamp for point in series.points]
        if pattern.has_time and not pattern.has_offset:
            pairs = [(point.stamp, point.artifact.modified) for point in series.points[:60]]
            guessed = guess_zone(pairs, pattern.resolution)
            found.zone = Zone(self.timezone, "as the command line says") if self.timezone else guessed
            stamps = [instant(stamp, found.zone.name) for stamp in stamps]
        if pattern.resolution >= timedelta(hours=1):  # refined by when it was written, as a drill does
            width = pattern.resolution.total_seconds()
            written = [point.artifact.modified for point in series.points]
            stamps = [min(max(at, stamp), stamp + width) for stamp, at in zip(stamps, written, strict=True)]
        return rhythm(stamps, self.now)

    def _sizes(self, series: Series, found: Proposal, *, frozen: bool) -> None:
        if series.is_directory or frozen or "{kind:" in series.pattern:
            return
        drop, collapsed = size_drop([point.size for point in series.points])
        if drop:
            found.keys["size"] = ({"max_drop": f"{drop}%"}, "the sizes of earlier ones differ as much")
        if collapsed:
            found.warnings.append("the newest is much smaller than those before it: the drill will say so")

    def _encryption(self, found: Proposal, head: Head | None) -> None:
        if head is None or not head.encrypted:
            return
        found.keys["sensitive"] = (True, f"it is encrypted ({head.encrypted}), so every copy should be")
        if given := self.references.get(head.encrypted):
            why = "it did not open it here" if head.closed else "it could be opened here by it"
            found.keys["decrypt"] = ({head.encrypted: given}, why)
            return
        kind = load("codecs", head.encrypted)
        plain = (kind.keys[0], f"env:BACKUP_{head.encrypted.upper()}_KEY")
        name, reference = KEYS.get((head.encrypted, head.by_password), plain)
        settings: dict[str, object] = {name: reference}
        settings |= {key: option.example for key, option in kind.options.items() if option.default is None}
        needs = "; the other settings are assumed: its bytes do not tell" if len(settings) > 1 else ""
        found.keys["decrypt"] = ({head.encrypted: settings}, f"FILL IN: where its key is kept{needs}")

    def _copy(self, series: Series, found: Proposal) -> None:
        beside = look_beside(self.store, series, self.listing)
        copy: dict[str, tuple[object, str]] = {"path": (series.pattern, "")}
        if series.shared and PathPattern(series.pattern).folder is not None:
            found.warnings.append(
                "other targets lie in the same dated directories: shared_folder: true if one job makes all"
            )
        copy.update(beside.extra)
        if beside.checksum is not None:
            found.keys["checksum"] = (beside.checksum, beside.why)
        elif beside.why:
            found.warnings.append(beside.why)
        found.warnings += beside.remarks
        found.copies[self.store_name] = copy

    def _rotation(self, series: Series, found: Proposal) -> None:
        """Names of rotations carry no time: the data itself must tell it."""
        if not series.is_rotated:
            return
        checks = load("engines", found.engine).checks
        span = max(7, int(_days(series)))
        if "files" in checks:
            found.keys["expect"] = (
                {"newest_file": {"within": f"{span}d"}},
                "names of rotations carry no time, so the newest file in it must bear it out; adjust",
            )
        else:
            sql = "select max(created_at) from TABLE"
            found.keys["expect"] = ({"newest_record": {"sql": sql, "within": "26h"}}, "FILL IN")
            found.missing = (
                "names of rotations carry no time: say which query answers how new its data is (or let names carry it)"
            )


def _shape(series: Series) -> str:
    """The name of a file without a time, numbers left out; ``""`` for what is a series."""
    directory, slash, name = series.pattern.rpartition("/")
    return directory + slash + re.sub(r"\d+", "#", name) if series.is_static else ""


def _days(series: Series) -> float:
    stamps = [point.stamp for point in series.points]
    return 3 * (max(stamps) - min(stamps)) / max(1, len(stamps) - 1) / 86400


def _named(artifacts: Sequence[Artifact], key: str) -> Artifact | None:
    return next((artifact for artifact in artifacts if artifact.key == key), None)


def _summary(series: Series, head: Head | None) -> str:
    size = format_size(series.points[0].size)
    what = f" ({' in '.join(reversed(head.layers))})" if head and head.layers else ""
    if series.is_static:
        return f"One file{what}, {size}."
    when = datetime.fromtimestamp(series.points[0].stamp, UTC).strftime("%Y-%m-%d")
    one, many = ("directory", "directories") if series.is_directory else ("object", "objects")
    return f"{series.count} {one if series.count == 1 else many}{what}, the newest of {when}, {size}."
