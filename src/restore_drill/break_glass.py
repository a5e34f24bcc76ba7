"""A run as it would be after a disaster: an environment that knows nothing, and no key but those in escrow.

The variables of the process that begins the run are removed, so that no library, program or worker finds what a vault,
an agent or a home directory would have given; ``HOME`` is an empty directory. What remains is what the catalogue names
under ``break_glass``, what finds programs, and what describes the terminal and the pipeline.
"""

from __future__ import annotations

import atexit
import re
import shutil
import tempfile
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from restore_drill.errors import UsageProblem
from restore_drill.secrets import SecretReference

if TYPE_CHECKING:
    from restore_drill.catalogue.break_glass import BreakGlassModel
    from restore_drill.codecs.base import Given
    from restore_drill.plan import Plan, PlannedCopy, PlannedTarget

#: What finds programs and libraries, describes the terminal, or names the job on record: none of it opens anything.
_HARMLESS = frozenset({
    "PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "TMPDIR", "DOCKER_HOST", "USER", "LOGNAME",
    "LANG", "LANGUAGE", "TZ", "TERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PY_COLORS",
    "CI", "CI_NODE_INDEX", "CI_NODE_TOTAL", "CI_JOB_URL", "CI_COMMIT_SHA",  # GitLab
    "JOB_COMPLETION_INDEX",  # Kubernetes
    "BUILD_URL", "GIT_COMMIT",  # Jenkins
    "GITHUB_RUN_ID", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_SHA", "GITHUB_STEP_SUMMARY",
})  # fmt: skip
#: Those of which programs know more than can be listed.
_FAMILIES = re.compile(r"PYTHON[A-Z]*|PYTEST_\w+|LC_\w+")
#: What asks the machine itself for credentials is told that there are none.
_REFUSED = {"AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True, slots=True)
class BreakGlass:
    """How a run was stripped.

    Attributes:
        environment: The variables that stayed because the catalogue names them.
        removed: How many were removed.
        escrow: Where the keys are kept that may open a copy, by ``target/copy``; empty where none may.
    """

    environment: tuple[str, ...]
    removed: int
    escrow: Mapping[str, tuple[str, ...]]

    def as_evidence(self, drills: list[dict[str, Any]]) -> dict[str, Any]:
        """What stands in the run's evidence: which key opened what, among the rest."""
        opened: dict[str, list[str]] = {}
        for drill in drills:
            for key in drill["keys"]:
                opened.setdefault(key, []).append(f"{drill['target']}/{drill['copy']}")
        escrow = {name: list(places) for name, places in self.escrow.items()}
        return {"environment": list(self.environment), "removed": self.removed, "escrow": escrow, "opened": opened}

    def described(self) -> str:
        """In one line, for the terminal."""
        kept = f"; {', '.join(self.environment)} stayed" if self.environment else ""
        without = sum(not places for places in self.escrow.values())
        keys = f"; NO KEY IN ESCROW for {without} of {len(self.escrow)} encrypted copies" if without else ""
        return f"BREAK-GLASS: {self.removed} variables removed{kept}; escrowed keys only{keys}"


def begin(plan: Plan, environment: MutableMapping[str, str]) -> tuple[Plan, BreakGlass]:
    """Strip the environment, and give every copy the escrowed keys instead of its own.

    Args:
        plan: Of the catalogue.
        environment: This process's; it is changed.

    Raises:
        UsageProblem: The catalogue says nothing of escrowed keys.
    """
    model = plan.break_glass
    if model is None:
        raise UsageProblem(
            "--break-glass runs with the escrowed keys only, and the catalogue names none",
            looked_at=plan.catalogue,
            remedy="Name them under break_glass:; see docs/break-glass.md.",
        )
    kept, removed = _strip(environment, frozenset(model.environment))
    targets = tuple(_escrowed(target, model) for target in plan.targets)
    escrow = {
        f"{target.name}/{copy.name}": _places(copy) for target in targets for copy in target.copies if copy.decrypt
    }
    return replace(plan, targets=targets), BreakGlass(kept, removed, escrow)


def _strip(environment: MutableMapping[str, str], named: frozenset[str]) -> tuple[tuple[str, ...], int]:
    stays = named | _HARMLESS | {"HOME"}
    gone = [name for name in environment if name not in stays and not _FAMILIES.fullmatch(name)]
    for name in gone:
        del environment[name]
    if "HOME" not in named:
        home = tempfile.mkdtemp(prefix="restore-drill-home-")
        atexit.register(shutil.rmtree, home, ignore_errors=True)
        environment["HOME"] = home
    for name, value in _REFUSED.items():
        environment.setdefault(name, value)
    return tuple(sorted(named & environment.keys())), len(gone)


def _escrowed(target: PlannedTarget, model: BreakGlassModel) -> PlannedTarget:
    own = model.targets[target.name].decrypt if target.name in model.targets else {}
    copies = tuple(
        replace(
            copy,
            decrypt={
                codec: _keys(f"{target.name}/{copy.name}: {codec}", given, model.decrypt.get(codec), own.get(codec))
                for codec, given in copy.decrypt.items()
            },
        )
        for copy in target.copies
    )
    return replace(target, copies=copies)


def _keys(what: str, given: Given, general: Given | None, own: Given | None) -> Given:
    """The escrowed keys of a format beside the settings of the copy; where there are none, what says so when asked."""
    settings = {name: value for name, value in given.items() if not isinstance(value, SecretReference)}
    escrowed = {**(general or {}), **(own or {})}
    if escrowed:
        return {**settings, **escrowed}
    return {**settings, **{name: SecretReference("escrow", what) for name in given if name not in settings}}


def _places(copy: PlannedCopy) -> tuple[str, ...]:
    return tuple(
        f"{codec}: {value}"
        for codec, given in copy.decrypt.items()
        for value in given.values()
        if isinstance(value, SecretReference) and value.kind != "escrow"
    )
