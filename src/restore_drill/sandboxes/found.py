"""Find a system's programs on this machine."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from restore_drill.process import ProgramMissing
from restore_drill.sandboxes.base import Need

#: Where programs are that a user's ``PATH`` may lack.
_SYSTEM = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_VERSION = re.compile(r"(?<![\w.])v?=?(\d+(?:\.\d+)+|\d+)(?![\d])")


def find_programs(need: Need) -> dict[str, Path]:
    """The directory of each program that is needed, by its name.

    Raises:
        ProgramMissing: One is not there.
    """
    found: dict[str, Path] = {}
    places = [each for place in need.places for each in _expanded(place)]
    for program in need.programs:
        path = shutil.which(program, path=os.pathsep.join((*places, os.environ.get("PATH", ""), *_SYSTEM)))
        if path is None:
            raise missing(need, program, other_versions(need))
        found[program] = Path(path).absolute().parent
    return found


def _expanded(place: str) -> list[str]:
    """A place, or those that a pattern stands for: the newest version first."""
    if "*" not in place:
        return [place]
    return sorted(map(str, Path("/").glob(place.lstrip("/"))), key=_versions_in, reverse=True)


def _versions_in(place: str) -> list[tuple[int, ...]]:
    return [tuple(map(int, version.split("."))) for version in re.findall(r"\d+(?:\.\d+)*", place)]


def check_version(need: Need, directory: Path, said: str) -> str:
    """The version of a system's first program, as it says it itself.

    Raises:
        ProgramMissing: It is another one than is needed, and not where nothing but that is.
    """
    version = version_in(said)
    own_place = str(directory) in (str(Path(place).absolute()) for place in need.places)
    later = need.newer and _order(version) > _order(need.version)
    if version and not is_version(version, need.version) and not own_place and not later:
        raise missing(need, need.programs[0], [version, *other_versions(need)])
    return version or need.version


def missing(need: Need, program: str, others: Iterable[str]) -> ProgramMissing:
    """The error for a program, or the version of it, that is not there."""
    wanted = f"{need.system} {need.version}".strip()
    here = sorted(set(others), key=_order)
    instead = f"; this machine has {need.system} {', '.join(here)}" if here else ""
    remedy = f"Install {need.package}" if need.package else f"Install the programs of {wanted}"
    return ProgramMissing(
        f"the program {program} of {wanted} is not on this machine{instead}",
        looked_at=", ".join((*need.places, "PATH")),
        remedy=f"{remedy}, or let the target run in a container.",
    )


def other_versions(need: Need) -> list[str]:
    """Versions of the system that are installed where the one that is needed would be."""
    if not need.version or not need.programs:
        return []
    found = []
    for place in map(Path, need.places):
        if need.version not in place.parts:
            continue
        at = place.parts.index(need.version)
        around, below = Path(*place.parts[:at]), Path(*place.parts[at + 1 :])
        if around.is_dir():
            found += [other.name for other in around.iterdir() if (other / below / need.programs[0]).exists()]
    return [version for version in found if version != need.version]


def version_in(text: str) -> str:
    """The version that a program says it has, or ``""``."""
    match = _VERSION.search(text)
    return match[1] if match else ""


def is_version(found: str, wanted: str) -> bool:
    """Whether a version is the one that is wanted, which may leave its last parts open."""
    return not wanted or found == wanted or found.startswith(f"{wanted}.")


def _order(version: str) -> tuple[tuple[int, str], ...]:
    return tuple((int(part) if part.isdigit() else -1, part) for part in version.split("."))
