"""One plan spread over several runs, on machines that know nothing of each other: which run drills which target."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: How targets are spread; part of a plan's digest, so that runs that spread them in different ways are never joined.
METHOD = "rendezvous/1"
_FORM = re.compile(r"(\d{1,6})/(\d{1,6})")


@dataclass(frozen=True, slots=True)
class Shard:
    """A run's part of a plan.

    Attributes:
        index: Which part, from 1.
        total: Of how many.
        plan: Digest of what all of them together were asked for, see :func:`plan_digest`.
    """

    index: int
    total: int
    plan: str = ""

    def __str__(self) -> str:
        return f"{self.index} of {self.total}"

    def has(self, name: str) -> bool:
        """Whether something belongs to it."""
        return shard_of(name, self.total) == self.index

    def as_evidence(self) -> dict[str, int | str]:
        """As it stands in evidence."""
        return {"index": self.index, "total": self.total, "plan": self.plan}


def shard_of(name: str, total: int) -> int:
    """The shard that drills a target, from 1: the one that wins the draw of its name (rendezvous hashing).

    The others' places do not matter: a target that is added or removed moves no other one, and one shard more takes
    over its share and moves nothing else.
    """
    return max(range(1, total + 1), key=lambda index: hashlib.sha256(f"{index}\0{name}".encode()).digest())


def parse(text: str, environment: Mapping[str, str]) -> Shard:
    """Read ``2/5``, or ``auto``: what the pipeline says in ``CI_NODE_INDEX`` and ``CI_NODE_TOTAL`` (GitLab's names).

    Raises:
        ValueError: It is neither, or the pipeline does not say.
    """
    if text == "auto":
        index, total = environment.get("CI_NODE_INDEX", ""), environment.get("CI_NODE_TOTAL", "")
        if total == "1" and not index:  # a job that is not parallel
            index = "1"
        return _read(f"{index}/{total}", f"CI_NODE_INDEX={index} and CI_NODE_TOTAL={total} say no shard")
    return _read(text, f"{text!r} is no shard")


def plan_digest(catalogue: str, selection: Sequence[tuple[str, str]]) -> str:
    """The digest by which runs know that they are parts of one plan.

    Args:
        catalogue: SHA-256 of the catalogue.
        selection: What was selected of it, as pairs of an option and its value.
    """
    plan = {"method": METHOD, "catalogue": catalogue, "selection": sorted(selection)}
    return hashlib.sha256(json.dumps(plan, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _read(text: str, problem: str) -> Shard:
    match = _FORM.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"{problem}; write 2/5 for the second of five, or auto where CI_NODE_INDEX and _TOTAL are set")
    return Shard(int(match[1]), int(match[2]))
