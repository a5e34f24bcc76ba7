"""What sandbox processes are cut off from, as the zygote found it and the host records it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Isolation:
    """What the zygote and all that it forks are cut off from.

    Attributes:
        network: ``none`` (a namespace without a single interface that is up) or ``host``.
        processes: ``own`` (each sandbox has its own process namespace, which the kernel ends as a whole) or ``shared``.
        user_namespace: Whether an unprivileged user's own namespace made that possible.
        writes: ``sandbox directory`` (held by Landlock) or ``as the user may``.
        landlock: The version of the kernel's Landlock interface in use, 0 for none.
        capabilities: The powers of root that a sandbox process keeps.
        mounts: ``own`` (programs see none of the machine's sockets and temporary files) or ``shared``.
        accounts: Whether programs can be run as another user than this one.
        refused: What the kernel did not allow, and why.
    """

    network: str
    processes: str
    user_namespace: bool
    writes: str
    landlock: int
    capabilities: tuple[str, ...]
    mounts: str
    accounts: bool
    refused: tuple[str, ...]

    def facts(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "capabilities": list(self.capabilities), "refused": list(self.refused)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Isolation:
        """What :meth:`facts` wrote."""
        return cls(**{**facts, "capabilities": tuple(facts["capabilities"]), "refused": tuple(facts["refused"])})
