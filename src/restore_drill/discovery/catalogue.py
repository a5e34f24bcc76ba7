"""A whole catalogue from the places that hold backups; what it prints is always good, or it says what cannot be."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from restore_drill.catalogue.load import load
from restore_drill.catalogue.problems import CatalogueInvalid
from restore_drill.catalogue.resolve import default_reports
from restore_drill.discovery.describe import Describer, Proposal
from restore_drill.discovery.model import LeftOut
from restore_drill.discovery.naming import number
from restore_drill.discovery.place import Place, open_place
from restore_drill.discovery.series import Listing
from restore_drill.discovery.writing import Sheet, write
from restore_drill.discovery.zones import Zone
from restore_drill.errors import UsageProblem
from restore_drill.plan import Plan
from restore_drill.stores.base import Oddity

#: How often targets are taken out that a catalogue may not have, before it is given up.
_ROUNDS = 8


@dataclass(slots=True)
class Discovery:
    """What was found in some places.

    Attributes:
        places: Where was looked.
        proposals: A target for each series, in the order of their names.
        left_out: What none was made of.
        listed: Objects that were looked at by name, and ``looked`` those that were read the beginning of.
        path: Where the catalogue is going to stand.
    """

    places: Sequence[Place]
    path: Path
    state: str
    proposals: list[Proposal] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    listed: int = 0
    looked: int = 0
    size: int = 0
    zone: str = "UTC"
    now: float = 0.0

    def sheet(self, state: str = "") -> Sheet:
        """The catalogue as it stands; with another place for baselines, where one is given."""
        defaults: dict[str, tuple[object, str]] = {
            "timezone": (self.zone, "of times in names that carry no offset"),
            "three_two_one": (False, "until the other copies are described; then remove this line"),
        }
        stores = {place.name: place.raw for place in self.places}
        return write(self._header(), stores, defaults, self.proposals, self.left_out, state or self.state)

    def _header(self) -> list[str]:
        when = datetime.fromtimestamp(self.now, UTC).strftime("%Y-%m-%d")
        where = ", ".join(place.url for place in self.places)
        made = sum(not each.missing for each in self.proposals)
        asked = len(self.proposals) - made
        rest = f", {asked} more need a word from you" if asked else ""
        return [
            f"What was found in {where} on {when}:",
            f"{self.listed} objects, {made} targets{rest}, {len(self.left_out)} left out.",
            "Every value is a guess with its reason beside it. Read it, correct it, give each target its owner; then:",
            "restore-drill validate, restore-drill plan, pytest drills/",
        ]

    def check(self, state: str = "") -> Plan | None:
        """Load what is printed, and leave out what a catalogue may not have; ``None`` when nothing is left.

        Args:
            state: A place for baselines, instead of the one that the catalogue is going to name.

        Raises:
            CatalogueInvalid: The places themselves cannot stand in a catalogue that lies there.
        """
        for _ in range(_ROUNDS):
            if all(each.missing for each in self.proposals):
                return None
            try:
                return self._load(state)
            except CatalogueInvalid as problem:
                reasons = self._reasons(problem)
                if not reasons:
                    raise
            for proposal in self.proposals:
                if proposal.name in reasons:
                    self.left_out.append(
                        LeftOut(proposal.pattern, f"a catalogue cannot have it: {reasons[proposal.name]}")
                    )
            self.proposals = [each for each in self.proposals if each.name not in reasons]
        return self._load(state)

    def problems(self) -> dict[str, str]:
        """What is wrong with targets as they stand, by name."""
        try:
            self._load("")
        except CatalogueInvalid as problem:
            return self._reasons(problem)
        return {}

    def _load(self, state: str) -> Plan:
        """As it will be where it is going to stand: relative paths start there."""
        state = state or self.state
        if state.startswith("file:") and not state.startswith("file:/"):
            state = f"file://{(self.path.absolute().parent / state.removeprefix('file:')).resolve()}"
        with tempfile.TemporaryDirectory(prefix="restore-drill-discover-") as directory:
            path = Path(directory) / "targets.yaml"
            path.write_text(self.sheet(state).text, "utf-8")
            return load(path, reports=default_reports(self.path))

    def _reasons(self, problem: CatalogueInvalid) -> dict[str, str]:
        owners = self.sheet().owners
        found: dict[str, str] = {}
        for each in problem.problems:
            owner = owners[each.line - 1] if each.line <= len(owners) else ""
            if owner:
                found.setdefault(owner, each.message)
        return found


def discover(
    places: Sequence[Place],
    path: Path,
    state: str,
    *,
    references: Mapping[str, Mapping[str, Any]],
    timezone: str,
    most: int,
    now: float,
    tell: Callable[[str], None] = lambda what: None,  # noqa: ARG005 - nobody listens
) -> Discovery:
    """Look at places, and describe what is in them.

    Args:
        places: Where to look.
        path: Where the catalogue is going to stand.
        state: Where baselines are going to be kept, as the catalogue says it.
        references: Where keys are kept, as under ``decrypt``, to look inside what is encrypted.
        timezone: The zone of names, where it is known; else ``""``.
        most: How many objects are looked into, in each place.
        now: The time (seconds since the epoch).
        tell: Called with what is being looked at.

    Raises:
        UsageProblem: There is nothing, or a place cannot be in a catalogue.
        CouldNotVerify: A store cannot be reached, or denies it.
    """
    found = Discovery(places, path, state, now=now)
    for place in places:
        _look(place, found, references, timezone, most, tell)
    if not found.listed:
        raise UsageProblem("there is nothing to describe", looked_at=", ".join(place.url for place in places))
    found.proposals = _joined(found.proposals)
    number(found.proposals)
    _settle_zones(found)
    found.left_out.sort(key=lambda each: each.what)
    try:
        found.check()
    except CatalogueInvalid as problem:
        said = "; ".join(dict.fromkeys(each.message for each in problem.problems))
        raise UsageProblem(
            f"the catalogue cannot lie here: {said}",
            looked_at=str(path.absolute()),
            remedy="Begin the project in a directory of its own, and name the place of the backups from there.",
        ) from None
    return found


def _look(
    place: Place,
    found: Discovery,
    references: Mapping[str, Mapping[str, Any]],
    timezone: str,
    most: int,
    tell: Callable[[str], None],
) -> None:
    store, given = open_place(place, references)
    try:
        listing = Listing()

        def odd(oddity: Oddity) -> None:
            if not oddity.is_directory:
                listing.leave(oddity.key, f"it is {oddity.what}, which is never read")

        def closed(directory: str, why: str) -> None:
            listing.leave(f"{directory}/", f"{why}, so nothing is known of what is in it")

        for artifact in store.scan("", odd, closed):
            listing.add(artifact)
            if listing.listed % 5000 == 0:
                tell(f"{listing.listed} objects in {place.url}")
        own = {name: dict(keys) for name, keys in references.items()}
        describer = Describer(store, place.name, listing, given, own, timezone, most, tell, found.now)
        found.proposals += describer.proposals()
        found.left_out += listing.left_out
        found.listed += listing.listed
        found.looked += describer.looked
        found.size += listing.size
    finally:
        store.close()


def _joined(proposals: Sequence[Proposal]) -> list[Proposal]:
    """Copies of one thing: the same path in several stores, restored by the same engine."""
    by_path: dict[tuple[str, str], Proposal] = {}
    found = []
    for proposal in proposals:
        first = by_path.setdefault((proposal.pattern, proposal.engine), proposal)
        if first is proposal or proposal.copies.keys() & first.copies.keys() or proposal.missing or first.missing:
            found.append(proposal)
            continue
        checksum = proposal.keys.get("checksum")
        for name, copy in proposal.copies.items():
            if checksum != first.keys.get("checksum"):
                copy["checksum"] = checksum or ("required", "")
            first.copies[name] = copy
        _made_here_or_there(first, proposal)
    return found


def _made_here_or_there(first: Proposal, other: Proposal) -> None:
    """What is still made in one place is no archive, though only an old one is left in the other."""
    if first.is_frozen and not other.is_frozen:
        for key in ("tier", "rpo", "frozen", "rto", "size"):
            first.keys.pop(key, None)
            if key in other.keys:
                first.keys[key] = other.keys[key]
        first.zone = other.zone
    where = ", ".join(other.copies)
    first.warnings += [f"{where}: {warning}" for warning in other.warnings if warning not in first.warnings]


def _settle_zones(found: Discovery) -> None:
    """The zone that most names are in goes to the defaults, others to their own target."""
    zones = Counter(each.zone.name for each in found.proposals if each.zone and each.zone.told)
    found.zone = zones.most_common(1)[0][0] if zones else "UTC"
    for proposal in found.proposals:
        zone = proposal.zone
        if zone is None:
            continue
        if not zone.told:
            zone = Zone(found.zone, "as for the others here" if zones else zone.why, told=False)
        if zone.name != found.zone:
            proposal.keys["timezone"] = (zone.name, zone.why)
        else:
            proposal.warnings.append(f"time zone {zone.name}: {zone.why}")
